"""What providers report of messages: once each, whenever and however often they say it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import FINAL_STATES, Channel, Delivery, EntityKind, EventStatus, Trigger
from streams.domain.messages import Accepted, Inquiry, Message, NotFound, Outcome, RetryAt, Unknown
from streams.stages.round import MEMORY
from streams.stages.slots import decode_slot
from tests.support.shop import DAY, HOUR, MINUTE, at, change, facts, notification, reminder, visit
from tests.support.topology import CrashPoint, Topology, accepting, opened

TUESDAY = "2026-04-07 10:00"
WHEN = at("2026-04-20 12:00")
RULE = notification(Trigger.CREATED)
DELIVERED, UNDELIVERED, FAILED = EventStatus.DELIVERED, EventStatus.UNDELIVERED, EventStatus.FAILED
SILENT = Unknown("test", "no_answer")


def ordered(provider: Callable[[Message], Outcome] = accepting) -> Topology:
    world = opened(TUESDAY, RULE)
    world.provider = provider
    world.change(EntityKind.ORDER, change(1, facts(), world.now))
    return world


def counting(asked: list[str]) -> Callable[[Message], Inquiry]:
    def inquiry(message: Message) -> Inquiry:
        asked.append(message.delivery_id)
        return NotFound("test")

    return inquiry


def last(world: Topology) -> Delivery:
    return world.log[-1]


def states(world: Topology) -> list[str]:
    return [str(record.state) for record in world.log]


def test_a_receipt_says_who_has_the_message_and_where_to_look() -> None:
    world = ordered()
    sent = last(world)
    world.report(sent, UNDELIVERED, code="30003", segments=2, price="0.015", currency="USD")
    record = last(world)
    assert (record.state, record.delivery_id, record.transition) == (
        "bounced",
        sent.delivery_id,
        sent.transition + 1,
    )
    assert (record.provider, record.provider_id, record.note) == ("test", "SM1", "30003")
    assert (record.segments, record.price, record.currency) == (2, "0.015", "USD")
    assert (record.customer_id, record.entity_id, record.rule_id, record.anchor, record.location_id) == (
        sent.customer_id,
        sent.entity_id,
        sent.rule_id,
        sent.anchor,
        sent.location_id,
    )


@given(st.lists(st.sampled_from([*EventStatus]), max_size=8), st.integers(0, 2))
def test_each_word_once_and_none_is_taken_back(statuses: list[EventStatus], replays: int) -> None:
    world = ordered()
    for status in statuses:
        world.report(next(record for record in world.log if record.state == "sent"), status)
    for _ in range(replays):
        world.replay_events()
    told = states(world)[states(world).index("sent") + 1 :]
    assert told == [state for state in ("bounced", "delivered") if state in told]
    assert ("delivered" in told) == (DELIVERED in statuses)
    first = next((s for s in statuses if s in (DELIVERED, UNDELIVERED, FAILED, EventStatus.HARD)), None)
    assert ("bounced" in told) == (first is not None and first is not DELIVERED)


def test_a_receipt_of_nobody_says_nothing() -> None:
    world = ordered()
    before = list(world.log)
    sent = last(world)
    strange = [
        {"delivery_id": "0" * 32},
        {"delivery_id": ""},
        {"entity_id": "another"},
        {"company": "another"},
        {"kind": ""},
        {"kind": "invoice"},
    ]
    for fields in strange:
        world.report(sent, DELIVERED, **fields)
    assert world.log == before


def test_a_message_that_waits_was_not_delivered() -> None:
    """A receipt with the id of a message that is still to be sent is somebody's mistake."""
    world = opened(TUESDAY, reminder(24))
    world.change(EntityKind.APPOINTMENT, change(1, visit(scheduled=WHEN), world.now))
    world.report(last(world), DELIVERED)
    world.until(WHEN)
    assert states(world) == ["scheduled", "sending", "sent"]


