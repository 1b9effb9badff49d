"""What the mail servers of the demo send is what mail servers send."""

from __future__ import annotations

from pathlib import Path

from console.demo.command import NUMBER, SHOP, shop_records
from console.demo.ledgers import Message
from console.demo.outside import bounce_of
from console.demo.providers import SCENE
from console.demo.story import write
from schemas.records import Channel, Company, EventStatus, Mailbox
from senders.dsn import read_bounce
from tests.console.demo.support import A_SHOP


def test_a_report_is_read_as_one() -> None:
    head = (
        "Message-ID: <d1@carillon.example>\nFrom: hello@shop.example\nList-Unsubscribe: <https://x.example/1>"
    )
    bounce = read_bounce(bounce_of(head, "ann@mail.example", 1_775_000_000_000))
    assert bounce is not None
    assert (bounce.verdict, bounce.code, bounce.recipient) == (EventStatus.HARD, "5.1.1", "ann@mail.example")
    assert bounce.message_id == "<d1@carillon.example>"
    assert "https://x.example/1" in bounce.returned


def test_only_the_scene_of_the_providers_needs_an_outside() -> None:
    assert not write(A_SHOP, 1, crowd=5).outside
    assert write(A_SHOP, 1, scenes=(SCENE,), crowd=5).outside
    assert write(A_SHOP, 1, scenes=(SCENE, "held"), crowd=5).outside


def test_an_outside_has_a_mailbox_and_a_number_that_can_be_answered() -> None:
    for outside in (False, True):
        records = shop_records(SHOP, outside=outside)
        (company,) = [record for record in records if isinstance(record, Company)]
        mailboxes = [record for record in records if isinstance(record, Mailbox)]
        assert (company.sms_sender == NUMBER) is outside
        assert [mailbox.connected for mailbox in mailboxes] == [outside] * len(mailboxes)


def test_the_header_of_an_email_is_kept_and_tells_none_apart(tmp_path: Path) -> None:
    given = (Channel.EMAIL, "<d1@x>", "a@b.c", "Hello", "Text")
    assert Message(*given, "List-Unsubscribe: <x>") == Message(*given)
    assert "List-Unsubscribe" not in repr(Message(*given, "List-Unsubscribe: <x>"))
