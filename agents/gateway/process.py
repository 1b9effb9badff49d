"""A gateway as a process, put together from the settings; and one bounce after the other from a mail pipe."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from agents.accounts import http_sms_of
from agents.connections import RECORDS, broker_errors, links_of, registry_config
from agents.gateway.directory import Directory, GatewayCatalog
from agents.gateway.events import of_report
from agents.gateway.metrics import GatewayMetrics
from agents.gateway.post import Post
from agents.gateway.server import Gateway, Parts
from agents.listening import until_ended
from agents.reference import ReferenceTables
from schemas.codec import Codec
from schemas.contracts import TOPICS
from schemas.registry import open_registry
from senders.dsn import read_bounce
from senders.http_sms_hooks import HttpSmsHooks
from senders.twilio_hooks import TwilioHooks
from streams.clock import clock_of
from streams.domain.links import Links
from streams.kafka.offsets import Offsets
from streams.kafka.producer import BatchProducer
from streams.kafka.security import librdkafka_config
from streams.settings import Settings, SettingsError

log = logging.getLogger(__name__)

_CATCH_UP = 60.0
_TABLE_AGE = 30.0
"""Seconds since the tables were last known to be read; the same as a worker's limit."""
_PRODUCE_WITHIN = 8_000
"""Milliseconds. The SMS provider waits fifteen seconds for an answer; until then it must have our 503."""

_ANSWER_WITHIN = 5.0
"""Seconds for the brokers' first answer: whoever runs the pipe or the process tries again."""

_WRITTEN = ("provider-events", "suppressions")


@dataclass(frozen=True, slots=True)
class Base:
    """What a server and a mail pipe have in common."""

    directory: Directory
    tables: ReferenceTables
    post: Post


@asynccontextmanager
async def base(
    settings: Settings, tables: Sequence[str], produce_within: int = _PRODUCE_WITHIN
) -> AsyncIterator[Base]:
    """Reads ``tables`` and can write. Raises BrokerError, RegistryError, SettingsError."""
    security = librdkafka_config(settings)
    prefix = settings.topic_prefix
    with broker_errors(settings):
        names = [prefix + name for name in (*_WRITTEN, "companies")]
        offsets = Offsets(settings.broker, security, timeout=_ANSWER_WITHIN)
        ends = await asyncio.to_thread(offsets.ends, names)
    missing = [name for name in names if name not in ends]
    if missing:
        raise SettingsError([f"{name}: the topic does not exist: carillon topics create" for name in missing])
    registry = open_registry(registry_config(settings))
    await registry.register_all({prefix + topic: contract for topic, contract in TOPICS.items()})
    codec = Codec(registry)
    catalog = GatewayCatalog()
    directory = Directory(catalog)
    reading = ReferenceTables(
        settings.broker,
        security,
        prefix,
        codec,
        registry,
        catalog,
        directory.changed,
        {name: RECORDS[name] for name in tables},
    )
    producer = BatchProducer(
        settings.broker,
        security,
        partitions=lambda topic: len(ends[topic]),
        timeout_ms=produce_within,
    )
    await producer.start()
    try:
        await reading.start()
        yield Base(directory, reading, Post(producer, codec, prefix))
    finally:
        await reading.reader.stop()
        await producer.stop()


def checked_links(settings: Settings) -> Links:
    """SettingsError where nothing can lead back to us."""
    links = links_of(settings)
    if links is None:
        raise SettingsError(["public_url: needed by the gateway, with link_key"])
    return links


# --- the server


async def serve(settings: Settings) -> int:
    """Runs until SIGTERM or SIGINT (0), or until nothing more can be written (1). Raises BrokerError,
    RegistryError, SettingsError, and OSError where it can't listen."""
    return await until_ended(
        lambda on_fatal: listening(settings, on_fatal), "gateway", settings.gateway_host, settings.data
    )


@asynccontextmanager
async def listening(
    settings: Settings, on_fatal: Callable[[], None], *, produce_within: int = _PRODUCE_WITHIN
) -> AsyncIterator[tuple[int, int]]:
    """A gateway at work; its ports for the world and for operators."""
    links = checked_links(settings)
    hooks = TwilioHooks(settings.sms_token, settings.public_url) if settings.sms_token else None
    described = _described(settings)
    if hooks is None:
        log.warning("sms_token is not set: receipts and texts of Twilio's are not taken")
    async with base(settings, ("companies", "suppressions"), produce_within) as found:
        reader = found.tables.reader

        def not_live() -> list[str]:
            return (
                [f"companies and suppressions are no longer read: {reader.failure!r}"]
                if reader.failure
                else []
            )

        def not_ready() -> list[str]:
            reasons = not_live()
            if not reasons and reader.last_confirmed() > _TABLE_AGE:
                reasons.append("companies and suppressions have not been read lately")
            return reasons

        gateway = Gateway(
            Parts(
                post=found.post,
                links=links,
                hooks=hooks,
                described=described,
                directory=found.directory,
                clock=clock_of(settings.clock),
                metrics=GatewayMetrics(),
                not_ready=not_ready,
                not_live=not_live,
                on_fatal=on_fatal,
                own_answers=settings.text_answers == "carillon",
                proxies=settings.gateway_proxies,
            )
        )
        try:
            yield await gateway.start(
                settings.gateway_host, settings.gateway_port, settings.web_host, settings.web_port
            )
        finally:
            await gateway.stop()


def _described(settings: Settings) -> HttpSmsHooks | None:
    try:
        made = http_sms_of(settings)
    except (OSError, ValueError) as error:
        raise SettingsError([f"http_sms: {error}"]) from None
    if made is None or made.receipts is None:
        return None
    return HttpSmsHooks(made, made.receipts, settings.http_sms_receipt_secret)


# --- the mail pipe


@dataclass(frozen=True, slots=True)
class Account:
    """What became of some mails."""

    bounces: int
    """Taken down."""
    blocked: int
    """Of these, hard ones whose address is blocked now."""
    others: int
    """No reports of failure, or not of our mail."""


async def take_bounces(settings: Settings, mails: Iterable[bytes]) -> Account:
    """Takes down what the mails report. Raises BrokerError, RegistryError, SettingsError, NotTakenError: then
    all of them may be handed in again."""
    links = checked_links(settings)
    clock = clock_of(settings.clock)
    bounces = blocked = others = 0
    async with base(settings, ("companies",)) as found:
        read = False
        for raw in mails:
            bounce = read_bounce(raw)
            if bounce is not None and not read:
                await found.tables.caught_up(_CATCH_UP)
                read = True
            happenings = (
                of_report(bounce, links, found.directory, settings.email_domain, clock.now())
                if bounce
                else []
            )
            await found.post.take(happenings)
            bounces += bool(happenings)
            others += not happenings
            blocked += any(one.block for one in happenings)
    return Account(bounces, blocked, others)
