"""Did the run keep the promises? From the delivery log, the providers' own books and the oracle."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from schemas.records import FINAL_STATES, Channel, DeliveryState, EntityKind, EventStatus
from streams.domain.messages import SmsMessage
from tests.simulation import doors, oracle
from tests.simulation.books import TOLD_ONCE, Log, calls, text_of, told_of
from tests.simulation.items import DEADLY, EPOCH, Fault
from tests.simulation.oracle import Name, Rules
from tests.simulation.shop import phone
from tests.simulation.world import Outcome
from tests.support.lives import Lives

_WORDS = {
    EventStatus.DELIVERED: DeliveryState.DELIVERED,
    EventStatus.UNDELIVERED: DeliveryState.BOUNCED,
    EventStatus.FAILED: DeliveryState.BOUNCED,
    EventStatus.HARD: DeliveryState.BOUNCED,
}
"""What the log makes of a report. That a message has arrived is the last word on it."""
_GONE_OUT = {DeliveryState.SENT, DeliveryState.UNKNOWN_CLOSED}


def violations(out: Outcome) -> list[str]:
    """Every broken promise in words; empty: none."""
    if out.rest_at < 0:
        return out.errors or ["the run did not come to its end"]
    log = Log(out)
    found = [*out.errors]
    for check in CHECKS:
        found += check(out, log)
    return found


# --- P1 -------------------------------------------------------------------------------------------


def one_story_for_each(out: Outcome, log: Log) -> Iterator[str]:
    """Transitions are numbered without a gap, say one thing each, and end once."""
    for conflict in log.conflicts:
        yield f"P1 the log contradicts itself: {conflict}"
    for slot, records in log.slots.items():
        if sorted(records) != list(range(1, len(records) + 1)):
            yield f"P1 transitions of {slot} are missing: {sorted(records)}"
    for id_, told in log.by_id.items():
        gone = [record for record in told if record.state in _GONE_OUT]
        if gone and gone[0] is not told[-1]:
            after = told[told.index(gone[0]) + 1]
            yield f"P1 {told_of(told[-1])} of {id_}: after {told_of(gone[0])} came {told_of(after)}"


def known_steps(out: Outcome, log: Log) -> Iterator[str]:
    """Every transition is one of the table that ``docs/delivery-states.md`` is drawn from."""
    at_once = [record for record in out.log if record.transition == TOLD_ONCE]
    for text in Lives([*log.lives, *at_once]).strange:
        yield f"P1 no such step: {text}"


def nothing_disowned(out: Outcome, log: Log) -> Iterator[str]:
    """Only what came behind a newer version is called out of order."""
    late = oracle.overtaken(out.published)
    for record in out.log:
        key = record.company, record.kind, record.entity_id, record.anchor
        if record.transition == TOLD_ONCE and record.reason == "out_of_order" and key not in late:
            yield f"P5 called out of order, and counted: {told_of(record)}"


def nothing_missing(out: Outcome, log: Log) -> Iterator[str]:
    for name in sorted(oracle.must_be_armed(out.published), key=str):
        if name not in log.names:
            yield f"P1 never armed: {name}"


def nothing_left(out: Outcome, log: Log) -> Iterator[str]:
    for row in out.left:
        yield f"P1 pending for ever: {row}"
    for name, told in log.names.items():
        if told[-1].state not in FINAL_STATES and not out.left:
            yield f"P1 {name} has no end, only {told_of(told[-1])}"


def sent_if_nothing_stands_against(out: Outcome, log: Log) -> Iterator[str]:
    faults = [item for item in out.story.items if isinstance(item, Fault)]
    refusing = {f.to for f in faults if f.what == "provider" and f.how in {"reject", "gone", "mixed"}}
    silent = {f.to for f in faults if f.what == "provider" and f.how in {"throttle", "outage", "mixed"}}
    for name in sorted(oracle.must_be_sent(out.published), key=str):
        told = log.names.get(name)
        if told is None:
            continue  # said above
        channel = Rules(out.published).of(name)[0].channel
        last = told[-1]
        allowed = {DeliveryState.SENT}
        if any(record.state is DeliveryState.UNKNOWN for record in told):
            allowed.add(DeliveryState.UNKNOWN_CLOSED)
        if str(channel) in refusing or (
            str(channel) in silent and last.reason in {"gave_up", "lateness", "after_scheduled"}
        ):
            continue
        if last.state not in allowed:
            yield f"P1 nothing stood against {name}, and yet: {told_of(last)}"


# --- P5, P6 ---------------------------------------------------------------------------------------


def pending_is_right(out: Outcome, log: Log) -> Iterator[str]:
    """All is read and calm: exactly the reminders that lie ahead wait, for the newest rule and time."""
    now = EPOCH + int(out.rest_at * 1000)
    expected = oracle.must_be_pending(out.published, now)
    vague = oracle.unclear(out.published)
    found: dict[Name, int] = {}
    newest = {(rule.company, rule.id): rule for rule in Rules(out.published).newest()}
    for row in out.pending:
        name = Name(
            row.company, row.rule_id, EntityKind(row.kind), row.entity_id, row.anchor, row.customer_id
        )
        rule = newest.get((row.company, row.rule_id))
        if rule is None or not rule.enabled:
            yield f"P6 pending of a rule that is gone: {row}"
        elif not row.event_id:
            found[name] = row.target
            if (name.company, name.kind, name.entity_id) in vague:
                continue
            if name not in expected and row.state in {"scheduled", "held"} and row.target > now:
                yield f"P5 pending, and should not be: {row}"
    for name, moment in expected.items():
        if any(record.state in _GONE_OUT and record.at <= now for record in log.names.get(name, ())):
            continue  # by a rule that said so earlier
        if any(record.reason == "too_late" for record in log.names.get(name, ())):
            continue  # in quiet hours that the company had then
        if name not in found:
            told = log.names.get(name)
            yield f"P6 not pending: {name}, last {told_of(told[-1]) if told else 'never armed'}"
        elif found[name] != moment:
            yield f"P6 {name} waits for {found[name]}, the rule says {moment}"


# --- P2 -------------------------------------------------------------------------------------------


def no_second_copy(out: Outcome, log: Log) -> Iterator[str]:
    copies: dict[tuple[Channel, str], int] = defaultdict(int)
    for channel, provider in out.providers.items():
        for taken in provider.taken:
            copies[channel, taken.message.delivery_id] += 1
    for (channel, id_), number in copies.items():
        unknown = any(record.state is DeliveryState.UNKNOWN for record in log.by_id[id_])
        if number > (2 if channel is Channel.EMAIL and unknown else 1):
            told = " ".join(told_of(record) for record in log.by_id[id_])
            yield f"P2 {id_} was taken {number} times ({channel}): {told}"


def books_agree(out: Outcome, log: Log) -> Iterator[str]:
    """What the log calls sent the provider has; what the provider has the log tells."""
    books = {taken.id: taken for provider in out.providers.values() for taken in provider.taken}
    for id_, told in log.by_id.items():
        for record in told:
            if record.state is DeliveryState.SENT:
                taken = books.get(record.provider_id)
                # A provider's list does not show delivery ids: asked about one of two equal texts to one
                # customer it may show the other (the customer has that text).
                alike = record.reason == "found"
                if taken is None or (taken.message.delivery_id != id_ and not alike):
                    yield f"P2 {id_} is logged as sent, the provider does not have it: {told_of(record)}"
    for taken in books.values():
        told = log.by_id.get(taken.message.delivery_id, [])
        # An unknown e-mail that was to be sent once more and then was withdrawn ends by what withdrew it:
        # the first copy may be out the log has said before.
        resent = any(record.reason == "resent" for record in told)
        if not told or (told[-1].state not in _GONE_OUT and not resent):
            last = told_of(told[-1]) if told else "nothing"
            yield f"P2 the provider took {taken.message.delivery_id}; the log: {last}"


def every_receipt_once(out: Outcome, log: Log) -> Iterator[str]:
    """What a provider reports of a message that it took ends in the log, each word once (the table of steps
    has in which order)."""
    reported: dict[str, set[DeliveryState]] = defaultdict(set)
    for _, event in out.reports:
        if event.status in _WORDS:
            reported[event.delivery_id].add(_WORDS[event.status])
    for id_, told in log.receipts.items():
        for record in told:
            if record.state not in reported[id_]:
                yield f"P1 nobody reported {told_of(record)} of {id_}"
    for id_, words in reported.items():
        if id_ not in log.by_id:
            continue  # of a message that is nobody's; known_steps looks at what it may have led to
        states = [DeliveryState(record.state) for record in log.receipts[id_]]
        best = max(words, key=lambda word: word is DeliveryState.DELIVERED)
        if not states or states[-1] is not best or len(states) > len(words):
            ended = told_of(log.by_id[id_][-1])
            yield f"P1 of {id_} ({ended}) the provider reported {sorted(words)}, the log has {states}"


# --- P7, P8 ---------------------------------------------------------------------------------------


def poison(out: Outcome, log: Log) -> Iterator[str]:
    letters = {(letter.topic, letter.partition, letter.offset): letter for letter in out.dead}
    wanted = {
        out.places[number]: item.value
        for number, item in enumerate(out.published)
        if isinstance(item.value, bytes) and item.topic != "consents"
    }
    for place, value in wanted.items():
        if place[0] in out.recreated:
            continue  # its offsets mean other records by now
        if place not in letters:
            yield f"P7 no dead letter for {place}"
        elif letters[place].value != value:
            yield f"P7 the dead letter for {place} has other bytes"
        elif (letters[place].error == "crashed") is not (value == DEADLY):
            yield f"P7 the dead letter for {place} says {letters[place].error}"
    disturbed = {
        (item.what, item.to)
        for item in out.story.items
        if isinstance(item, Fault) and item.what in {"kill", "broker", "freeze"}
    }
    again = disturbed or DEADLY in wanted.values() or out.recreated
    if not again:  # then nothing is worked on twice, whatever the group's offsets say
        for place in letters:
            number = sum((letter.topic, letter.partition, letter.offset) == place for letter in out.dead)
            if number > 1 and place[0] != "customer-consents":
                yield f"P2 {place} was worked on {number} times"
    for place, letter in letters.items():
        if place not in wanted and place[0] not in {"consents", *out.recreated}:
            yield f"P7 a good record in the dead letters: {letter}"


def later_is_calm(out: Outcome, log: Log) -> Iterator[str]:
    """36 days later what is over is forgotten, and not because it was done again."""
    for text in out.later:
        yield f"P2 36 days later: {text}"


def apart(out: Outcome, log: Log) -> Iterator[str]:
    for _, call, record in calls(out, log):
        message = call.message
        company, _, customer = text_of(message).split("|")[:3]
        if message.company != record.company or company.lower() != record.company:
            yield f"P8 {record.company}'s message says {company} ({message.company})"
        if customer != f"{record.customer_id} of {record.company}":
            yield f"P8 {record.customer_id} of {record.company} is called {customer}"
        if isinstance(message, SmsMessage) and message.to != phone(record.company, record.customer_id):
            yield f"P8 {record.company}'s message went to {message.to}"


CHECKS = (
    one_story_for_each,
    known_steps,
    nothing_disowned,
    nothing_missing,
    nothing_left,
    sent_if_nothing_stands_against,
    pending_is_right,
    no_second_copy,
    books_agree,
    every_receipt_once,
    *doors.CHECKS,
    later_is_calm,
    poison,
    apart,
)
