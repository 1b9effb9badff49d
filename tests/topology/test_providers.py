"""What providers answer, and what they leave unsaid."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import msgspec
import pytest

from schemas.records import (
    FINAL_STATES,
    Channel,
    EntityKind,
    Operation,
    Rule,
    Template,
    TemplateText,
    Trigger,
)
from streams.domain.backoff import LONGEST
from streams.domain.messages import (
    Accepted,
    EmailMessage,
    Inquiry,
    Message,
    NotFound,
    Outcome,
    Rejected,
    RetryAt,
    SmsMessage,
    Unknown,
)
from streams.stages.firing import ASK_AFTER
from tests.support.shop import (
    DAY,
    HOUR,
    MINUTE,
    C,
    ann,
    at,
    change,
    facts,
    notification,
    reminder,
    shop,
    visit,
)
from tests.support.topology import CrashPoint, Topology, accepting, opened

ORDER, APPOINTMENT = EntityKind.ORDER, EntityKind.APPOINTMENT
TUESDAY = "2026-04-07 10:00"
NOW = at(TUESDAY)
WHEN = at("2026-04-20 12:00")
BY_SMS, BY_MAIL = (notification(Trigger.CREATED, channel=channel) for channel in Channel)
SILENT = Unknown("test", "no_answer")


def answering(*answers: Outcome | Callable[[Message], Outcome]) -> Callable[[Message], Outcome]:
    """Each answer once, then accepts."""
    left = list(answers)

    def provider(message: Message) -> Outcome:
        answer = left.pop(0) if left else accepting
        return answer(message) if callable(answer) else answer

    return provider


def asked(*answers: Inquiry) -> tuple[Callable[[Message], Inquiry], list[str]]:
    left, questions = list(answers), []

    def inquiry(message: Message) -> Inquiry:
        questions.append(message.delivery_id)
        return left.pop(0) if left else NotFound("test")

    return inquiry, questions


def ordered(rule: Rule, *answers: Outcome | Callable[[Message], Outcome]) -> Topology:
    world = opened(TUESDAY, rule)
    world.provider = answering(*answers)
    world.change(ORDER, change(1, facts(), world.now))
    return world


def sent_at(world: Topology) -> list[int]:
    return [sent.at - NOW for sent in world.sent]


# --- known not to have been accepted ------------------------------------------------------------------


def test_retry_when_the_provider_wishes() -> None:
    world = ordered(BY_SMS, RetryAt("test", "throttled", after=10 * MINUTE))
    assert world.states("r")[-1] == ("retrying", "throttled")
    world.after(DAY)
    assert sent_at(world) == [0, 10 * MINUTE]
    assert [record.attempt for record in world.log if record.state == "sent"] == [2]


def test_what_another_account_may_take_is_tried_again_at_once() -> None:
    world = ordered(BY_SMS, RetryAt("test", "throttled", after=10 * MINUTE, elsewhere=True))
    world.after(MINUTE)
    assert sent_at(world) == [0, 0]
    assert world.finals == [("sent", "accepted")]


def test_without_a_wish_the_tries_grow_apart_and_end() -> None:
    world = opened(TUESDAY, msgspec.structs.replace(BY_SMS, max_lateness=3 * HOUR))
    world.provider = lambda _: RetryAt("test", "unreachable")
    world.change(ORDER, change(1, facts(), world.now))
    world.after(DAY)
    tries = sent_at(world)
    gaps = [later - earlier for earlier, later in pairwise(tries)]
    assert 2_500 <= gaps[0] <= 5_000
    assert gaps[:7] == sorted(gaps[:7])
    assert max(gaps) <= LONGEST
    assert tries[-1] < 3 * HOUR <= tries[-1] + LONGEST
    assert world.finals == [("failed", "gave_up")]


def test_a_reminder_is_given_up_at_its_scheduled_time() -> None:
    world = opened(TUESDAY, reminder(1))
    world.provider = lambda _: RetryAt("test", "unreachable")
    world.change(APPOINTMENT, change(1, visit(scheduled=WHEN), world.now))
    world.until(WHEN + DAY)
    assert world.finals == [("failed", "gave_up")]
    assert max(sent.at for sent in world.sent) < WHEN


WAITS = RetryAt("test", "throttled", "its daily limit is used up", after=2 * DAY, called=False)


def test_what_waited_for_its_turn_too_long_was_refused_by_nobody() -> None:
    world = ordered(BY_SMS, WAITS)
    assert world.finals == [("expired", "lateness")]
    assert world.log[-1].note == "its daily limit is used up"
    refused = ordered(BY_SMS, RetryAt("test", "throttled", after=2 * DAY))
    assert refused.finals == [("failed", "gave_up")]


@pytest.mark.parametrize(
    ("waits", "final"),
    [
        (DAY - 1, ("sent", "accepted")),
        (DAY, ("expired", "after_scheduled")),
        (HOUR, ("expired", "lateness")),
    ],
)
def test_a_reminder_s_time_may_pass_between_intent_and_call(waits: int, final: tuple[str, str]) -> None:
    """Its worker stood still, or could not say whether the partition was still its own."""
    rule = reminder(24, max_lateness=HOUR - 1 if waits == HOUR else None)
    world = opened(TUESDAY, rule)
    world.change(APPOINTMENT, change(1, visit(scheduled=WHEN), world.now))

    def stands_still() -> None:
        world.now += waits

    world.before_call = stands_still
    world.until(WHEN - DAY)
    assert world.finals == [final]
    assert len(world.sent) == (final[0] == "sent")


def test_a_notification_s_time_may_pass_between_intent_and_call() -> None:
    for waits, final in ((DAY, ("sent", "accepted")), (DAY + 1, ("expired", "lateness"))):
        world = opened(TUESDAY, BY_SMS)

        def stands_still(world: Topology = world, waits: int = waits) -> None:
            world.now += waits

        world.before_call = stands_still
        world.change(ORDER, change(1, facts(), world.now))
        assert world.finals == [final]


def test_consent_is_looked_at_again_before_each_try() -> None:
    world = ordered(BY_SMS, RetryAt("test", "throttled", after=MINUTE))
    world.customer(ann(sms_consent=False, version=2))
    world.after(DAY)
    assert (len(world.sent), world.finals) == (1, [("suppressed", "no_consent")])


# --- refused for good -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suppress", "second"), [(True, ("suppressed", "suppressed_address")), (False, ("sent", "accepted"))]
)
def test_rejected(suppress: bool, second: tuple[str, str]) -> None:
    world = ordered(BY_SMS, Rejected("test", "opted_out", suppress=suppress))
    assert world.finals == [("failed", "opted_out")]
    world.change(ORDER, change(1, facts(), world.now, entity_id="2"))
    world.after(DAY)
    assert world.finals[1:] == [second]


# --- nobody knows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("question", [1, 2, 3])
def test_an_sms_of_which_nobody_knew_is_found(question: int) -> None:
    world = ordered(BY_SMS, SILENT)
    answers: list[Inquiry] = [NotFound("test")] * (question - 1)
    world.inquiry, questions = asked(*answers, Accepted("test", "SM1", segments=1, price="0.05"))
    world.after(DAY)
    assert (len(world.sent), len(questions)) == (1, question)
    assert world.finals == [("sent", "found")]
    assert world.log[-1].provider_id == "SM1"
    assert world.log[-1].at == NOW + sum(ASK_AFTER[:question])


@pytest.mark.parametrize("answer", [NotFound("test"), Unknown("test", "unreachable")])
def test_an_sms_that_is_not_found_is_not_sent_again(answer: Inquiry) -> None:
    world = ordered(BY_SMS, SILENT)
    world.inquiry, questions = asked(*[answer] * 3)
    world.after(DAY)
    assert (len(world.sent), len(questions)) == (1, 3)
    assert world.finals == [("unknown_closed", "not_resent")]


def test_the_same_text_sent_later_is_another_message() -> None:
    """Asked three times over twelve minutes, and each time about the moment when it can have been taken."""
    said = Template(
        id=BY_SMS.template_id, company=C, texts={"en": TemplateText(sms="It is ready")}, version=2
    )
    world = opened(TUESDAY, BY_SMS, said)
    taken: list[tuple[int, str]] = []

    def provider(message: Message) -> Outcome:
        assert isinstance(message, SmsMessage)
        if len(world.sent) == 1:
            return SILENT  # lost on the way
        taken.append((world.now, message.text))
        return Accepted("test", f"SM{len(taken)}")

    def inquiry(message: Message) -> Inquiry:
        assert isinstance(message, SmsMessage)
        order = world.asked[-1]
        fits = [at_ for at_, text in taken if text == message.text and order.since <= at_ <= order.until]
        return Accepted("test", "SM1") if fits else NotFound("test")

    world.provider, world.inquiry = provider, inquiry
    world.change(ORDER, change(1, facts(), world.now))
    world.after(2 * MINUTE)
    world.change(ORDER, change(1, facts(), world.now, entity_id="2"))
    world.after(DAY)
    assert len({sent.text for sent in world.sent}) == 1, "the decoy says the same"
    assert len(world.asked) == len(ASK_AFTER)
    assert sorted(world.finals) == [("sent", "accepted"), ("unknown_closed", "not_resent")]


def test_an_email_is_sent_again_once_with_the_same_message_id() -> None:
    world = ordered(BY_MAIL, SILENT, SILENT)
    world.after(DAY)
    assert world.states("r")[2:] == [
        ("unknown", "no_answer"),
        ("retrying", "resent"),
        ("sending", ""),
        ("unknown", "no_answer"),
        ("unknown_closed", "not_resent"),
    ]
    ids = [sent.message.message_id for sent in world.sent if isinstance(sent.message, EmailMessage)]
    assert len(ids) == 2
    assert len(set(ids)) == 1


def test_an_email_sent_again_may_be_accepted() -> None:
    world = ordered(BY_MAIL, SILENT)
    world.after(DAY)
    assert (len(world.sent), world.finals) == (2, [("sent", "accepted")])


def reminded(channel: Channel, *answers: Outcome | Callable[[Message], Outcome]) -> Topology:
    """A day before: the provider has answered."""
    world = opened(TUESDAY, reminder(24, channel=channel, template_id="t"))
    world.provider = answering(*answers)
    world.change(APPOINTMENT, change(1, visit(scheduled=WHEN), world.now))
    world.until(WHEN - DAY)
    return world


@pytest.mark.parametrize("channel", Channel)
def test_cancelled_while_nobody_knows_it_is_not_sent_again(channel: Channel) -> None:
    world = reminded(channel, SILENT)
    world.change(APPOINTMENT, change(2, visit("gone", WHEN), world.now))
    world.until(WHEN)
    assert len(world.sent) == 1
    assert world.finals == [("unknown_closed", "entity_cancelled")]


def test_moved_while_nobody_knows_only_the_new_time_goes() -> None:
    world = reminded(Channel.EMAIL, SILENT)
    world.change(APPOINTMENT, change(2, visit(scheduled=WHEN + DAY), world.now))
    world.until(WHEN + DAY)
    assert [sent.at for sent in world.sent] == [WHEN - DAY, WHEN]
    assert world.finals == [("unknown_closed", "not_resent"), ("sent", "accepted")]


def test_an_email_that_may_be_out_and_was_withdrawn_never_goes_again() -> None:
    """Unknown, to be sent again, consent withdrawn: an edit of the rule must not make a new one of it."""
    rule = reminder(24, channel=Channel.EMAIL, template_id="t")
    world = reminded(Channel.EMAIL, SILENT)
    world.customer(ann(email_consent=False, version=2))
    world.after(HOUR)
    assert world.finals == [("suppressed", "no_consent")]
    world.customer(ann(version=3))
    world.reference(msgspec.structs.replace(rule, offset=12, version=2, changed_at=world.now))
    world.until(WHEN)
    assert len(world.sent) == 1


# --- while the provider has it --------------------------------------------------------------------------


def during(act: Callable[[Topology], None], answer: Outcome) -> Topology:
    """``act`` happens while the provider thinks."""
    world = opened(TUESDAY, reminder(24))
    world.change(APPOINTMENT, change(1, visit(scheduled=WHEN), world.now))

    def provider(_: Message) -> Outcome:
        act(world)
        return answer

    world.provider = answering(provider)
    world.until(WHEN - DAY)
    return world


def cancel(world: Topology) -> None:
    world.change(APPOINTMENT, change(2, visit("gone", WHEN), world.now))


def move(world: Topology) -> None:
    world.change(APPOINTMENT, change(2, visit(scheduled=WHEN + DAY), world.now))


def move_and_back(world: Topology) -> None:
    move(world)
    world.change(APPOINTMENT, change(3, visit(scheduled=WHEN), world.now))


def move_twice(world: Topology) -> None:
    move(world)
    world.change(APPOINTMENT, change(3, visit(scheduled=WHEN + 2 * DAY), world.now))


@pytest.mark.parametrize(
    ("answer", "final"),
    [
        (Accepted("test", "1"), ("sent", "accepted")),
        (RetryAt("test", "throttled"), ("cancelled", "entity_cancelled")),
        (Rejected("test", "refused"), ("failed", "refused")),
        (SILENT, ("unknown_closed", "entity_cancelled")),
    ],
)
def test_cancelled_while_in_flight(answer: Outcome, final: tuple[str, str]) -> None:
    world = during(cancel, answer)
    world.until(WHEN)
    assert (len(world.sent), world.finals) == (1, [final])


@pytest.mark.parametrize(
    ("answer", "final"),
    [
        (Accepted("test", "1"), ("sent", "accepted")),
        (RetryAt("test", "throttled", after=MINUTE), ("superseded", "moved")),
        (Rejected("test", "refused"), ("failed", "refused")),
        (SILENT, ("unknown_closed", "not_resent")),
    ],
)
def test_moved_while_in_flight_the_new_time_has_its_own(answer: Outcome, final: tuple[str, str]) -> None:
    world = during(move, answer)
    world.until(WHEN + DAY)
    assert world.finals == [final, ("sent", "accepted")]
    assert [sent.at for sent in world.sent] == [WHEN - DAY, WHEN]
    ended = next(record for record in world.log if record.state in FINAL_STATES)
    assert ended.at == WHEN - DAY or final[0] == "unknown_closed"


def test_moved_and_back_while_in_flight_it_went() -> None:
    world = during(move_and_back, Accepted("test", "1"))
    world.until(WHEN + DAY)
    assert [sent.at for sent in world.sent] == [WHEN - DAY]
    assert sorted(world.finals) == [("sent", "accepted"), ("superseded", "moved")]


def test_moved_twice_while_in_flight_every_time_has_its_end() -> None:
    world = during(move_twice, Accepted("test", "1"))
    world.until(WHEN + 2 * DAY)
    assert [sent.at for sent in world.sent] == [WHEN - DAY, WHEN + DAY]
    assert sorted(world.finals) == [("sent", "accepted")] * 2 + [("superseded", "moved")]


@pytest.mark.parametrize("late", [Rejected("test", "refused"), RetryAt("test", "throttled"), SILENT])
def test_an_answer_that_comes_after_the_end_changes_nothing(late: Outcome) -> None:
    world = ordered(BY_SMS)
    assert world.finals == [("sent", "accepted")]
    (number, (order,)) = world.looks[0]
    world.carry_out_delivery(number, world.senders[number].outcomes([(order, late)], world.now))
    world.after(DAY)
    assert (len(world.sent), world.finals) == (1, [("sent", "accepted")])


def test_an_answer_to_an_earlier_attempt_changes_nothing() -> None:
    world = ordered(BY_SMS, RetryAt("test", "throttled", after=MINUTE), SILENT)
    world.after(MINUTE)
    assert world.states("r")[-1] == ("unknown", "no_answer")
    (number, (first,)) = world.looks[0]
    world.carry_out_delivery(
        number, world.senders[number].outcomes([(first, Rejected("test", "refused"))], world.now)
    )
    assert world.states("r")[-1] == ("unknown", "no_answer")


# --- intents of a worker that died ----------------------------------------------------------------------


@pytest.mark.parametrize("point", ["intent", "call"])
@pytest.mark.parametrize("answer", [NotFound("test"), Accepted("test", "SM1")])
def test_an_inherited_sms_is_asked_about_never_sent_blindly(point: CrashPoint, answer: Inquiry) -> None:
    world = opened(TUESDAY, BY_SMS)
    world.inquiry, questions = asked(*[answer] * 3)
    assert world.crash(point, lambda: world.change(ORDER, change(1, facts(), world.now)))
    assert questions == []  # who wrote the intent may still be sending
    world.after(DAY)
    assert len(world.sent) == (1 if point == "call" else 0)
    assert questions
    found = isinstance(answer, Accepted)
    assert world.finals == [("sent", "found") if found else ("unknown_closed", "not_resent")]
    assert world.states("r")[2:3] == [("unknown", "inherited")]


@pytest.mark.parametrize("point", ["intent", "call"])
def test_an_inherited_email_goes_once_more_at_most(point: CrashPoint) -> None:
    world = opened(TUESDAY, BY_MAIL)
    assert world.crash(point, lambda: world.change(ORDER, change(1, facts(), world.now)))
    world.after(DAY)
    assert len(world.sent) == (2 if point == "call" else 1)
    assert len({sent.message.delivery_id for sent in world.sent}) == 1
    assert world.finals == [("sent", "accepted")]


def test_inherited_a_hundred_times_it_still_ends() -> None:
    world = opened(TUESDAY, BY_SMS)
    world.crash("intent", lambda: world.change(ORDER, change(1, facts(), world.now)))
    for _ in range(100):
        world.after(10_000)
        world.restart()
    world.after(DAY)
    assert (world.sent, world.finals) == ([], [("unknown_closed", "not_resent")])


def test_what_was_not_in_flight_goes_after_the_restart() -> None:
    world = opened(TUESDAY, BY_SMS)
    batch = [change(1, facts(), world.now, entity_id=f"{number}") for number in range(30)]
    world.crash("call", lambda: world.change(ORDER, *batch))
    world.after(DAY)
    ids = [sent.message.delivery_id for sent in world.sent]
    assert len(set(ids)) == len(ids)
    # Ten had their intent when the worker died; nobody saw the answer of any.
    assert world.finals.count(("unknown_closed", "not_resent")) == 10
    assert world.finals.count(("sent", "accepted")) == 20


# --- room at the provider, and fairness ---------------------------------------------------------------------


def two_companies(*customers: str) -> Topology:
    world = opened(TUESDAY, BY_SMS)
    company, *_ = shop()
    world.reference(
        *(msgspec.structs.replace(record, company="small") for record in shop()[1:]),
        msgspec.structs.replace(company, id="small"),
        msgspec.structs.replace(BY_SMS, company="small"),
    )
    for name in customers:
        world.customer(ann(customer_id=name, company="small"))
    return world


def test_a_blast_of_one_company_does_not_delay_another() -> None:
    world = two_companies("ann")
    blast = [change(1, facts(), world.now, entity_id=f"{number}") for number in range(1_000)]
    small = [
        msgspec.structs.replace(change(1, facts(), world.now, entity_id=f"s{number}"), company="small")
        for number in range(5)
    ]
    world.change(ORDER, *blast, *small)
    where = [number for number, sent in enumerate(world.sent) if sent.message.company == "small"]
    assert len(world.sent) == 1_005
    assert len(where) == 5
    assert max(where) < 40  # one after the other in turns, in each of three partitions


def test_what_is_withdrawn_with_the_same_batch_does_not_go_at_once() -> None:
    world = opened(TUESDAY, BY_SMS)
    booked = change(1, facts(), world.now)
    world.change(ORDER, booked, change(2, None, world.now, operation=Operation.DELETE, before=booked.after))
    assert (world.sent, world.finals) == ([], [("cancelled", "entity_deleted")])


def test_capacity_is_each_channel_s_own() -> None:
    world = opened(TUESDAY, msgspec.structs.replace(BY_MAIL, id="mail"), BY_SMS)
    world.change(ORDER, *(change(1, facts(), world.now, entity_id=f"{number}") for number in range(25)))
    looks = [sorted(order.channel for order in orders) for _, orders in world.looks]
    assert looks == [[Channel.EMAIL] * 10 + [Channel.SMS] * 10] * 2 + [
        [Channel.EMAIL] * 5 + [Channel.SMS] * 5
    ]
    assert world.finals == [("sent", "accepted")] * 50


def test_a_channel_without_room_does_not_stop_the_other() -> None:
    world = opened(TUESDAY, msgspec.structs.replace(BY_MAIL, id="mail"), BY_SMS)
    world.provider = lambda m: (
        RetryAt("test", "unreachable") if not isinstance(m, EmailMessage) else accepting(m)
    )
    world.change(ORDER, change(1, facts(), world.now))
    assert world.finals == [("sent", "accepted")]
    assert world.pending == 1
