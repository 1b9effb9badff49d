"""E-mails of a rule with a connected mailbox, by whichever way they leave."""

from __future__ import annotations

import msgspec

from schemas.records import Channel, EntityKind, Mailbox, Trigger
from streams.domain.messages import Accepted, EmailMessage, Message, NotFound, Unknown, service_address_note
from tests.support.shop import DAY, C, change, facts, notification
from tests.support.topology import Topology, opened

BOX = Mailbox(id="box", company=C, address="ann@gmail.example", secret_ref="env:BOX", version=1)
RULE = notification(Trigger.CREATED, channel=Channel.EMAIL, mailbox_id="box")
REVOKED = service_address_note("box", "its access was revoked")
FALLEN_BACK = Accepted("smtp", "<x>", sender="shop@acme.example", note=REVOKED)


def world_with(*answers: Accepted | Unknown) -> Topology:
    world = opened("2026-04-07 10:00", BOX, RULE)
    left = list(answers)
    world.provider = lambda _: left.pop(0)
    world.change(EntityKind.ORDER, change(1, facts(), world.now))
    return world


def messages(world: Topology) -> list[EmailMessage]:
    return [sent.message for sent in world.sent if isinstance(sent.message, EmailMessage)]


def test_the_log_says_which_address_was_used() -> None:
    world = world_with(FALLEN_BACK)
    sending, sent = world.log[-2:]
    assert (sending.state, sending.sender, sending.note) == ("sending", "ann@gmail.example", "")
    assert (sent.state, sent.sender, sent.note) == ("sent", "shop@acme.example", REVOKED)
    world = world_with(Accepted("gmail", "<x>"))
    assert (world.log[-1].sender, world.log[-1].note) == ("ann@gmail.example", "")


def test_what_the_mailbox_may_have_taken_goes_once_more_with_the_same_message_id_at_most() -> None:
    """Also when the mailbox is lost meanwhile, and the service's address steps in."""
    world = world_with(Unknown("gmail", "no_answer"), Unknown("smtp", "no_answer"))
    world.reference(msgspec.structs.replace(BOX, connected=False, version=2))
    world.after(DAY)
    first, second = messages(world)
    assert (first.mailbox, second.mailbox) == (BOX, None)
    assert first.message_id == second.message_id
    assert world.finals == [("unknown_closed", "not_resent")]
    [resent] = [record for record in world.log if record.state == "sending" and record.attempt == 2]
    assert resent.sender == "shop@acme.example"
    assert resent.note == service_address_note("box", "it is not connected")


def test_what_the_mailbox_is_found_to_have_taken_does_not_go_again() -> None:
    world = world_with(Unknown("gmail", "no_answer"))
    asked: list[Message] = []

    def inquiry(message: Message) -> Accepted:
        asked.append(message)
        return Accepted("gmail", "<x>", sender="ann@gmail.example")

    world.inquiry = inquiry
    world.after(DAY)
    assert [message.sender for message in asked] == ["ann@gmail.example"]
    assert len(world.sent) == 1
    assert (world.finals, world.log[-1].sender) == ([("sent", "found")], "ann@gmail.example")


def test_what_is_not_found_in_the_mailbox_goes_once_more() -> None:
    world = world_with(Unknown("gmail", "no_answer"), FALLEN_BACK)
    world.inquiry = lambda _: NotFound("gmail")
    world.after(DAY)
    assert len({message.message_id for message in messages(world)}) == 1
    assert (len(world.sent), world.finals) == (2, [("sent", "accepted")])
