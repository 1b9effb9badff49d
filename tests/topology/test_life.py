"""Every arrow of the picture in ``docs/delivery-states.md`` is really gone, each by a story of its own. That
there are no others is seen by every topology test and every simulated run (``tests.support.lives``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import pytest

from schemas.records import (
    Channel,
    Company,
    Delivery,
    DeliveryState,
    EntityKind,
    EventStatus,
    Hours,
    Interval,
    Location,
    Rule,
    Timer,
    TimerOp,
    Trigger,
)
from streams.domain.life import NEXT, NOT_SENT, RECEIPTS
from streams.domain.messages import Accepted, Message, Outcome, Rejected, RetryAt, Unknown
from tests.support.lives import Lives, Pair
from tests.support.shop import (
    DAY,
    HOUR,
    MINUTE,
    ann,
    at,
    change,
    facts,
    notification,
    reminder,
    shop,
    visit,
)
from tests.support.topology import Topology, accepting, opened

State = DeliveryState
ORDER, APPOINTMENT = EntityKind.ORDER, EntityKind.APPOINTMENT
TUESDAY = "2026-04-07 10:00"
WHEN = at("2026-04-20 12:00")
LATER = RetryAt("test", "throttled", after=10 * MINUTE)
SILENT = Unknown("test", "no_answer")

NEVER: dict[Pair, str] = {
    (State.STALE, State.SUPERSEDED): "only what is a reminder is superseded by its own kind, and a reminder "
    "does not become stale: a change of status arms it anew",
}
"""Arrows that nothing makes, and why."""

Story = Callable[[], Topology]


# --- from waiting ---------------------------------------------------------------------------------

ONCE_READY = notification(
    Trigger.STATUS_CHANGED_TO, status_id="ready", delay=60, working_hours_only=True, only_if_still=True
)


def ready(when: str, *rules: Rule) -> Topology:
    world = opened(when, *rules)
    world.change(ORDER, change(1, facts(), world.now), change(2, facts("ready"), world.now))
    return world


def scheduled() -> Topology:
    return ready(TUESDAY, ONCE_READY)


def held() -> Topology:
    world = ready("2026-04-07 17:30", ONCE_READY)
    world.after(HOUR)
    return world


def retrying() -> Topology:
    world = opened(TUESDAY, ONCE_READY)
    answers: list[Outcome] = [LATER]
    world.provider = lambda message: answers.pop() if answers else accepting(message)
    world.change(ORDER, change(1, facts(), world.now), change(2, facts("ready"), world.now))
    world.after(HOUR)
    return world


def more_patient(world: Topology) -> None:
    world.reference(msgspec.structs.replace(ONCE_READY, delay=24 * 60, version=2, changed_at=world.now))


def opens_later(world: Topology) -> None:
    north = shop()[1]
    assert isinstance(north, Location)
    noon = Hours(weekdays=((Interval(opens=720, closes=1080),),) * 7)
    world.reference(msgspec.structs.replace(north, hours=noon, version=2))


def nothing(world: Topology) -> None:
    """Its moment comes."""


def withdraws(world: Topology) -> None:
    world.customer(ann(sms_consent=False, version=2))


def switched_off(world: Topology) -> None:
    world.reference(msgspec.structs.replace(ONCE_READY, enabled=False, version=2))


def once_more(world: Topology) -> None:
    world.change(ORDER, change(3, facts(), world.now), change(4, facts("ready"), world.now))


def done(world: Topology) -> None:
    world.change(ORDER, change(3, facts("done"), world.now))


def sleeps(world: Topology) -> None:
    """Nothing runs for days."""
    world.now += 3 * DAY


def no_sender(world: Topology) -> None:
    acme = shop()[0]
    assert isinstance(acme, Company)
    world.reference(msgspec.structs.replace(acme, sms_sender="", version=2))


FROM = {State.SCHEDULED: scheduled, State.HELD: held, State.RETRYING: retrying}
BY = {
    State.SCHEDULED: more_patient,
    State.HELD: opens_later,
    State.SENDING: nothing,
    State.SUPPRESSED: withdraws,
    State.CANCELLED: switched_off,
    State.SUPERSEDED: once_more,
    State.STALE: done,
    State.EXPIRED: sleeps,
    State.FAILED: no_sender,
}


def waited(before: Story, act: Callable[[Topology], None]) -> Topology:
    world = before()
    act(world)
    world.after(2 * DAY)
    return world


# --- at the provider --------------------------------------------------------------------------------


def booked(channel: Channel = Channel.SMS) -> Topology:
    """A day before, a reminder is due."""
    world = opened(TUESDAY, reminder(24, channel=channel, template_id="t"))
    world.change(APPOINTMENT, change(1, visit(scheduled=WHEN), world.now))
    return world


def move(world: Topology) -> None:
    world.change(APPOINTMENT, change(2, visit(scheduled=WHEN + DAY), world.now))


def answered(answer: Outcome) -> Topology:
    world = booked()
    world.provider = lambda _: answer
    world.until(WHEN - DAY)
    return world


def moved_before_its_turn(before: Story) -> Topology:
    world = before()
    move(world)
    return world


def before_the_call(act: Callable[[Topology], None]) -> Topology:
    world = booked()
    world.before_call = lambda: act(world)
    world.until(WHEN - DAY)
    return world


def cancels(world: Topology) -> None:
    world.change(APPOINTMENT, change(2, visit("gone", WHEN), world.now))


def found() -> Topology:
    world = answered(SILENT)
    world.inquiry = lambda _: Accepted("test", "SM1")
    world.after(HOUR)
    return world


def never_found() -> Topology:
    world = answered(SILENT)
    world.after(HOUR)
    return world


def mailed_again() -> Topology:
    world = booked(Channel.EMAIL)
    world.provider = lambda _: SILENT
    world.until(WHEN - HOUR)
    return world


# --- reported ---------------------------------------------------------------------------------------

REPORTED = {State.DELIVERED: EventStatus.DELIVERED, State.BOUNCED: EventStatus.UNDELIVERED}


def last(world: Topology) -> Delivery:
    return world.log[-1]


def reported(before: Story, *receipts: DeliveryState) -> Topology:
    world = before()
    world.report(last(world), *(REPORTED[receipt] for receipt in receipts))
    return world


MAIL_READY = msgspec.structs.replace(ONCE_READY, channel=Channel.EMAIL, template_id="t")


def tried_again(*rules: Rule) -> Topology:
    """Nobody knows of the first copy, and the second has to wait."""
    world = opened(TUESDAY, *rules)
    answers: list[Outcome] = [LATER, SILENT]
    world.provider = lambda message: answers.pop() if answers else accepting(message)
    return world


def second_copy_waits() -> Topology:
    world = tried_again(MAIL_READY)
    world.change(ORDER, change(1, facts(), world.now), change(2, facts("ready"), world.now))
    world.after(HOUR + 5 * MINUTE)
    assert last(world).state == State.RETRYING
    return world


def first_copy_went(act: Callable[[Topology], None]) -> Topology:
    world = second_copy_waits()
    act(world)
    world.after(2 * DAY)
    return world


def first_copy_went_before_it_was_moved() -> Topology:
    world = tried_again(reminder(24, channel=Channel.EMAIL, template_id="t"))
    world.change(APPOINTMENT, change(1, visit(scheduled=WHEN), world.now))
    world.until(WHEN - DAY + 5 * MINUTE)
    move(world)
    (record,) = [record for record in world.log if record.state == State.SUPERSEDED]
    world.log.append(record)
    return world


def booked_and_sent() -> Topology:
    return answered(Accepted("test", "SM1"))


def refuses_mail(world: Topology) -> None:
    world.customer(ann(email_consent=False, version=2))


def no_mail_sender(world: Topology) -> None:
    acme = shop()[0]
    assert isinstance(acme, Company)
    world.reference(msgspec.structs.replace(acme, email_sender_address="", version=2))


def mail_off(world: Topology) -> None:
    world.reference(msgspec.structs.replace(MAIL_READY, enabled=False, version=2))


FIRST_COPY: dict[DeliveryState, Story] = {
    State.SUPPRESSED: lambda: first_copy_went(refuses_mail),
    State.CANCELLED: lambda: first_copy_went(mail_off),
    State.SUPERSEDED: first_copy_went_before_it_was_moved,
    State.STALE: lambda: first_copy_went(done),
    State.EXPIRED: lambda: first_copy_went(sleeps),
    State.FAILED: lambda: first_copy_went(no_mail_sender),
}
"""E-mails of which a second copy was to go and did not."""


# --- new, and planned anew ----------------------------------------------------------------------------


def too_late() -> Topology:
    world = opened(TUESDAY, reminder(24))
    world.change(APPOINTMENT, change(1, visit(scheduled=world.now + HOUR), world.now))
    return world


def armed_while_off() -> Topology:
    """The entity agent had not read that the rule is off."""
    world = booked()
    (first,) = arms(world)
    world.reference(reminder(24, enabled=False, version=2))
    world.produce(msgspec.structs.replace(first, entity_id="2", customer_id="ann"))
    return world


def moved_twice_in_flight() -> Topology:
    """The time in between was never planned."""
    world = booked()

    def provider(message: Message) -> Outcome:
        world.provider = accepting
        move(world)
        world.change(APPOINTMENT, change(3, visit(scheduled=WHEN + 2 * DAY), world.now))
        return accepting(message)

    world.provider = provider
    world.until(WHEN - DAY)
    return world


def arms(world: Topology) -> list[Timer]:
    return [timer for topic in world.commands for timer in topic if timer.op is TimerOp.ARM]


def was_suppressed() -> Topology:
    world = booked()
    world.customer(ann(sms_consent=False, version=2))
    world.until(WHEN - DAY)
    world.customer(ann(version=3))
    return world


def was_cancelled() -> Topology:
    world = booked()
    world.change(APPOINTMENT, change(2, visit(), world.now))
    return world


def was_superseded() -> Topology:
    world = booked()
    move(world)
    return world


def was_stale() -> Topology:
    world = scheduled()
    done(world)
    world.after(HOUR)
    return world


def was_expired() -> Topology:
    world = booked()
    world.now = WHEN + MINUTE
    world.settle()
    return world


def was_failed() -> Topology:
    world = answered(Rejected("test", "refused"))
    world.provider = accepting
    return world


WAS = {
    State.SUPPRESSED: was_suppressed,
    State.CANCELLED: was_cancelled,
    State.SUPERSEDED: was_superseded,
    State.STALE: was_stale,
    State.EXPIRED: was_expired,
    State.FAILED: was_failed,
}


def newer(world: Topology, version: int, **fields: object) -> Timer:
    """The command that armed the message, with newer facts."""
    return msgspec.structs.replace(arms(world)[0], entity_version=version, change=b"", **fields)


def again(world: Topology) -> None:
    world.produce(newer(world, 100))


def again_too_late(world: Topology) -> None:
    """Said to have occurred after its moment (a reminder), or long ago (a notification)."""
    moment = WHEN if arms(world)[0].rule_id == "rem" else world.now - 30 * DAY
    world.produce(newer(world, 100, occurred_at=moment))


def again_while_off(world: Topology) -> None:
    for rule in (reminder(24, enabled=False, version=9), msgspec.structs.replace(ONCE_READY, enabled=False)):
        world.reference(msgspec.structs.replace(rule, version=9))
    world.produce(newer(world, 100))


def again_and_moved_in_flight(world: Topology) -> None:
    """Another time's reminder is at the provider when this one is planned, and moved once more."""
    other = WHEN + 5 * DAY
    moved = [
        newer(world, version, anchor=str(moment), occurred_at=0)
        for version, moment in ((100, other), (101, WHEN), (102, other + DAY))
    ]

    def provider(message: Message) -> Outcome:
        world.provider = accepting
        world.produce(*moved[1:])
        return accepting(message)

    world.produce(moved[0])
    world.provider = provider
    world.until(other - DAY)


