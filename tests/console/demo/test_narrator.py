"""Lines are made of the delivery log and the providers' lists, in one order."""

from __future__ import annotations

from typing import Any

from console.demo.account import slot_of
from console.demo.cast import WARSAW, Person, at
from console.demo.ledgers import Message
from console.demo.narrator import Line, Narrator, moment
from schemas.records import Channel, Customer, DeliveryState
from tests.console.demo.support import A_SHOP, delivery

WHEN = at(WARSAW, "2026-04-07 14:00")
ZOFIA = Person(Customer(company="spoke-and-wheel", customer_id="c-0001", name="Zofia Lis", version=1), WARSAW)
SMS = Message(Channel.SMS, "SM1", "+48500000001", "", "Do zobaczenia\n o 14:00")


def narrator() -> Narrator:
    return Narrator(A_SHOP, [ZOFIA], [slot_of(delivery(DeliveryState.SENT))])


def told(state: DeliveryState, **fields: Any) -> str:
    lines = narrator().tell([delivery(state, at=WHEN, **fields)], {"SM1": SMS})
    return "\n".join(map(str, lines))


def test_what_was_sent_is_told_with_the_text_that_the_provider_has() -> None:
    assert told(DeliveryState.SENT, provider_id="SM1") == (
        'Tue  7 Apr 14:00  Warsaw    > SMS to Zofia Lis: "Do zobaczenia o 14:00"  [Reminder by SMS]'
    )


def test_a_message_that_the_provider_does_not_have_is_not_made_up() -> None:
    assert "(the provider has no such message)" in told(DeliveryState.SENT, provider_id="SM2")


def test_what_is_not_sent_is_told_with_the_reason() -> None:
    assert told(DeliveryState.SUPPRESSED, reason="no_consent").endswith(
        "x Zofia Lis gets no SMS  [Reminder by SMS] The customer has not agreed to this channel."
    )


def test_held_until() -> None:
    line = told(DeliveryState.HELD, reason="closed_hours", next_at=at(WARSAW, "2026-04-08 09:00"))
    assert "~ SMS to Zofia Lis waits until Wed 8 Apr 09:00" in line
    assert line.endswith("Held until the location opens.")


def test_a_reminder_that_moves_says_from_and_to() -> None:
    one = narrator()
    first = delivery(DeliveryState.SCHEDULED, at=WHEN, due_at=at(WARSAW, "2026-04-06 13:00"))
    second = delivery(
        DeliveryState.SCHEDULED, at=WHEN, due_at=at(WARSAW, "2026-04-07 14:00"), delivery_id="d2"
    )
    lines = [line.text for line in one.tell([first], {}) + one.tell([second], {})]
    assert lines == [
        "a reminder for Zofia Lis waits for Mon 6 Apr 13:00  [Reminder by SMS]",
        "the reminder for Zofia Lis moves from Mon 6 Apr 13:00 to Tue 7 Apr 14:00  [Reminder by SMS]",
    ]


def test_the_crowd_and_steps_in_between_are_not_told() -> None:
    assert narrator().tell([delivery(DeliveryState.SENT, entity_id="a-2")], {}) == []
    assert told(DeliveryState.SENDING) == ""
    assert told(DeliveryState.DELIVERED) == ""


def test_the_order_does_not_depend_on_which_was_first() -> None:
    one = delivery(DeliveryState.SUPPRESSED, at=WHEN, reason="no_consent")
    other = delivery(DeliveryState.SENT, at=WHEN, entity_id="a-2", provider_id="SM1")
    slots = [slot_of(one), slot_of(other)]
    forth = Narrator(A_SHOP, [ZOFIA], slots).tell([one, other], {"SM1": SMS})
    back = Narrator(A_SHOP, [ZOFIA], slots).tell([other, one], {"SM1": SMS})
    assert forth == back


def test_moments_are_those_of_the_place() -> None:
    assert moment(WHEN, WARSAW) == "Tue  7 Apr 14:00"
    assert moment(WHEN, "America/New_York") == "Tue  7 Apr 08:00"
    assert str(Line(WHEN, "America/New_York", "·", "x")) == "Tue  7 Apr 08:00  New York  · x"
