"""A console at work, on a thread of its own, with two companies that must not see each other."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from console.api.process import listening
from console.connection import Connection, Publication
from console.serve import user_key
from console.service.desk import Desk
from console.service.people import token_hash
from console.shop_difference import kind_of
from schemas.records import (
    Channel,
    Company,
    Delivery,
    DeliveryState,
    EntityKind,
    Location,
    Mailbox,
    Record,
    Role,
    Rule,
    Status,
    Suppression,
    Template,
    Token,
    Trigger,
    User,
)
from streams.domain.ids import log_key, reference_key, suppression_key
from streams.kafka.embedded import EmbeddedBroker
from streams.kafka.topics import create, topic_plan
from streams.settings import Settings
from tests.support.shop import C, at, notification, reminder, shop

DEADLINE = 60.0
NAMES = (
    "companies",
    "locations",
    "statuses",
    "templates",
    "rules",
    "mailboxes",
    "suppressions",
    "users",
    "pauses",
    "audit",
    "consents",
    "orders-state",
    "leads-state",
    "appointments-state",
    "delivery-log",
)
RIVAL = "zenith"
MARK = "zzz-only-zenith-knows"
"""Stands in everything that the rival has."""
NOW = at("2026-04-07 12:00")
DAY = "2026-04-08"

PLURALS = {
    "company": "companies",
    "location": "locations",
    "status": "statuses",
    "template": "templates",
    "rule": "rules",
    "mailbox": "mailboxes",
}

_PREFIXES = count()


def publication(record: Record) -> Publication:
    match record:
        case Company():
            return "companies", record.id.encode(), record
        case Rule() | Template() | Location() | Status() | Mailbox():
            return PLURALS[kind_of(record)], reference_key(record.company, record.id), record
        case Suppression():
            return "suppressions", suppression_key(record.company, record.channel, record.address), record
        case User():
            return "users", user_key(record.id), record
        case Delivery():
            key = log_key(record.company, record.kind, record.entity_id)
            return "delivery-log", key, record
        case _:
            raise TypeError(type(record).__name__)


def delivery(number: int, state: DeliveryState = DeliveryState.SCHEDULED, **changes: object) -> Delivery:
    fields: dict[str, object] = {
        "delivery_id": f"{number:032x}",
        "transition": 0,
        "state": state,
        "reason": "armed" if state is DeliveryState.SCHEDULED else "",
        "company": C,
        "kind": EntityKind.APPOINTMENT,
        "entity_id": f"A-{number}",
        "entity_version": 1,
        "rule_id": "rem",
        "rule_version": 1,
        "customer_id": "ann",
        "channel": "sms",
        "anchor": "1",
        "location_id": "north",
        "at": NOW,
        "due_at": at(f"{DAY} 10:00") if state is DeliveryState.SCHEDULED else None,
    }
    return Delivery(**(fields | changes))  # type: ignore[arg-type]  # a wrong field fails at once


def both_companies() -> list[Record]:
    rival = [rival_of(record) for record in shop()]
    rules = [notification(Trigger.CREATED, id_="born"), reminder(24, id_="rem")]
    mailbox = Mailbox(
        id="gm",
        company=C,
        address="maria@acme.example",
        secret_ref="env:ACME_SECRET",
        users=("editor@acme",),
        version=1,
    )
    block = Suppression(
        company=C, channel=Channel.SMS, address="+48501111333", reason="stop", since=NOW, version=1
    )
    ours: list[Record] = [*shop(), *rules, mailbox, block]
    ours += [delivery(1), delivery(2, DeliveryState.SUPPRESSED, reason="no_consent")]
    return [*ours, *rival, *map(rival_of, ours[len(shop()) :])]


def rival_of(record: Any) -> Record:
    """The same, of the other company, with the mark in whatever is shown."""
    if isinstance(record, Company):
        return msgspec.structs.replace(record, id=RIVAL, name=MARK)
    changed: dict[str, Any] = {"company": RIVAL}
    for name in ("name", "note", "address", "address_masked"):
        if hasattr(record, name) and not isinstance(record, Mailbox | Suppression):
            changed[name] = MARK
    if isinstance(record, Status):
        changed["names"] = {"en": MARK}
    if isinstance(record, Mailbox):
        changed["address"] = f"{MARK}@mail.example"
    if isinstance(record, Suppression):
        changed["reason"] = MARK
    if isinstance(record, Delivery):
        changed["delivery_id"] = "f" + record.delivery_id[1:]
        changed["entity_id"] = f"{MARK}-{record.entity_id}"
        changed["customer_id"] = MARK
    if isinstance(record, Rule | Template | Location | Status | Mailbox):
        changed["id"] = f"{record.id}-zz"
    new: Record = msgspec.structs.replace(record, **changed)
    if isinstance(new, Rule):
        new = msgspec.structs.replace(new, template_id=f"{new.template_id}-zz")
    return new


TOKENS = {
    "viewer": "carillon_viewer",
    "editor": "carillon_editor",
    "admin": "carillon_admin",
    "other": "carillon_other",
    "owner": "carillon_owner",
}
"""The admin of nobody but the rival is ``other``; ``owner`` has every company."""


def user(name: str, **changes: Any) -> User:
    roles = {"other": {RIVAL: Role.ADMIN}, "owner": {"*": Role.ADMIN}}
    fields: dict[str, Any] = {
        "id": f"{name}@acme",
        "name": name.title(),
        "roles": roles.get(name) or {C: Role(name)},
        "tokens": (Token(id=name, hash=token_hash(TOKENS[name]), created_at=0),) if name in TOKENS else (),
        "version": 1,
    }
    return User(**(fields | changes))


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def etag(self) -> str:
        return self.headers["ETag"]

    @property
    def fields(self) -> list[tuple[str, str]]:
        """Of the errors: field and code."""
        return [(each["field"], each["code"]) for each in self.json["errors"]]


class Spot:
    """One console and its topics."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.connection = Connection(settings)
        self.port = 0
        self.web_port = 0
        self.desk: Desk
        self._loop: asyncio.AbstractEventLoop
        self._end: asyncio.Event
        self._thread: threading.Thread

    def publish(self, *records: Record) -> None:
        self.connection.publish([publication(record) for record in records])

    def start(self) -> None:
        started: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(started)))
        self._thread.start()
        started.result(DEADLINE)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    async def _run(self, started: Future[None]) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with listening(self.settings, self._end.set) as (self.desk, self.port, self.web_port):
                async with asyncio.timeout(DEADLINE):
                    while self.desk.not_ready():  # noqa: ASYNC110 - as a load balancer would
                        await asyncio.sleep(0.02)
                started.set_result(None)
                await self._end.wait()
        except BaseException as error:
            if not started.done():
                started.set_exception(error)
            raise

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        who: str = "",
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
        port: int = 0,
    ) -> Answer:
        """``path`` below /api/v1 unless it begins with ``//``; ``who``: the name of a token."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=DEADLINE)
        sent = {"Authorization": f"Bearer {TOKENS[who]}"} if who else {}
        data = raw
        if body is not None:
            data = msgspec.json.encode(body)
        if data is not None:
            sent["Content-Type"] = "application/json"
        target = path[1:] if path.startswith("//") else "/api/v1" + path
        try:
            connection.request(method, target, data, sent | dict(headers or {}))
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(), dict(answer.getheaders()))
        finally:
            connection.close()

    def get(self, path: str, who: str = "viewer", **headers: str) -> Answer:
        return self.call("GET", path, who=who, headers=headers)

    def until(self, holds: Callable[[], bool]) -> None:
        pause = threading.Event()
        for _ in range(int(DEADLINE / 0.02)):
            if holds():
                return
            pause.wait(0.02)
        raise AssertionError("it did not come to hold")


def segment(text: str) -> str:
    """As a part of a path."""
    return quote(text, safe="")


@pytest.fixture(scope="session")
def console_broker() -> Iterator[EmbeddedBroker]:
    """Topics appear on first use, at once and with 4 partitions; a real one has 1 of most."""
    with EmbeddedBroker({}) as broker:
        yield broker


@pytest.fixture(scope="session")
def make_settings(console_broker: EmbeddedBroker) -> Callable[[Path], Settings]:
    """With topics that nobody else uses."""

    def make(folder: Path) -> Settings:
        settings = Settings(
            broker=console_broker.bootstrap,
            topic_prefix=f"c{next(_PREFIXES)}.",
            data=folder,
            console_port=0,
            web_port=0,
        )
        plan = {topic.name.removeprefix(settings.topic_prefix): topic for topic in topic_plan(settings)}
        asyncio.run(create(settings.broker, {}, [plan[name] for name in NAMES]))
        return settings

    return make


@pytest.fixture(scope="module")
def shared(
    make_settings: Callable[[Path], Settings], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Spot]:
    """A module's: for tests that leave it as they find it, or use ids of their own."""
    spot = Spot(make_settings(tmp_path_factory.mktemp("console")))
    spot.publish(*both_companies(), *map(user, TOKENS))
    spot.start()
    yield spot
    spot.stop()


@pytest.fixture
def spot(make_settings: Callable[[Path], Settings], tmp_path: Path) -> Iterator[Spot]:
    """One's own."""
    spot = Spot(make_settings(tmp_path))
    spot.publish(*both_companies(), *map(user, TOKENS))
    spot.start()
    yield spot
    spot.stop()
