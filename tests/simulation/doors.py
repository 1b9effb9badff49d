"""At the provider's door: what may not go out (P3), not yet (P4), or not with those words (P5)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from schemas.records import (
    Channel,
    ClearScope,
    Customer,
    Delivery,
    DeliveryState,
    Operation,
    Rule,
    Suppression,
    Template,
    TimerOp,
)
from streams.domain.ids import reference_key, suppression_key
from streams.domain.messages import SmsMessage
from tests.simulation import oracle
from tests.simulation.books import Log, calls, name_of, text_of, told_of
from tests.simulation.items import EPOCH
from tests.simulation.oracle import Name, Rules
from tests.simulation.places import Places
from tests.simulation.worker import HOLD
from tests.simulation.world import Outcome


def _agreed(customer: Customer, channel: Channel) -> bool:
    return customer.sms_consent if channel is Channel.SMS else customer.email_consent


def _granted(out: Outcome, known: Customer, channel: Channel, before: float) -> bool:
    """A newer yes was published by then: a worker that restores its consents has it before any batch of them
    has been worked on."""
    for item in out.published:
        newer = item.value
        if isinstance(newer, Customer) and item.at < before and newer.version > known.version:
            same = (newer.company, newer.customer_id) == (known.company, known.customer_id)
            if same and _agreed(newer, channel):
                return True
    return False


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
        if (
            consent is not None
            and not _agreed(consent, channel)
            and not _granted(out, consent, channel, call.seconds)
        ):
            yield f"P3 sent at {call.seconds:.3f} s without consent (v{consent.version}): {told_of(record)}"
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
            yield f"P3 sent at {call.seconds:.3f} s although cleared up to v{cleared}: {told_of(record)}"
        key = reference_key(record.company, record.rule_id)
        read, rule = call.worker.tables.as_read("rules", key, call.seconds)
        if read and not (isinstance(rule, Rule) and rule.enabled):
            yield f"P3 sent at {call.seconds:.3f} s by a rule that is off: {told_of(record)}"


def nothing_lay_unread(out: Outcome, log: Log) -> Iterator[str]:
    """What was published before a worker was given its partitions counts for what it sends from them."""
    if out.recreated:
        return  # the group's offsets speak of other records
    gone = {
        (life.company, str(life.kind), life.entity_id): (life.deleted, life.deleted_version)
        for life in oracle.lives(out.published)
        if life.deleted is not None
    }
    for channel, call, record in calls(out, log):
        begun = (record.at - EPOCH) / 1000
        since = max((at for at in call.worker.assigned_at if at <= begun), default=begun)
        if not since < begun < since + HOLD - 1:
            continue  # nothing is held for longer
        deleted, version = gone.get((record.company, str(record.kind), record.entity_id), (since, -1))
        if deleted < since and version > record.entity_version:
            yield f"P3 its deletion lay unread since {deleted:.3f} s: {told_of(record)}"
        said = [
            (item.value.version, item.at, item.value)
            for item in out.published
            if isinstance(item.value, Customer)
            and (item.value.company, item.value.customer_id) == (record.company, record.customer_id)
        ]
        _, at, newest = max(said, key=lambda one: one[:2], default=(0, since, None))
        agreed = newest is None or (newest.sms_consent if channel is Channel.SMS else newest.email_consent)
        if not agreed and at < since:
            yield f"P3 a no (of {at:.3f} s) lay unread at {since:.3f} s: {told_of(record)}"


def forgotten_are_left_alone(out: Outcome, log: Log) -> Iterator[str]:
    """Whoever opens a partition knows whom it must not know any more."""
    gone = oracle.forgotten(out.published)
    for _, call, record in calls(out, log):
        at = gone.get((record.company, record.customer_id))
        begun = (record.at - EPOCH) / 1000
        since = max((moment for moment in call.worker.assigned_at if moment <= begun), default=0.0)
        if at is not None and at < since - 1.0:
            yield f"P3 forgotten at {at:.3f} s, its partition opened at {since:.3f} s: {told_of(record)}"


def told_of_what_was(out: Outcome, log: Log) -> Iterator[str]:
    """P5: a message goes out because of a change that counted, by some version of its rule."""
    lives = {(life.company, life.kind, life.entity_id): life for life in oracle.lives(out.published)}
    vague = oracle.unclear(out.published)
    rules = Rules(out.published)
    for _, _, record in calls(out, log):
        name = name_of(record)
        life = lives.get((name.company, name.kind, name.entity_id))
        if life is None or (life.company, life.kind, life.entity_id) in vague:
            continue
        if not any(
            oracle.named(rule, life, state) == name
            for rule in rules.of(name)
            for state in life.states
            if oracle.fires(rule, life, state) or oracle.reminds(rule, life, state)
        ):
            yield f"P5 of nothing that was: {told_of(record)}"


def never_early(out: Outcome, log: Log) -> Iterator[str]:
    rules = Rules(out.published)
    places = Places(out.published)
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
        if name.anchor.isdecimal():
            earliest = places.earliest(name.company, earliest)
        if moment < earliest:
            yield f"P4 {(earliest - moment) / 1000:.3f} s early: {told_of(record)}"
        if name.anchor.isdecimal() and moment > int(name.anchor) + 30_000:
            yield f"P4 a reminder after its time: {told_of(record)}"
        open_ = places.may_be_open(name.company, record.location_id, record.at)
        if all(rule.working_hours_only for rule in versions) and not open_:
            yield f"P4 outside working hours: {told_of(record)}"
        if not places.may_be_loud(name.company, record.location_id, record.at):
            yield f"P4 in quiet hours: {told_of(record)}"


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
        said = int(text_of(call.message).split("|")[1].rpartition("v")[2])
        if said < known:
            yield f"P5 says v{said}, v{known} was known: {told_of(record)}"
        if record.anchor.isdecimal() and newest[0] > record.entity_version and anchor != record.anchor:
            yield f"P5 reminds of {record.anchor}, moved to {anchor}: {told_of(record)}"


def newest_template(out: Outcome, log: Log) -> Iterator[str]:
    """P6: the text is the newest that the worker had read."""
    rules = Rules(out.published)
    for _, call, record in calls(out, log):
        versions = rules.of(name_of(record))
        if not versions:
            continue
        key = reference_key(record.company, versions[0].template_id)
        _, template = call.worker.tables.as_read("templates", key, (record.at - EPOCH) / 1000)
        said = int(text_of(call.message).split("|")[3].removeprefix("t"))
        if isinstance(template, Template) and said < template.version:
            yield f"P6 says the text of v{said}, v{template.version} was read: {told_of(record)}"


def nobody_who_said_stop(out: Outcome, log: Log) -> Iterator[str]:
    for channel, call, record in calls(out, log):
        message = call.message
        address = message.to if isinstance(message, SmsMessage) else message.to_address
        key = suppression_key(record.company, channel, address)
        _, found = call.worker.tables.as_read("suppressions", key, call.seconds)
        if isinstance(found, Suppression):
            yield f"P3 sent to an address that said stop ({found.reason}): {told_of(record)}"


def nothing_by_a_wrong_clock(out: Outcome, log: Log) -> Iterator[str]:
    for _, call, record in calls(out, log):
        begun = (record.at - EPOCH) / 1000
        for worker, start, end in out.stepped:
            if worker is call.worker and start < begun < end:
                yield f"P4 begun at {begun:.3f} s while the clock was wrong: {told_of(record)}"


def imports_are_silent(out: Outcome, log: Log) -> Iterator[str]:
    """Snapshots, and what happened too long ago, are no news."""
    places = Places(out.published)
    silent: dict[tuple[str, str, str, str], str] = {}
    for life in oracle.lives(out.published):
        oldest = places.oldest_age(life.company)
        for state in life.states:
            age = EPOCH + state.published * 1000 - state.change.occurred_at
            key = life.company, str(life.kind), life.entity_id, state.change.event_id
            if state.change.operation is Operation.READ:
                silent[key] = "a snapshot"
            elif age > oldest:
                silent[key] = "old"
    for _, _, record in calls(out, log):
        key = record.company, str(record.kind), record.entity_id, record.anchor
        if key in silent:
            yield f"P5 sent although the change was {silent[key]}: {told_of(record)}"


def newest_of_the_held(out: Outcome, log: Log) -> Iterator[str]:
    """Of several held for one opening only the newest goes."""
    held: dict[tuple[str, ...], list[tuple[int, int, Delivery]]] = defaultdict(list)
    for told in log.by_id.values():
        last = [record for record in told if record.state is DeliveryState.HELD][-1:]
        for record in last:
            if not record.anchor.isdecimal():
                held[_pair(name_of(record))].append((record.next_at or 0, record.entity_version, record))
    for _, _, record in calls(out, log):
        mine = [one for one in held.get(_pair(name_of(record)), ()) if one[2].anchor == record.anchor]
        for until, version, _ in mine:
            for other_until, other_version, other in held[_pair(name_of(record))]:
                # Both were waiting for it when this one was begun.
                if other_until == until and other_version > version and other.at < record.at:
                    yield f"P5 went although a newer one was held: {told_of(record)}, {told_of(other)}"


def _pair(name: Name) -> tuple[str, ...]:
    return name.company, name.rule_id, str(name.kind), name.entity_id, name.customer_id


CHECKS = (
    nothing_withdrawn,
    nothing_lay_unread,
    forgotten_are_left_alone,
    told_of_what_was,
    never_early,
    newest_text,
    newest_template,
    nobody_who_said_stop,
    nothing_by_a_wrong_clock,
    imports_are_silent,
    newest_of_the_held,
)