def test_a_receipt_that_is_faster_than_the_answer_waits_for_it() -> None:
    world = opened(TUESDAY, RULE)

    def provider(message: Message) -> Outcome:
        world.report(last(world), DELIVERED)
        assert states(world)[-1] == "sending"
        return accepting(message)

    world.provider = provider
    world.change(EntityKind.ORDER, change(1, facts(), world.now))
    assert states(world)[-2:] == ["sent", "delivered"]
    assert [record.reason for record in world.log[-2:]] == ["accepted", ""]


def test_a_receipt_is_an_answer_where_none_came() -> None:
    asked: list[str] = []
    world = opened(TUESDAY, RULE)
    world.inquiry = counting(asked)

    def provider(message: Message) -> Outcome:
        world.report(last(world), DELIVERED)
        return SILENT

    world.provider = provider
    world.change(EntityKind.ORDER, change(1, facts(), world.now))
    world.after(DAY)
    assert states(world)[-3:] == ["sending", "sent", "delivered"]
    assert asked == []


def test_nobody_is_asked_about_what_was_reported_meanwhile() -> None:
    asked: list[str] = []
    world = ordered(lambda _: SILENT)
    world.inquiry = counting(asked)
    world.report(last(world), UNDELIVERED)
    assert [(str(record.state), record.reason) for record in world.log[-2:]] == [
        ("sent", "found"),
        ("bounced", ""),
    ]
    assert last(world).provider_id == "SM1"
    world.after(DAY)
    assert (asked, world.pending) == ([], 0)


def test_an_intent_that_was_left_behind_is_settled_by_its_receipt() -> None:
    world = opened(TUESDAY, RULE)
    created = change(1, facts(), world.now)
    assert world.crash("call", lambda: world.change(EntityKind.ORDER, created))
    world.after(1)
    record = next(record for record in world.log if record.state in ("unknown", "sending"))
    world.report(record, DELIVERED)
    world.after(DAY)
    assert states(world)[-2:] == ["sent", "delivered"]
    assert len(world.sent) == 1


def test_a_bounce_of_the_first_copy_keeps_the_second_from_going() -> None:
    rule = notification(Trigger.CREATED, channel=Channel.EMAIL)
    world = opened(TUESDAY, rule)
    answers: list[Outcome] = [RetryAt("test", "throttled", after=10 * MINUTE), SILENT]
    world.provider = lambda message: answers.pop() if answers else accepting(message)
    world.change(EntityKind.ORDER, change(1, facts(), world.now))
    world.after(5 * MINUTE)
    assert (last(world).state, len(world.sent)) == ("retrying", 2)
    world.report(last(world), EventStatus.HARD)
    world.after(DAY)
    assert states(world)[-2:] == ["sent", "bounced"]
    assert len(world.sent) == 2


def test_reminders_of_two_times_have_receipts_of_their_own() -> None:
    world = opened(TUESDAY, reminder(24))
    world.change(EntityKind.APPOINTMENT, change(1, visit(scheduled=WHEN), world.now))
    world.until(WHEN - DAY)
    first = last(world)
    world.change(EntityKind.APPOINTMENT, change(2, visit(scheduled=WHEN + 2 * DAY), world.now))
    world.until(WHEN + DAY)
    second = last(world)
    assert (first.state, second.state) == ("sent", "sent")
    world.report(second, UNDELIVERED)
    world.report(first, DELIVERED)
    assert [(str(r.state), r.delivery_id, r.anchor) for r in world.log[-2:]] == [
        ("bounced", second.delivery_id, str(WHEN + 2 * DAY)),
        ("delivered", first.delivery_id, str(WHEN)),
    ]


