"""A gateway as a process, put together from the settings; and one bounce after the other from a mail pipe."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from agents.accounts import gmail_of, http_sms_of
from agents.connections import RECORDS, broker_errors, links_of, registry_config
from agents.gateway.directory import Directory, GatewayCatalog
from agents.gateway.events import Happening, of_report
from agents.gateway.mailboxes import bounces_in
from agents.gateway.metrics import GatewayMetrics
from agents.gateway.post import Post
from agents.gateway.server import Gateway, Parts
from agents.listening import until_ended
from agents.reference import ReferenceTables
from schemas.codec import Codec
from schemas.contracts import TOPICS
from schemas.records import Mailbox
from schemas.registry import open_registry
from senders.dsn import read_bounce
from senders.http_sms_hooks import HttpSmsHooks
from senders.mailboxes import secret_store
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
    async with _taking(settings, ("companies",)) as taking:
        for raw in mails:
            await taking.take(raw)
    return taking.account()


async def take_mailboxes(settings: Settings) -> Account:
    """Takes down what lies in the companies' connected mailboxes. Raises as ``take_bounces``."""
    gmail = gmail_of(settings)
    if gmail is None:
        raise SettingsError(["gmail_client: needed to read connected mailboxes"])
    clock = clock_of(settings.clock)
    secrets = secret_store(gmail, clock)
    async with _taking(settings, ("companies", "mailboxes")) as taking:
        for mailbox in await taking.mailboxes():
            async with aclosing(bounces_in(mailbox, gmail, secrets, clock)) as mails:
                async for raw in mails:
                    await taking.take(raw)
    return taking.account()


@asynccontextmanager
async def _taking(settings: Settings, tables: Sequence[str]) -> AsyncIterator[_Taking]:
    links = checked_links(settings)
    async with base(settings, tables) as found:
        yield _Taking(found, links, settings)


class _Taking:
    """One mail after the other."""

    def __init__(self, found: Base, links: Links, settings: Settings) -> None:
        self._found = found
        self._links = links
        self._domain = settings.email_domain
        self._clock = clock_of(settings.clock)
        self._read = False
        self._bounces = self._blocked = self._others = 0

    async def take(self, raw: bytes) -> None:
        bounce = read_bounce(raw)
        happenings: list[Happening] = []
        if bounce is not None:
            await self._caught_up()
            happenings = of_report(
                bounce, self._links, self._found.directory, self._domain, self._clock.now()
            )
        await self._found.post.take(happenings)
        self._bounces += bool(happenings)
        self._others += not happenings
        self._blocked += any(one.block for one in happenings)

    async def mailboxes(self) -> list[Mailbox]:
        await self._caught_up()
        return self._found.directory.mailboxes()

    def account(self) -> Account:
        return Account(self._bounces, self._blocked, self._others)

    async def _caught_up(self) -> None:
        if not self._read:
            await self._found.tables.caught_up(_CATCH_UP)
            self._read = True
