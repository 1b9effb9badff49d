"""Whatever happens to the workers, customers get what they would have got.

A random day of a shop is played twice: once in peace, once with crashes, lost disks, lost offsets and
repeated records in between. Both must send the same messages at the same moments and come to the same ends
(P1, P2); and of every message that goes out a plain model of the facts says that it may (P3, P4, P5).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from schemas.records import (
    FINAL_STATES,
    Change,
    Delivery,
    DeliveryState,
    EntityKind,
    Facts,
    Location,
    Operation,
    Rule,
    RuleKind,
    Template,
    TemplateText,
    Trigger,
)
from streams.domain.messages import Message, Outcome, SmsMessage
from streams.stages.delivery import DeliveryStage
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
from tests.support.topology import Crash, CrashPoint, Topology, accepting, opened

APPOINTMENT = EntityKind.APPOINTMENT
BEGIN = at("2026-04-06 10:00")
TIMES = [None, BEGIN + 30 * HOUR, BEGIN + 60 * HOUR, BEGIN + 61 * HOUR]
CUSTOMERS = ["ann", "bob", "cecilia"]
RULES = {
    rule.id: rule
    for rule in (
        notification(Trigger.CREATED, APPOINTMENT, id_="created"),
        notification(Trigger.STATUS_CHANGED, APPOINTMENT, id_="status", delay=90, working_hours_only=True),
        notification(
            Trigger.STATUS_CHANGED_TO,
            APPOINTMENT,
            id_="ready",
            status_id="appointment-ready",
            delay=30,
            only_if_still=True,
        ),
        notification(Trigger.TIME_CHANGED, APPOINTMENT, id_="time", delay=10, locations=("north",)),
        reminder(24, id_="day"),
        reminder(3, id_="hours", locations=("north",)),
    )
}
Action = tuple[Any, ...]

changes = st.tuples(
    st.just("change"),
    st.integers(0, 1),
    st.sampled_from(["new", "ready", "done", "gone"]),
    st.sampled_from(TIMES),
    st.sampled_from(CUSTOMERS[:2]),
    st.sampled_from(["north", "south"]),
)
actions = st.one_of(
    changes,
    changes,
    st.tuples(st.just("delete"), st.integers(0, 1)),
    st.tuples(st.just("stale"), st.integers(0, 1), st.sampled_from(TIMES)),
    st.tuples(
        st.just("rule"),
        st.sampled_from(sorted(RULES)),
        st.fixed_dictionaries(
            {},
            optional={
                "enabled": st.booleans(),
                "locations": st.sampled_from([None, ("north",), ("south",)]),
                "amount": st.sampled_from([1, 5, 20]),
            },
        ),
    ),
    st.tuples(st.just("consent"), st.sampled_from(CUSTOMERS), st.booleans()),
    st.tuples(st.just("hours"), st.integers(6, 12)),
    st.tuples(st.just("clock"), st.sampled_from([0, MINUTE, 45 * MINUTE, 5 * HOUR, 14 * HOUR])),
    st.tuples(st.just("clock"), st.sampled_from([MINUTE, 45 * MINUTE, 5 * HOUR, 14 * HOUR])),
)
quiet_points: list[CrashPoint] = ["clears", "timers", "state", "commands", "log"]
disturbances = st.one_of(
    st.just(("restart",)),
    st.just(("disks",)),
    st.just(("rewind",)),
    st.tuples(st.just("replay"), st.integers(1, 5)),
    st.tuples(st.just("replay_timers"), st.integers(1, 9)),
    st.tuples(st.just("crash"), st.sampled_from(quiet_points)),
)


@dataclass
class Day:
    """A topology and a model of what is true beside it."""

    versions: dict[str, int] = field(default_factory=dict)
    known: dict[str, Facts | None] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=lambda: dict(RULES))
    consent: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(CUSTOMERS, True))
    counter: int = 1

    def __post_init__(self) -> None:
        self.world = Topology(BEGIN, provider=self.provider)
        texts = {"en": TemplateText(sms="{{ entity.number }} {{ entity.title }}")}
        template = Template(id="t", company=C, texts=texts, version=9)
        rules = [msgspec.structs.replace(rule, template_id="t") for rule in RULES.values()]
        self.rules = {rule.id: rule for rule in rules}
        self.world.reference(*shop(), template, *rules)
        self.world.customer(*(ann(customer_id=name, phone=phone(name)) for name in CUSTOMERS))

    def provider(self, message: Message) -> Outcome:
        """Accepts everything, and holds it against what is true now."""
        sending = [r for r in self.world.log if r.delivery_id == message.delivery_id and r.state == "sending"]
        record = sending[-1]
        facts = self.known[record.entity_id]
        assert facts is not None, "nothing goes after the entity was deleted"
        assert facts.customer_id == record.customer_id
        assert isinstance(message, SmsMessage)
        assert (message.to, self.consent[record.customer_id]) == (phone(record.customer_id), True)
        assert message.text == f"N{record.entity_id} v{self.versions[record.entity_id]}", "the newest fact"
        rule = self.rules[record.rule_id]
        assert rule.enabled
        assert rule.locations is None or facts.location_id in rule.locations
        assert record.due_at is not None
        assert record.due_at <= self.world.now, "never early"
        if rule.kind is RuleKind.REMINDER:
            assert facts.scheduled_at is not None
            assert (record.anchor, record.due_at) == (
                str(facts.scheduled_at),
                facts.scheduled_at - rule.offset * HOUR,
            )
            assert self.world.now < facts.scheduled_at
            assert facts.status_id in {"appointment-new", "appointment-ready"}
        return accepting(message)

    def act(self, action: Action) -> None:
        getattr(self, f"do_{action[0]}")(*action[1:])

    def do_change(
        self, number: int, status: str, scheduled: int | None, customer: str, location: str
    ) -> None:
        self.newest(f"{number}", visit(status, scheduled, customer, location))

    def do_delete(self, number: int) -> None:
        self.newest(f"{number}", None)

    def newest(self, entity_id: str, after: Facts | None) -> None:
        before, version = self.known.get(entity_id), self.versions.get(entity_id, 0) + 1
        self.versions[entity_id], self.known[entity_id] = version, after
        operation = Operation.UPDATE if before is not None else Operation.CREATE
        if after is None:
            operation = Operation.DELETE
        self.world.change(APPOINTMENT, self.made(entity_id, version, after, operation, before))

    def do_stale(self, number: int, scheduled: int | None) -> None:
        version = self.versions.get(f"{number}", 0) - 1
        if version > 0:
            after = visit("new", scheduled)
            stale = self.made(f"{number}", version, after, Operation.UPDATE, visit("ready"))
            self.world.change(APPOINTMENT, stale)

    def made(
        self, entity_id: str, version: int, after: Facts | None, operation: Operation, before: Facts | None
    ) -> Change:
        made = change(version, after, self.world.now, before=before, operation=operation, entity_id=entity_id)
        assert made.details is not None
        return msgspec.structs.replace(
            made, details=msgspec.structs.replace(made.details, title=f"v{version}")
        )

    def do_rule(self, rule_id: str, edit: dict[str, Any]) -> None:
        rule, fields = self.rules[rule_id], dict(edit)
        if "amount" in fields:
            fields["offset" if rule.kind is RuleKind.REMINDER else "delay"] = fields.pop("amount")
        self.rules[rule_id] = msgspec.structs.replace(
            rule, version=rule.version + 1, changed_at=self.world.now, **fields
        )
        self.world.reference(self.rules[rule_id])

    def do_consent(self, name: str, agreed: bool) -> None:
        self.counter += 1
        self.consent[name] = agreed
        self.world.customer(
            ann(customer_id=name, phone=phone(name), sms_consent=agreed, version=self.counter)
        )

    def do_hours(self, opens: int) -> None:
        self.counter += 1
        north = next(r for r in shop() if isinstance(r, Location) and r.id == "north")
        day = (msgspec.structs.replace(north.hours.weekdays[0][0], opens=opens * 60),)
        hours = msgspec.structs.replace(north.hours, weekdays=(day,) * 7)
        self.world.reference(msgspec.structs.replace(north, hours=hours, version=self.counter))

    def do_clock(self, millis: int) -> None:
        self.world.after(millis)

    def disturb(self, disturbance: Action) -> None:
        what, *arguments = disturbance
        does: dict[str, Callable[..., None]] = {
            "restart": self.world.restart,
            "disks": self.world.lose_disks,
            "rewind": self.world.rewind,
            "replay": lambda count: self.world.replay(APPOINTMENT, count),
            "replay_timers": self.world.replay_timers,
        }
        does[what](*arguments)

    def end(self) -> None:
        self.world.until(BEGIN + 20 * DAY)


def phone(name: str) -> str:
    return f"+4850000000{CUSTOMERS.index(name)}"


def once(log: list[Delivery]) -> list[Delivery]:
    """Without repeats, which must be equal; and without explanations of what was never armed."""
    seen: dict[tuple[str, int], Delivery] = {}
    for record in log:
        if record.transition > 0:
            first = seen.setdefault((record.delivery_id, record.transition), record)
            assert first == record, "a repeat says something else"
    return list(seen.values())


def ends(world: Topology) -> dict[str, list[tuple[str, str]]]:
    """The final states of every delivery, in order: as many as times that it was armed."""
    found: dict[str, list[tuple[str, str]]] = {}
    pending: set[str] = set()
    for record in once(world.log):
        if record.state in FINAL_STATES:
            found.setdefault(record.delivery_id, []).append((str(record.state), record.reason))
            pending.discard(record.delivery_id)
        else:
            pending.add(record.delivery_id)
    assert not pending, "every arming comes to an end"
    assert world.pending == 0
    return found


def sent(world: Topology) -> list[tuple[int, str]]:
    ids = [one.message.delivery_id for one in world.sent]
    assert len(set(ids)) == len(ids), "no second copy"
    return sorted((one.at, one.message.delivery_id) for one in world.sent)


plans = st.lists(st.tuples(actions, st.lists(disturbances, max_size=2)), min_size=4, max_size=16)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(
    [
        (("consent", "bob", False), []),
        (("change", 0, "ready", TIMES[1], "bob", "north"), []),
        (("clock", 14 * HOUR), []),
        (("change", 0, "ready", TIMES[1], "bob", "north"), [("disks",)]),
    ]
)
@given(plans)
def test_disturbed_days_end_like_quiet_ones(plan: list[tuple[Action, list[Action]]]) -> None:
    quiet, disturbed = Day(), Day()
    for action, disturbances_ in plan:
        quiet.act(action)
        point: CrashPoint = next((d[1] for d in disturbances_ if d[0] == "crash"), "")
        if disturbed.world.crash(point, partial(disturbed.act, action)):
            disturbed.world.until(quiet.world.now)
        for disturbance in disturbances_:
            if disturbance[0] != "crash":
                disturbed.disturb(disturbance)
    quiet.end()
    disturbed.end()
    assert sent(disturbed.world) == sent(quiet.world)
    assert ends(disturbed.world) == ends(quiet.world)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(actions, st.sampled_from(get_args(CrashPoint))), min_size=4, max_size=16))
def test_a_crash_around_a_provider_call_sends_nothing_twice(plan: list[tuple[Action, CrashPoint]]) -> None:
    day = Day()
    for action, point in plan:
        day.world.crash_at = point
        try:
            day.act(action)
        except Crash:
            day.world.restart()
        day.world.crash_at = ""
    day.end()
    sent(day.world)
    told = ends(day.world)
    for one in day.world.sent:
        last = told[one.message.delivery_id][-1][0]
        assert last in {DeliveryState.SENT, DeliveryState.UNKNOWN_CLOSED}


def test_a_restart_reads_on_from_the_stored_offsets() -> None:
    """What is below them is not even looked at: an older version would be explained as out of order."""
    day = Day()
    for status in ("new", "ready", "new", "ready"):
        day.do_change(0, status, TIMES[1], "ann", "north")
        day.do_clock(MINUTE)
    world = day.world
    for again in (world.restart, world.lose_disks, world.rewind):
        before = list(world.log)
        again()
        assert world.entities[APPOINTMENT].source == len(world.records[APPOINTMENT])
        assert [stage.source for stage in world.senders] == [len(timers) for timers in world.commands]
        assert once(world.log) == once(before)
        fresh = [
            DeliveryStage(store, world.catalog, world.options, lambda *_: None) for store in world.stores
        ]
        assert [stage.source for stage in fresh] == [len(timers) for timers in world.commands]
        assert [record for record in world.log if not record.transition] == []


def test_the_clear_at_the_old_customer_is_out_before_the_new_one_is_armed() -> None:
    """They are in different partitions: in the other order both could get the reminder."""
    day = Day()
    day.do_change(0, "new", TIMES[2], "ann", "north")
    day.do_clock(HOUR)
    before = sum(len(timers) for timers in day.world.commands)
    day.world.crash_at = "clears"
    with pytest.raises(Crash):
        day.do_change(0, "new", TIMES[2], "bob", "north")
    told = [timer for timers in day.world.commands for timer in timers if timer.entity_version == 2]
    assert [(timer.op, timer.customer_id) for timer in told] == [("clear", "ann")]
    assert sum(len(timers) for timers in day.world.commands) == before + 1


def test_an_older_command_brings_back_no_older_facts() -> None:
    day = Day()
    for status in ("new", "ready", "new"):
        day.do_change(0, status, TIMES[2], "ann", "north")
    older = [timer for timers in day.world.commands for timer in timers if timer.entity_version == 2]
    assert any(timer.change for timer in older)
    day.world.produce(*older)
    day.end()  # the provider looks at the text
    assert day.world.sent


def test_a_creation_that_comes_after_a_newer_version_is_explained() -> None:
    day = Day()
    day.known["0"], day.versions["0"] = visit("new", TIMES[1]), 1
    day.do_change(0, "ready", TIMES[1], "ann", "north")
    late = change(1, visit("new", TIMES[1]), day.world.now, entity_id="0")
    day.world.change(APPOINTMENT, late)
    late_ones = [r for r in day.world.log if r.reason == "out_of_order"]
    assert [(r.rule_id, r.state, r.reason) for r in late_ones] == [("created", "suppressed", "out_of_order")]


def test_an_older_version_that_comes_again_says_nothing_new() -> None:
    world = opened("2026-04-07 10:00", notification(Trigger.STATUS_CHANGED))
    first = change(2, facts("ready"), world.now, before=facts())
    world.change(EntityKind.ORDER, change(1, facts(), world.now))
    world.change(EntityKind.ORDER, first)
    world.change(EntityKind.ORDER, change(3, facts("new"), world.now, before=facts("ready")))
    assert world.finals == [("sent", "accepted")] * 2
    world.change(EntityKind.ORDER, first)
    assert world.finals == [("sent", "accepted")] * 2
    late = change(1, facts("ready"), world.now, before=facts(), operation=Operation.UPDATE)
    world.change(EntityKind.ORDER, msgspec.structs.replace(late, event_id="never seen"))
    assert world.finals == [*[("sent", "accepted")] * 2, ("suppressed", "out_of_order")]
