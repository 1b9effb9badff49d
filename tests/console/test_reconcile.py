"""``carillon reconcile`` on books that were broken by hand: a message too many, one too few, one twice. That
the books of a real worker add up is told in tests/integration/test_operations.py."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from console.findings import Finding
from console.stories import Stories, impossible
from deploy.fakes.sms import ACCOUNT, TOKEN, SmsFake
from schemas.codec import Codec
from schemas.records import (
    FINAL_STATES,
    Company,
    Delivery,
    DeliveryState,
    EntityKind,
    Timer,
    TimerOp,
)
from schemas.registry import EmbeddedRegistry
from streams.domain.ids import address_hash, customer_key, delivery_id, log_key
from streams.domain.ids import mask as masked
from streams.domain.life import STEPS
from streams.kafka.partitioner import partition_for
from streams.kafka.producer import BatchProducer
from streams.settings import Settings
from streams.stages.round import SOURCE
from streams.stages.slots import SLOT_TAG, Head, Row, Slot, SlotName, slot_key
from tests.console.conftest import Carillon
from tests.console.test_feed import produce
from tests.support.shop import C, ann, shop

S = DeliveryState
CODEC = Codec(EmbeddedRegistry())
PHONE = ann().phone
SENDER = "+48500000000"
HASH_KEY = b"carillon"
MINUTE = 60_000
_encode = msgspec.msgpack.Encoder().encode


def wall_now() -> int:
    return time.time_ns() // 1_000_000


# --- stories, without a broker


def delivery(entity_id: str, number: int, state: DeliveryState, **changes: object) -> Delivery:
    event = f"{entity_id}-1"
    record = Delivery(
        delivery_id=delivery_id(C, "greet", EntityKind.ORDER, entity_id, event, "ann"),
        transition=number,
        state=state,
        company=C,
        kind=EntityKind.ORDER,
        entity_id=entity_id,
        entity_version=1,
        rule_id="greet",
        rule_version=1,
        customer_id="ann",
        channel="sms",
        anchor=event,
        at=1_000 + number,
    )
    return msgspec.structs.replace(record, **changes)


def judged(*steps: tuple[int, DeliveryState] | tuple[int, DeliveryState, str]) -> str:
    stories = Stories(None, 10**15)
    for number, state, *reason in steps:
        stories.add(delivery("1", number, state, reason="".join(reason)))
    [story] = stories.by_id.values()
    found = impossible(story)
    return str(found.kind) if found is not None else ""


@pytest.mark.parametrize(
    ("steps", "kind"),
    [
        ([(1, S.SCHEDULED), (2, S.SENDING), (3, S.SENT)], ""),
        ([(1, S.SCHEDULED), (3, S.SENT), (2, S.SENDING), (2, S.SENDING)], ""),  # repeats, late
        ([(2, S.SENDING), (3, S.SENT)], ""),  # planned before the period
        ([(1, S.SUPPRESSED)], ""),  # too late, and said at once
        ([(0, S.SUPPRESSED)], ""),  # an entity agent said so
        ([(1, S.SCHEDULED), (2, S.CANCELLED), (3, S.SCHEDULED), (4, S.SENDING), (5, S.SENT)], ""),
        ([(1, S.SCHEDULED), (2, S.SENDING), (3, S.SENT), (4, S.DELIVERED)], ""),
        ([(1, S.SENT)], "without_planning"),
        ([(1, S.SENDING), (2, S.SENT)], "without_planning"),
        ([(1, S.SCHEDULED), (3, S.SENT)], "missing_step"),
        ([(1, S.SCHEDULED), (2, S.SENDING), (3, S.SENT), (4, S.SENT)], "two_finals"),
        ([(1, S.SCHEDULED), (2, S.SENDING), (3, S.SENT), (4, S.SCHEDULED)], "two_finals"),
        ([(1, S.SCHEDULED), (2, S.CANCELLED), (3, S.SENT)], "two_finals"),
        ([(1, S.SCHEDULED), (2, S.SENDING), (3, S.SENT), (3, S.UNKNOWN)], "two_stories"),
        (
            [(1, S.SCHEDULED), (2, S.CANCELLED, "entity_closed"), (2, S.CANCELLED, "rule_deleted")],
            "two_stories",
        ),
    ],
)
def test_a_story_that_can_t_be(steps: list[Any], kind: str) -> None:
    assert judged(*steps) == kind


def test_every_step_of_a_message_s_life_is_possible() -> None:
    for step in STEPS:
        for source in step.sources:
            for target in step.targets:
                steps = [(1, target)] if source is None else [(2, source), (3, target)]
                assert judged(*steps) == "", (source, target)


def test_every_kind_says_what_it_means_and_what_to_do() -> None:
    for kind in Finding:
        assert kind.means.endswith((".", "?"))
        assert kind.do.endswith((".", "?"))
    assert {state for state in S if state in FINAL_STATES} == FINAL_STATES


# --- the command, on books written by hand


class Provider:
    """The fake in a thread of its own: the command blocks."""

    def __init__(self) -> None:
        self.fake = SmsFake(now=wall_now)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._run(self.fake.start())

    def stop(self) -> None:
        self._run(self.fake.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def accept(self, body: str, to: str = PHONE, sender: str = SENDER) -> str:
        return str(self.fake.keep(to, sender, body)["sid"])

    def forget(self, sid: str) -> None:
        self.fake.ledger.entries[:] = [each for each in self.fake.ledger.entries if each["sid"] != sid]

    def _run(self, what: Any) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(30)


class Books:
    """What a worker would have written of some orders, one delivery each."""

    def __init__(self, settings: Settings, provider: Provider, carillon: Carillon) -> None:
        self.settings = settings
        self.provider = provider
        self._carillon = carillon
        self.now = wall_now()
        self.log: list[Delivery] = []
        self.slots: list[tuple[str, Slot | None]] = []
        self.timers: list[Timer] = []
        self.worked_on = 1_000_000

    def sent(self, entity_id: str, sid: str = "", **changes: object) -> str:
        """Planned, handed over and accepted; the provider has it too. The provider's id."""
        sid = sid or self.provider.accept(f"text of {entity_id}")
        self.open(entity_id, S.SCHEDULED)
        self.step(entity_id, 2, S.SENDING)
        self.step(entity_id, 3, S.SENT, reason="accepted", provider="twilio", provider_id=sid, **changes)
        self.slots.append((entity_id, Slot(Head(1, 1, 3, [], 0, -1))))
        return sid

    def open(self, entity_id: str, state: DeliveryState = S.SCHEDULED) -> None:
        self.step(entity_id, 1, state, reason="armed")
        self.command(entity_id)

    def step(self, entity_id: str, number: int, state: DeliveryState, **changes: object) -> None:
        at = self.now - 5 * MINUTE + number
        hashed = address_hash(HASH_KEY, C, PHONE) if number > 1 else ""
        fields = {"at": at, "address_hash": hashed, "address_masked": masked(PHONE) if hashed else ""}
        self.log.append(delivery(entity_id, number, state, **(fields | changes)))

    def command(self, entity_id: str) -> None:
        self.timers.append(
            Timer(
                op=TimerOp.ARM,
                company=C,
                kind=EntityKind.ORDER,
                entity_id=entity_id,
                customer_id="ann",
                entity_version=1,
                rule_id="greet",
                rule_version=1,
                anchor=f"{entity_id}-1",
                event_id=f"{entity_id}-1",
                occurred_at=self.now,
            )
        )

    def pending(self, entity_id: str, due: int, number: int = 1) -> None:
        record = delivery(entity_id, 1, S.SCHEDULED)
        row = Row(record.delivery_id, 1, 1, record.anchor, self.now, "new", "scheduled", due, due, due)
        self.slots.append((entity_id, Slot(Head(1, 1, number, [], -1, due), row)))

    def reconcile(self, *options: str) -> list[dict[str, Any]]:
        result = self._carillon("reconcile", "--grace", "0s", "--json", *options)
        assert isinstance(result.exception, SystemExit | None), result.exc_info
        found = [json.loads(line) for line in result.stdout.splitlines()]
        assert result.exit_code == bool(found), result.output
        return found

    def write(self) -> None:
        settings = self.settings
        produce(
            settings,
            "delivery-log",
            [(log_key(r.company, r.kind, r.entity_id), CODEC.encode(r)) for r in self.log],
        )
        key = customer_key(C, "ann")
        produce(settings, "timers", [(key, CODEC.encode(timer)) for timer in self.timers])
        changelog: list[tuple[bytes, bytes | None]] = [
            (SLOT_TAG + self._slot(entity_id), _encode(slot) if slot is not None else None)
            for entity_id, slot in self.slots
        ]
        changelog.append((SOURCE, _encode(self.worked_on)))
        # All in the partition of the customer, as a worker would write it.
        partition = partition_for(key, 4)

        async def send() -> None:
            producer = BatchProducer(settings.broker, {}, partitions=lambda _: 4)
            await producer.start()
            await producer.send(settings.topic_prefix + "timers-changelog", changelog, partition=partition)
            await producer.stop()

        asyncio.run(send())

    def _slot(self, entity_id: str) -> bytes:
        return slot_key(SlotName(C, EntityKind.ORDER, entity_id, "ann", "greet", f"{entity_id}-1"))


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    found = Provider()
    yield found
    found.stop()


