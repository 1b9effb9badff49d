"""A message goes out only to who agreed, at the moment of sending; and none after a cancel (P3)."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from schemas.records import Channel, Customer, EntityKind, Operation, Rule, Suppression, Trigger
from tests.support.shop import DAY, HOUR, C, ann, at, change, facts, notification, reminder, shop, visit
from tests.support.topology import Topology, opened

ORDER, APPOINTMENT = EntityKind.ORDER, EntityKind.APPOINTMENT
TUESDAY = "2026-04-07 10:00"
WHEN = at("2026-04-20 12:00")
BY_MAIL = notification(Trigger.CREATED, channel=Channel.EMAIL)
BY_SMS = notification(Trigger.CREATED)


def suppressed(
    channel: Channel = Channel.SMS, address: str = "+48501111222", company: str = C
) -> Suppression:
    return Suppression(
        company=company, channel=channel, address=address, reason="opted_out", since=0, version=1
    )


def told(rule: Rule, customer: Customer, *more: Suppression) -> list[tuple[str, str]]:
    world = Topology(at(TUESDAY))
    world.reference(*shop(), rule, *more)
    world.customer(customer)
    world.change(ORDER, change(1, facts(), world.now))
    assert len(world.sent) == world.finals.count(("sent", "accepted"))
    return world.finals


@pytest.mark.parametrize(
    ("rule", "customer", "reason"),
    [
        (BY_SMS, ann(sms_consent=False), "no_consent"),
        (BY_MAIL, ann(email_consent=False), "no_consent"),
        (BY_SMS, ann(phone=""), "no_address"),
        (BY_MAIL, ann(email=""), "no_address"),
        (BY_SMS, ann(phone="call me"), "bad_address"),
        (BY_MAIL, ann(email="ann at home"), "bad_address"),
        (BY_SMS, Customer(company=C, customer_id="ann", phone="+48501111222", version=1), "no_consent"),
    ],
)
def test_without_consent_or_address_nothing_goes(rule: Rule, customer: Customer, reason: str) -> None:
    assert told(rule, customer) == [("suppressed", reason)]


def test_consent_is_by_channel() -> None:
    assert told(BY_SMS, ann(email_consent=False, email="")) == [("sent", "accepted")]
    assert told(BY_MAIL, ann(sms_consent=False, phone="")) == [("sent", "accepted")]


@pytest.mark.parametrize(
    ("suppression", "final"),
    [
        (suppressed(), ("suppressed", "suppressed_address")),
        (suppressed(address="+48501111223"), ("sent", "accepted")),
        (suppressed(Channel.EMAIL, "ann@mail.example"), ("sent", "accepted")),
        (suppressed(company="other"), ("sent", "accepted")),
    ],
)
def test_a_suppression_is_one_company_s_channel_s_and_address_s(
    suppression: Suppression, final: tuple[str, str]
) -> None:
    assert told(BY_SMS, ann(), suppression) == [final]


def test_the_address_is_compared_in_its_normal_form() -> None:
    mail = suppressed(Channel.EMAIL, "ann@mail.example")
    assert told(BY_MAIL, ann(email=" Ann@Mail.Example"), mail) == [("suppressed", "suppressed_address")]
    assert told(BY_SMS, ann(phone="+48 501 111 222"), suppressed()) == [("suppressed", "suppressed_address")]


def test_consent_counts_at_the_moment_of_sending() -> None:
    world = opened(TUESDAY, reminder(24), reminder(12, id_="later"))
    world.customer(ann(sms_consent=False, version=2))
    world.change(APPOINTMENT, change(1, visit(scheduled=WHEN), world.now))
    world.until(WHEN - 13 * HOUR)
    world.customer(ann(version=3))
    world.until(WHEN)
    assert world.finals == [("suppressed", "no_consent"), ("sent", "accepted")]


def test_an_older_consent_never_overwrites_a_newer_one() -> None:
    world = opened(TUESDAY, BY_SMS)
    world.customer(ann(sms_consent=False, version=3))
    world.customer(ann(version=2))
    world.change(ORDER, change(1, facts(), world.now))
    assert world.finals == [("suppressed", "no_consent")]


# --- a customer of whom nothing is known yet -------------------------------------------------------------


def test_a_message_goes_as_soon_as_its_customer_is_known() -> None:
    world = Topology(at(TUESDAY))
    world.reference(*shop(), BY_SMS)
    world.change(ORDER, change(1, facts(), world.now), change(1, facts(), world.now, entity_id="2"))
    world.after(1_000)
    assert (world.sent, world.pending) == ([], 2)
    world.change(ORDER, change(2, None, world.now, operation=Operation.DELETE, before=facts(), entity_id="2"))
    world.customer(ann())
    assert [sent.at for sent in world.sent] == [at(TUESDAY) + 1_000]
    assert world.finals == [("cancelled", "entity_deleted"), ("sent", "accepted")]
    assert not any(stage._strangers for stage in world.senders)


@pytest.mark.parametrize(
    ("after", "final"),
    [(59_999, ("sent", "accepted")), (60_000, ("suppressed", "no_customer_record"))],
)
def test_an_unknown_customer_is_waited_for_up_to_60_seconds(after: int, final: tuple[str, str]) -> None:
    world = Topology(at(TUESDAY))
    world.reference(*shop(), BY_SMS)
    begun = world.now
    world.change(ORDER, change(1, facts(), begun))
    world.until(begun + after)
    assert world.finals == ([] if after < 60_000 else [final])
    world.customer(ann())
    world.until(begun + DAY)
    assert world.finals == [final]


def test_a_no_is_not_waited_for() -> None:
    assert told(BY_SMS, ann(sms_consent=False)) == [("suppressed", "no_consent")]


# --- between the intent and the provider call ------------------------------------------------------------


def withdraws(world: Topology) -> None:
    world.customer(ann(sms_consent=False, version=2))


def suppresses(world: Topology) -> None:
    world.reference(suppressed())


def cancels(world: Topology) -> None:
    world.change(APPOINTMENT, change(2, visit("gone", WHEN), world.now))


def deletes(world: Topology) -> None:
    world.change(APPOINTMENT, change(2, None, world.now, operation=Operation.DELETE))


def removes_the_time(world: Topology) -> None:
    world.change(APPOINTMENT, change(2, visit(), world.now))


def moves(world: Topology) -> None:
    world.change(APPOINTMENT, change(2, visit(scheduled=WHEN + 3 * DAY), world.now))


def gives_to_bob(world: Topology) -> None:
    world.change(APPOINTMENT, change(2, visit(scheduled=WHEN, customer="bob"), world.now))


def disables(world: Topology) -> None:
    world.reference(reminder(24, enabled=False, version=2, changed_at=world.now))


def deletes_the_rule(world: Topology) -> None:
    world.remove(Rule, C, "rem")


@pytest.mark.parametrize(
    ("act", "final"),
    [
        (withdraws, ("suppressed", "no_consent")),
        (suppresses, ("suppressed", "suppressed_address")),
        (cancels, ("cancelled", "entity_cancelled")),
        (deletes, ("cancelled", "entity_deleted")),
        (removes_the_time, ("cancelled", "time_removed")),
        (moves, ("superseded", "moved")),
        (gives_to_bob, ("cancelled", "customer_changed")),
        (disables, ("cancelled", "rule_disabled")),
        (deletes_the_rule, ("cancelled", "rule_deleted")),
    ],
)
def test_what_comes_before_the_final_check_stops_the_message(
    act: Callable[[Topology], None], final: tuple[str, str]
) -> None:
    world = opened(TUESDAY, reminder(24))
    world.change(APPOINTMENT, change(1, visit(scheduled=WHEN), world.now))
    world.before_call = lambda: act(world)
    world.until(WHEN - DAY)
    assert world.sent == []
    assert world.finals[0] == final
    states = [record.state for record in world.log if record.customer_id == "ann"][:3]
    assert states[:2] == ["scheduled", "sending"]


def test_what_changes_nothing_about_the_message_does_not_stop_it() -> None:
    world = opened(TUESDAY, reminder(24))
    world.change(APPOINTMENT, change(1, visit(scheduled=WHEN), world.now))

    def act() -> None:
        world.customer(ann(name="Ann Jones", version=2))
        world.change(APPOINTMENT, change(2, visit("ready", WHEN), world.now))
        other = msgspec.structs.replace(change(1, visit("gone", WHEN), world.now), entity_id="2")
        world.change(APPOINTMENT, other)

    world.before_call = act
    world.until(WHEN - DAY)
    assert world.finals == [("sent", "accepted")]


def test_a_message_withdrawn_at_the_last_moment_may_go_when_it_is_armed_again() -> None:
    """Cancelled in the last moment, opened again at once: only what was sent is never sent again."""
    world = opened(TUESDAY, reminder(24, max_lateness=HOUR))
    world.change(APPOINTMENT, change(1, visit(scheduled=WHEN), world.now))
    world.before_call = lambda: cancels(world)
    world.until(WHEN - DAY)
    world.change(APPOINTMENT, change(3, visit("new", WHEN), world.now))
    assert world.finals == [("cancelled", "entity_cancelled"), ("sent", "accepted")]
