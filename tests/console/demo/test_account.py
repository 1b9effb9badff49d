"""The count finds what it is there to find."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from console.demo.account import Account, Book, check, settle
from console.demo.ledgers import Ledgers, Message
from console.demo.scenario import Expected, Owed
from schemas.records import Channel, Delivery, DeliveryState, EntityKind
from tests.console.demo.support import delivery

SENT, SCHEDULED = DeliveryState.SENT, DeliveryState.SCHEDULED
MESSAGE = Message(Channel.SMS, "SM1", "+48500000001", "", "See you at 14:00")
OWED = Owed(EntityKind.APPOINTMENT, "a-1", "appointment-in-24-hours", 0)


def count(
    deliveries: list[Delivery], messages: list[Message], *, owed: list[Owed] | None = None, pending: int = 0
) -> Account:
    book = Book()
    book.add(deliveries)
    return settle(book, messages, owed or [], pending, {"appointment-in-24-hours": "sms"})


def test_sent_once_is_neither_lost_nor_twice() -> None:
    account = count([delivery(SCHEDULED), delivery(SENT, 1, provider_id="SM1")], [MESSAGE], owed=[OWED])
    assert (account.lost, account.twice, account.pending) == ((), (), 0)
    assert account.by_outcome == {("sms", "sent", ""): 1}


def test_what_is_owed_and_not_in_the_log_is_lost() -> None:
    assert count([], [], owed=[OWED]).lost == (
        "appointment a-1, rule appointment-in-24-hours: nothing in the delivery log",
    )


def test_sent_without_the_provider_knowing_is_lost() -> None:
    assert len(count([delivery(SENT, provider_id="SM9")], [MESSAGE]).lost) == 1


def test_without_an_end_and_without_a_keeper_is_lost() -> None:
    assert len(count([delivery(SCHEDULED)], [], pending=0).lost) == 1
    assert count([delivery(SCHEDULED)], [], pending=1).lost == ()


def test_the_same_words_to_the_same_address_are_twice() -> None:
    again = Message(Channel.SMS, "SM2", MESSAGE.to, "", MESSAGE.text)
    assert len(count([delivery(SENT, provider_id="SM1")], [MESSAGE, again]).twice) == 1


def test_an_email_repeated_under_its_message_id_is_shown_apart() -> None:
    mail = Message(Channel.EMAIL, "<d1@x>", "a@example.com", "Hello", "Text")
    account = count([delivery(SENT, provider_id="<d1@x>")], [mail, mail])
    assert (account.twice, account.repeated, account.accepted) == ((), 1, 1)


def test_two_rules_may_say_the_same() -> None:
    again = Message(Channel.SMS, "SM2", MESSAGE.to, "", MESSAGE.text)
    other = delivery(SENT, provider_id="SM2", delivery_id="d2", rule_id="second-reminder")
    assert count([delivery(SENT, provider_id="SM1"), other], [MESSAGE, again]).twice == ()


def test_a_delivery_that_is_sent_twice_is_twice() -> None:
    again = Message(Channel.SMS, "SM2", MESSAGE.to, "", "See you at 15:00")
    ends = [delivery(SENT, 1, provider_id="SM1"), delivery(SENT, 2, provider_id="SM2")]
    assert count(ends, [MESSAGE, again]).twice == ("delivery d1 was sent 2 times",)


def test_what_was_not_sent_may_be_armed_again() -> None:
    ends = [delivery(DeliveryState.SUPPRESSED, 1), delivery(DeliveryState.SUPPRESSED, 3, reason="too_late")]
    assert count(ends, []).twice == ()


def test_what_ended_before_it_had_a_channel_is_counted_under_its_rules() -> None:
    account = count([delivery(DeliveryState.SUPPRESSED, channel="", reason="no_consent")], [])
    assert account.by_outcome == {("sms", "suppressed", "no_consent"): 1}


def test_receipts_are_notes_on_the_end() -> None:
    account = count([delivery(SENT, 1, provider_id="SM1"), delivery(DeliveryState.DELIVERED, 2)], [MESSAGE])
    assert account.by_outcome == {("sms", "sent", ""): 1}


@pytest.mark.parametrize(
    ("changed", "happened"),
    [
        ({}, True),
        ({"at": 5}, False),
        ({"reason": "too_late"}, False),
        ({"contains": ("15:00",)}, False),
        ({"state": DeliveryState.HELD}, False),
        ({"never": True}, False),
        ({"never": True, "at": 5}, True),
        ({"rule_id": "other"}, False),
        ({"by": 9}, False),
    ],
)
def test_the_checklist(changed: dict[str, object], happened: bool) -> None:
    given: dict[str, object] = {
        "scene": "s",
        "text": "t",
        "kind": EntityKind.APPOINTMENT,
        "entity_id": "a-1",
        "rule_id": "appointment-in-24-hours",
        "state": SENT,
        "by": 10,
        "at": 10,
        "contains": ("14:00",),
    }
    book = Book()
    book.add([delivery(SENT, at=10, provider_id="SM1")])
    expected = Expected(**{**given, **changed})  # type: ignore[arg-type] # of a table
    assert check([expected], book, [MESSAGE])[0].happened is happened


def test_ledgers_are_read_as_they_grow_and_by_whole_lines(tmp_path: Path) -> None:
    ledgers = Ledgers([tmp_path / "sms"], [tmp_path / "mail"])
    assert ledgers.read() == 0
    (tmp_path / "sms").mkdir()
    line = json.dumps({"sid": "SM1", "to": "+1", "body": "hi"})
    (tmp_path / "sms" / "sms.jsonl").write_text(line + "\n" + line[:9])
    assert ledgers.read() == 1
    (tmp_path / "mail").mkdir()
    source = (
        "Message-ID: <d1@x>\r\nSubject: =?utf-8?q?Dzie=C5=84?=\r\nContent-Type: text/plain\r\n\r\nHello\r\n"
    )
    (tmp_path / "mail" / "mail.jsonl").write_text(json.dumps({"to": ["a@b.c"], "data": source}) + "\n")
    assert ledgers.read() == 2
    assert ledgers.by_id["<d1@x>"] == Message(Channel.EMAIL, "<d1@x>", "a@b.c", "Dzień", "Hello")