@pytest.fixture
def books(
    own_topics: Settings, provider: Provider, carillon: Carillon, monkeypatch: pytest.MonkeyPatch
) -> Books:
    provider.fake.ledger.entries.clear()
    provider.fake.control({"clear": True})
    monkeypatch.setenv("CARILLON_SMS_ACCOUNT", ACCOUNT)
    monkeypatch.setenv("TEST_SMS_TOKEN", TOKEN)
    monkeypatch.setenv("CARILLON_SMS_TOKEN", "env:TEST_SMS_TOKEN")
    monkeypatch.setenv("CARILLON_SMS_API", provider.fake.url)
    company = next(record for record in shop() if isinstance(record, Company))
    produce(own_topics, "companies", [(C.encode(), CODEC.encode(company))])
    return Books(own_topics, provider, carillon)


@pytest.mark.embedded
def test_books_that_add_up(books: Books, carillon: Carillon) -> None:
    books.sent("1")
    books.sent("2")
    books.open("3")
    books.pending("3", books.now + MINUTE)
    books.provider.accept("not ours", sender="+49301111111")
    books.provider.fake.keep(SENDER, PHONE, "STOP", direction="inbound")
    books.write()
    result = carillon("reconcile", "--grace", "0s")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].endswith("UTC: 3 deliveries, 3 commands")
    assert lines[1] == "the provider's list: 2 SMS; 1 more from senders that are no company's: not judged"
    assert lines[-1] == "everything adds up"
    assert books.reconcile("--company", C) == []
    unknown = carillon("reconcile", "--company", "umbrella")
    assert unknown.exit_code == 1
    assert "there are: acme" in unknown.output