AGAIN = {
    State.SCHEDULED: again,
    State.SUPPRESSED: again_too_late,
    State.CANCELLED: again_while_off,
    State.SUPERSEDED: again_and_moved_in_flight,
}


def done_again(state: State, act: Callable[[Topology], None]) -> Topology:
    world = WAS[state]()
    act(world)
    return world


def stories() -> Iterator[tuple[Pair, Story]]:
    for before, begin in FROM.items():
        for after, act in BY.items():
            if after is not State.SUPERSEDED or before is State.HELD:
                yield (before, after), lambda begin=begin, act=act: waited(begin, act)  # type: ignore[misc]  # bound at once
    yield (State.SCHEDULED, State.SUPERSEDED), lambda: moved_before_its_turn(booked)
    yield (State.RETRYING, State.SUPERSEDED), lambda: moved_before_its_turn(lambda: answered(LATER))
    yield (State.SENDING, State.SENT), lambda: answered(Accepted("test", "SM1"))
    yield (State.SENDING, State.RETRYING), lambda: answered(LATER)
    yield (State.SENDING, State.UNKNOWN), lambda: answered(SILENT)
    yield (State.SENDING, State.FAILED), lambda: answered(Rejected("test", "refused"))
    yield (State.SENDING, State.SUPPRESSED), lambda: before_the_call(withdraws)
    yield (State.SENDING, State.CANCELLED), lambda: before_the_call(cancels)
    yield (State.SENDING, State.SUPERSEDED), lambda: before_the_call(move)
    yield (State.SENDING, State.EXPIRED), lambda: before_the_call(sleeps)
    yield (State.UNKNOWN, State.SENT), found
    yield (State.RETRYING, State.SENT), lambda: reported(second_copy_waits, State.DELIVERED)
    yield (State.BOUNCED, State.DELIVERED), lambda: reported(booked_and_sent, *reversed(RECEIPTS))
    for receipt in RECEIPTS:
        yield (State.SENT, receipt), lambda receipt=receipt: reported(booked_and_sent, receipt)  # type: ignore[misc]  # bound at once
        yield (State.UNKNOWN_CLOSED, receipt), lambda receipt=receipt: reported(never_found, receipt)  # type: ignore[misc]  # bound at once
        for before, story in FIRST_COPY.items():
            yield (before, receipt), lambda story=story, receipt=receipt: reported(story, receipt)  # type: ignore[misc]  # bound at once
    yield (State.UNKNOWN, State.UNKNOWN_CLOSED), never_found
    yield (State.UNKNOWN, State.RETRYING), mailed_again
    yield (None, State.SCHEDULED), scheduled
    yield (None, State.SUPPRESSED), too_late
    yield (None, State.CANCELLED), armed_while_off
    yield (None, State.SUPERSEDED), moved_twice_in_flight
    for before in NOT_SENT:
        for after, act in AGAIN.items():
            if (before, after) not in NEVER:
                yield (before, after), lambda before=before, act=act: done_again(before, act)  # type: ignore[misc]  # bound at once


STORIES = dict(stories())


def pairs_of(world: Topology) -> set[Pair]:
    return Lives(world.log).pairs


@pytest.mark.parametrize("pair", STORIES, ids=lambda pair: f"{pair[0] or 'new'}-{pair[1]}")
def test_the_arrow_is_gone(pair: Pair) -> None:
    assert pair in pairs_of(STORIES[pair]())


def test_every_arrow_has_its_story_or_a_reason_why_not() -> None:
    drawn = {(before, after) for before, targets in NEXT.items() for after in targets}
    assert STORIES.keys() | NEVER.keys() == drawn
    assert not STORIES.keys() & NEVER.keys()


def test_a_record_that_the_table_does_not_know_is_noticed() -> None:
    world = answered(Accepted("test", "SM1"))
    (last,) = [record for record in world.log if record.state == State.SENT]
    twice = msgspec.structs.replace(last, transition=last.transition + 1)
    with pytest.raises(AssertionError, match="from sent to sent by 'accepted'"):
        world._tell([twice])
    with pytest.raises(AssertionError, match="by 'armed'"):
        world._tell([msgspec.structs.replace(last, delivery_id="0" * 32, reason="armed")])