def test_a_receipt_names_the_time_of_a_reminder_that_was_settled_after_it() -> None:
    """Also a receipt that was faster than the answer, and when an earlier release remembered for longer."""
    world = opened(TUESDAY, reminder(1))
    world.provider = lambda _: SILENT
    world.change(EntityKind.APPOINTMENT, change(1, visit(scheduled=WHEN), world.now))
    world.until(WHEN - HOUR)
    unknown = last(world)
    world.now = WHEN + HOUR
    world.report(unknown, UNDELIVERED)
    assert [(str(r.state), r.anchor) for r in world.log[-2:]] == [("sent", str(WHEN)), ("bounced", str(WHEN))]
    for store in world.stores:
        for key, raw in store.scan("slots", b"", None, 10):
            slot = decode_slot(raw)
            [(id_, until)] = slot.head.sent
            assert until == WHEN + MEMORY
            slot.head.sent = [(id_, until + HOUR)]
            store.write([("slots", key, msgspec.msgpack.encode(slot))])
    world.report(unknown, DELIVERED)
    assert (str(last(world).state), last(world).anchor) == ("delivered", "")


@pytest.mark.parametrize("point", ["log", "intent"])
def test_a_crash_repeats_no_receipt_and_loses_none(point: CrashPoint) -> None:
    world = ordered()
    sent = last(world)
    world.crash(point, lambda: world.report(sent, DELIVERED))
    world.lose_disks()
    world.replay_events()
    world.report(sent, UNDELIVERED)
    records = {(r.delivery_id, r.transition): str(r.state) for r in world.log}
    assert list(records.values())[-1] == "delivered"
    assert list(records.values()).count("delivered") == 1


def test_what_is_remembered_of_a_message_goes_with_it() -> None:
    world = ordered()
    sent = last(world)
    world.report(sent, DELIVERED)
    world.after(MEMORY + HOUR)
    assert not any(store.scan("slots", b"", None, 10) for store in world.stores)
    world.report(sent, DELIVERED)
    assert states(world).count("delivered") == 1


def test_price_and_segments_of_the_answer_stay_with_it() -> None:
    priced = Accepted("test", "SM1", segments=3, price="0.02", currency="EUR")
    world = ordered(lambda _: priced)
    sent = last(world)
    world.report(sent, DELIVERED)
    assert (sent.segments, sent.price, sent.currency) == (3, "0.02", "EUR")
    assert last(world).segments is None


def test_a_receipt_during_a_question_leaves_the_answer_to_its_own_message() -> None:
    """The message moves on only when the answer is there: the next one must not be taken for it."""
    world = opened(TUESDAY, reminder(24))
    world.provider = lambda _: SILENT
    world.change(EntityKind.APPOINTMENT, change(1, visit(scheduled=WHEN), world.now))
    world.until(WHEN - DAY)
    first = last(world)

    def inquiry(message: Message) -> Inquiry:
        world.inquiry = lambda _: NotFound("test")
        world.change(EntityKind.APPOINTMENT, change(2, visit(scheduled=WHEN + HOUR), world.now))
        world.report(first, DELIVERED)
        world.after(HOUR - MINUTE // 6)  # the next one has just been sent
        return Accepted("test", "SM1")

    world.inquiry = inquiry
    world.after(DAY)
    ends = {r.delivery_id: (str(r.state), r.reason) for r in world.log if r.state in FINAL_STATES}
    second = ends.keys() - {first.delivery_id}
    assert ends[first.delivery_id] == ("sent", "found")
    assert [ends[delivery_id] for delivery_id in second] == [("unknown_closed", "not_resent")]


def test_only_as_many_receipts_are_kept_as_messages_are_remembered() -> None:
    world = opened(TUESDAY, reminder(24))
    for week in range(12):
        when = WHEN + week * 7 * DAY
        world.change(EntityKind.APPOINTMENT, change(week + 1, visit(scheduled=when), world.now))
        world.until(when - HOUR)
        world.report(last(world), DELIVERED)
    (head,) = [
        decode_slot(raw).head for store in world.stores for _, raw in store.scan("slots", b"", None, 10)
    ]
    assert {receipt.delivery_id for receipt in head.receipts} == {sent for sent, _ in head.sent}
    assert len(head.receipts) < 8