@pytest.mark.embedded
def test_what_the_provider_has_and_the_log_has_not(books: Books, carillon: Carillon) -> None:
    provider = books.provider
    books.sent("1")
    gone, one = books.sent("2"), books.sent("3")
    books.sent("4", sid=one)
    provider.forget(gone)
    copy = provider.accept("text of 1")
    stray = provider.accept("who wrote this?", to="+48999888777")
    closed = provider.accept("text of closed")
    books.open("closed")
    books.step("closed", 2, S.SENDING)
    books.step("closed", 3, S.UNKNOWN, reason="no_answer")
    books.step("closed", 4, S.UNKNOWN_CLOSED, reason="not_resent")
    books.write()

    found = {(each["kind"], each["entity"]): each for each in books.reconcile()}
    [shared] = {entity for kind, entity in found if kind == "shared"}
    assert shared in {"order/3", "order/4"}
    assert set(found) == {
        ("missing_at_provider", "order/2"),
        ("shared", shared),
        ("accepted_twice", "order/1"),
        ("closed_but_accepted", "order/closed"),
        ("stranger", ""),
    }
    assert found["missing_at_provider", "order/2"]["provider_id"] == gone
    assert found["accepted_twice", "order/1"]["provider_id"] == copy
    assert found["closed_but_accepted", "order/closed"]["provider_id"] == closed
    assert found["stranger", ""]["provider_id"] == stray
    assert found["stranger", ""]["to"] == masked("+48999888777")

    result = carillon("reconcile", "--grace", "0s")
    assert result.exit_code == 1
    assert "5 things do not add up" in result.output
    assert "stranger: 1\n" in result.output
    assert "What to do: Does something else send by this account and number?" in result.output
    assert "+48999888777" not in result.output
    # Recent enough to be under way: nothing is said of it.
    assert {each["kind"] for each in books.reconcile("--grace", "1h")} <= {"shared"}
    assert "stranger" not in {each["kind"] for each in books.reconcile("--no-provider")}


