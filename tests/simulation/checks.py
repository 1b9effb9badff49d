"""Did the run keep the promises? From the delivery log, the providers' own books and the oracle."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from schemas.records import (
    FINAL_STATES,
    Channel,
    ClearScope,
    Delivery,
    DeliveryState,
    EntityKind,
    TimerOp,
)
from streams.domain.messages import Message, SmsMessage
from tests.simulation import oracle
from tests.simulation.oracle import Name, Rules
from tests.simulation.provider import Call
from tests.simulation.story import EPOCH, Fault, phone
from tests.simulation.world import Outcome
from tests.support.lives import Lives

_GONE_OUT = {DeliveryState.SENT, DeliveryState.UNKNOWN_CLOSED}
_TOLD_ONCE = 0
"""Transition number of what an entity agent says itself."""


def violations(out: Outcome) -> list[str]:
    """Every broken promise in words; empty: none."""
    if out.rest_at < 0:
        return out.errors or ["the run did not come to its end"]
    log = Log(out)
    found = [*out.errors]
    for check in CHECKS:
        found += check(out, log)
    return found


class Log:
    """The delivery log as its readers see it: repeats dropped by (delivery id, transition)."""

    def __init__(self, out: Outcome) -> None:
        self.conflicts: list[str] = []
        seen: dict[tuple[str, int], Delivery] = {}
        self.slots: dict[tuple[str, ...], dict[int, Delivery]] = defaultdict(dict)
        self.by_id: dict[str, list[Delivery]] = defaultdict(list)
        self.names: dict[Name, list[Delivery]] = defaultdict(list)
        for record in out.log:
            key = record.delivery_id, record.transition
            if key in seen:
                if record.transition != _TOLD_ONCE and seen[key] != record:
                    self.conflicts.append(f"{key}: {_told(seen[key])} and {_told(record)}")
                continue
            seen[key] = record
            if record.transition == _TOLD_ONCE:
                continue
            self.by_id[record.delivery_id].append(record)
            self.names[name_of(record)].append(record)
            reminder = record.anchor.isdecimal()
            slot = (
                record.company,
                record.kind,
                record.entity_id,
                record.customer_id,
                record.rule_id,
                "" if reminder else record.anchor,
            )
            other = self.slots[slot].get(record.transition)
            if other is not None:
                self.conflicts.append(f"{slot} {record.transition}: {_told(other)} and {_told(record)}")
            self.slots[slot][record.transition] = record
        for records in (*self.by_id.values(), *self.names.values()):
            records.sort(key=lambda record: record.transition)


def name_of(record: Delivery) -> Name:
    return Name(
        record.company,
        record.rule_id,
        EntityKind(record.kind),
        record.entity_id,
        record.anchor,
        record.customer_id,
    )


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
            yield f"P1 {_told(told[-1])} of {id_}: after {_told(gone[0])} came {_told(after)}"


def known_steps(out: Outcome, log: Log) -> Iterator[str]:
    """Every transition is one of the table that ``docs/delivery-states.md`` is drawn from."""
    told = [record for records in log.by_id.values() for record in records]
    at_once = [record for record in out.log if record.transition == _TOLD_ONCE]
    for text in Lives([*told, *at_once]).strange:
        yield f"P1 no such step: {text}"


def nothing_disowned(out: Outcome, log: Log) -> Iterator[str]:
    """Only what came behind a newer version is called out of order."""
    late = oracle.overtaken(out.published)
    for record in out.log:
        key = record.company, record.kind, record.entity_id, record.anchor
        if record.transition == _TOLD_ONCE and record.reason == "out_of_order" and key not in late:
            yield f"P5 called out of order, and counted: {_told(record)}"


def nothing_missing(out: Outcome, log: Log) -> Iterator[str]:
    for name in sorted(oracle.must_be_armed(out.published), key=str):
        if name not in log.names:
            yield f"P1 never armed: {name}"


def nothing_left(out: Outcome, log: Log) -> Iterator[str]:
    for row in out.left:
        yield f"P1 pending for ever: {row}"
    for name, told in log.names.items():
        if told[-1].state not in FINAL_STATES and not out.left:
            yield f"P1 {name} has no end, only {_told(told[-1])}"


def sent_if_nothing_stands_against(out: Outcome, log: Log) -> Iterator[str]:
    faults = [item for item in out.story.items if isinstance(item, Fault)]
    refusing = {f.to for f in faults if f.what == "provider" and f.how in {"reject", "gone"}}
    silent = {f.to for f in faults if f.what == "provider" and f.how in {"throttle", "outage"}}
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
            yield f"P1 nothing stood against {name}, and yet: {_told(last)}"


# --- P5, P6 ---------------------------------------------------------------------------------------


def pending_is_right(out: Outcome, log: Log) -> Iterator[str]:
    """All is read and calm: exactly the reminders that lie ahead wait, for the newest rule and time."""
    now = EPOCH + int(out.rest_at * 1000)
    expected = oracle.must_be_pending(out.published, now)
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
            if name not in expected and row.state in {"scheduled", "held"} and row.target > now:
                yield f"P5 pending, and should not be: {row}"
    for name, moment in expected.items():
        if any(record.state in _GONE_OUT for record in log.names.get(name, ())):
            continue
        if name not in found:
            told = log.names.get(name)
            yield f"P6 not pending: {name}, last {_told(told[-1]) if told else 'never armed'}"
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
            told = " ".join(_told(record) for record in log.by_id[id_])
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
                    yield f"P2 {id_} is logged as sent, the provider does not have it: {_told(record)}"
    for taken in books.values():
        told = log.by_id.get(taken.message.delivery_id, [])
        # An unknown e-mail that was to be sent once more and then was withdrawn ends by what withdrew it:
        # the first copy may be out the log has said before.
        resent = any(record.reason == "resent" for record in told)
        if not told or (told[-1].state not in _GONE_OUT and not resent):
            last = _told(told[-1]) if told else "nothing"
            yield f"P2 the provider took {taken.message.delivery_id}; the log: {last}"


# --- P3, P4, P5 at the provider's door ------------------------------------------------------------


def calls(out: Outcome, log: Log) -> Iterator[tuple[Channel, Call, Delivery]]:
    """Each call with the record that announced it."""
    for channel, provider in out.providers.items():
        for call in provider.calls:
            moment = EPOCH + call.seconds * 1000
            told = [
                record
                for record in log.by_id.get(call.message.delivery_id, ())
                if record.state is DeliveryState.SENDING and record.at <= moment
            ]
            if told:
                yield channel, call, told[-1]


def nothing_withdrawn(out: Outcome, log: Log) -> Iterator[str]:
    for provider in out.providers.values():
        for call in provider.calls:
            if not any(r.state is DeliveryState.SENDING for r in log.by_id.get(call.message.delivery_id, ())):
                yield f"P3 a call that nobody announced: {call.message.delivery_id}"
    for channel, call, record in calls(out, log):
        consent = None
        for seconds, customer in out.customers:
            if (customer.company, customer.customer_id) != (record.company, record.customer_id):
                continue
            if seconds < call.seconds and (consent is None or customer.version >= consent.version):
                consent = customer
        if consent is not None and not (
            consent.sms_consent if channel is Channel.SMS else consent.email_consent
        ):
            yield f"P3 sent at {call.seconds:.3f} s without consent (v{consent.version}): {_told(record)}"
        armed = cleared = -1
        for seconds, timer, _ in out.timers:
            same = (timer.company, timer.kind, timer.entity_id, timer.customer_id) == (
                record.company, record.kind, record.entity_id, record.customer_id,
            )  # fmt: skip
            if not same or seconds >= call.seconds:
                continue
            if timer.op is TimerOp.CLEAR and (timer.scope is ClearScope.ALL or record.anchor.isdecimal()):
                cleared = max(cleared, timer.entity_version)
            elif timer.op is TimerOp.ARM and (timer.rule_id, timer.anchor) == (record.rule_id, record.anchor):
                armed = max(armed, timer.entity_version)
        if cleared >= armed > -1:
            yield f"P3 sent at {call.seconds:.3f} s although cleared up to v{cleared}: {_told(record)}"
        seen = call.worker.rules_at(call.seconds, record.company, record.rule_id)
        if seen is not None and not seen:
            yield f"P3 sent at {call.seconds:.3f} s by a rule that is off: {_told(record)}"


def never_early(out: Outcome, log: Log) -> Iterator[str]:
    rules = Rules(out.published)
    occurred = {
        (life.company, life.kind, life.entity_id, state.change.event_id): state.change.occurred_at
        for life in oracle.lives(out.published)
        for state in life.states
    }
    for _, call, record in calls(out, log):
        name, moment = name_of(record), EPOCH + call.seconds * 1000
        versions = rules.of(name)
        if not versions:
            continue
        when = occurred.get((name.company, name.kind, name.entity_id, name.anchor), 0)
        earliest = min(oracle.due(rule, name.anchor, when) for rule in versions)
        if moment < earliest:
            yield f"P4 {(earliest - moment) / 1000:.3f} s early: {_told(record)}"
        if name.anchor.isdecimal() and moment > int(name.anchor) + 30_000:
            yield f"P4 a reminder after its time: {_told(record)}"
        if all(rule.working_hours_only for rule in versions) and not oracle.is_open(record.at):
            yield f"P4 outside working hours: {_told(record)}"


def newest_text(out: Outcome, log: Log) -> Iterator[str]:
    """P5: a message speaks of the entity as its partition knew it."""
    for _, call, record in calls(out, log):
        known = -1
        anchor = ""
        newest = (-1, -1)
        for seconds, timer, version in out.timers:
            same = (timer.company, timer.kind, timer.entity_id, timer.customer_id) == (
                record.company, record.kind, record.entity_id, record.customer_id,
            )  # fmt: skip
            if not same or EPOCH + seconds * 1000 >= record.at:
                continue
            known = max(known, version)
            order = timer.entity_version, timer.rule_version
            if timer.op is TimerOp.ARM and timer.rule_id == record.rule_id and order > newest:
                newest, anchor = order, timer.anchor
        said = int(_text(call.message).split("|")[1].rpartition("v")[2])
        if said < known:
            yield f"P5 says v{said}, v{known} was known: {_told(record)}"
        if record.anchor.isdecimal() and newest[0] > record.entity_version and anchor != record.anchor:
            yield f"P5 reminds of {record.anchor}, moved to {anchor}: {_told(record)}"


# --- P7, P8 ---------------------------------------------------------------------------------------


def poison(out: Outcome, log: Log) -> Iterator[str]:
    letters = {(letter.topic, letter.partition, letter.offset): letter for letter in out.dead}
    wanted = {
        out.places[number]: item.value
        for number, item in enumerate(out.published)
        if isinstance(item.value, bytes) and item.topic != "consents"
    }
    for place, value in wanted.items():
        if place not in letters:
            yield f"P7 no dead letter for {place}"
        elif letters[place].value != value:
            yield f"P7 the dead letter for {place} has other bytes"
    disturbed = {
        (item.what, item.to)
        for item in out.story.items
        if isinstance(item, Fault) and item.what in {"kill", "broker", "freeze"}
    }
    if not disturbed:  # then nothing is worked on twice, whatever the group's offsets say
        for place in letters:
            number = sum((letter.topic, letter.partition, letter.offset) == place for letter in out.dead)
            if number > 1 and place[0] != "customer-consents":
                yield f"P2 {place} was worked on {number} times"
    for place, letter in letters.items():
        if place not in wanted and place[0] != "consents":
            yield f"P7 a good record in the dead letters: {letter}"


def apart(out: Outcome, log: Log) -> Iterator[str]:
    for _, call, record in calls(out, log):
        message = call.message
        company, _, customer = _text(message).split("|")[:3]
        if message.company != record.company or company.lower() != record.company:
            yield f"P8 {record.company}'s message says {company} ({message.company})"
        if customer != f"{record.customer_id} of {record.company}":
            yield f"P8 {record.customer_id} of {record.company} is called {customer}"
        if isinstance(message, SmsMessage) and message.to != phone(record.company, record.customer_id):
            yield f"P8 {record.company}'s message went to {message.to}"


def _text(message: Message) -> str:
    return message.text if isinstance(message, SmsMessage) else message.subject


def _told(record: Delivery) -> str:
    reason = f".{record.reason}" if record.reason else ""
    seconds = (record.at - EPOCH) / 1000
    return (
        f"{record.company}/{record.kind}/{record.entity_id}/{record.rule_id}/{record.anchor}"
        f"/{record.customer_id} #{record.transition} {record.state}{reason} at {seconds:.3f} s"
    )


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
    nothing_withdrawn,
    never_early,
    newest_text,
    poison,
    apart,
)