@pytest.mark.embedded
def test_what_failed_at_ours_and_went_out_all_the_same(books: Books) -> None:
    books.open("1")
    books.step("1", 2, S.SENDING)
    books.step("1", 3, S.FAILED, reason="refused")
    sid = books.provider.accept("text of 1")
    books.write()
    assert [(f["kind"], f["entity"], f["provider_id"]) for f in books.reconcile()] == [
        ("not_sent_but_accepted", "order/1", sid)
    ]


@pytest.mark.embedded
def test_a_list_that_lags_is_asked_message_by_message(books: Books) -> None:
    books.sent("1")
    books.write()
    books.provider.fake.listed = False
    assert books.reconcile() == []


@pytest.mark.embedded
def test_what_was_planned_and_is_nowhere(books: Books) -> None:
    books.open("lost")
    books.open("handled")
    books.slots.append(("lost", None))  # a slot that was forgotten
    books.slots.append(("handled", Slot(Head(1, 1, 3, [], 0, -1))))
    books.command("unheard")
    books.command("repeat")
    books.slots.append(("repeat", Slot(Head(1, 1, 3, [], 0, -1))))
    books.write()
    found = [(each["kind"], each["entity"], each["detail"]) for each in books.reconcile()]
    assert ("lost", "order/lost", "last known as scheduled") in found
    assert ("unwritten", "order/handled", "last known as scheduled") in found
    assert {(kind, entity) for kind, entity, _ in found} == {
        ("lost", "order/lost"),
        ("unwritten", "order/handled"),
        ("unheard", "order/unheard"),
    }


@pytest.mark.embedded
def test_what_waits_longer_than_it_should(books: Books) -> None:
    books.open("late")
    books.pending("late", books.now - MINUTE)
    books.write()
    [found] = books.reconcile()
    assert (found["kind"], found["entity"]) == ("overdue", "order/late")
    assert found["detail"].startswith("scheduled, due ")
    assert books.reconcile("--grace", "2m") == []


@pytest.mark.embedded
def test_commands_that_nobody_works_on(books: Books) -> None:
    books.worked_on = 1
    books.sent("1")
    books.command("2")
    books.command("3")
    books.write()
    [found] = books.reconcile()
    assert found["kind"] == "unread"
    assert "2 commands, the oldest of" in found["detail"]


@pytest.mark.embedded
def test_a_log_that_was_written_to_by_hand(books: Books) -> None:
    books.sent("twice")
    books.step("twice", 4, S.SENT, reason="found", provider="twilio", provider_id="SM1")
    books.step("unplanned", 1, S.SENT, reason="accepted")
    books.write()
    kinds = {(each["kind"], each["entity"]) for each in books.reconcile("--no-provider")}
    assert kinds == {("two_finals", "order/twice"), ("without_planning", "order/unplanned")}


def test_wrong_periods(carillon: Carillon) -> None:
    assert carillon("reconcile", "--since", "soon").exit_code == 2
    assert carillon("reconcile", "--grace", "soon").exit_code == 2
    backwards = carillon("reconcile", "--since", "1h", "--until", "2h")
    assert backwards.exit_code == 2
    assert "--since must lie before --until" in backwards.output
