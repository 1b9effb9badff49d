"""What must come of a story, told a second time: from the records as published and the promises, with
nothing of the stages, the domain's decisions or the runtime.

Where a story makes an answer depend on who read what first (a rule edited while changes are under way), the
oracle says less, never something that need not be so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from schemas.records import (
    Change,
    Channel,
    Customer,
    EntityKind,
    Facts,
    Operation,
    Rule,
    RuleKind,
    Status,
    Suppression,
    Trigger,
    Unit,
)
from tests.simulation.items import EPOCH, KINDS, MINUTE, Publish
from tests.simulation.places import DAY, Places

MAX_AGE = DAY


@dataclass(frozen=True, slots=True)
class Name:
    """One message to one customer."""

    company: str
    rule_id: str
    kind: EntityKind
    entity_id: str
    anchor: str
    customer_id: str


@dataclass(frozen=True, slots=True)
class State:
    """An entity after a change that counted."""

    published: float
    change: Change
    facts: Facts
    created: bool
    status_changed: bool
    time_changed: bool
    snapshot: bool


@dataclass
class Life:
    """One entity: the changes that counted, in order."""

    company: str
    kind: EntityKind
    entity_id: str
    states: list[State] = field(default_factory=list)
    deleted: float | None = None
    """When its deletion was published."""
    deleted_version: int = -1


def closed(facts: Facts) -> bool:
    return facts.status_id.endswith(("-done", "-gone"))


def lives(published: Iterable[Publish]) -> list[Life]:
    """Version decides; of a change without ``before`` the state known so far is what was before."""
    found: dict[tuple[str, EntityKind, str], Life] = {}
    newest: dict[tuple[str, EntityKind, str], int] = {}
    for item in published:
        change = item.value
        if not isinstance(change, Change):
            continue
        kind = KINDS[item.topic]
        key = change.company, kind, change.entity_id
        if change.version <= newest.get(key, -1):
            continue
        newest[key] = change.version
        life = found.setdefault(key, Life(*key))
        if change.operation is Operation.DELETE or change.after is None:
            life.deleted, life.deleted_version = item.at, change.version
            continue
        known = life.states[-1].facts if life.states and life.deleted is None else None
        before = change.before or known
        after = change.after
        snapshot = change.operation is Operation.READ or (
            change.operation is Operation.UPDATE and before is None
        )
        created = change.operation is Operation.CREATE and known is None
        changed = before is not None and not created
        life.deleted = None
        life.states.append(
            State(
                item.at,
                change,
                after,
                created and not snapshot,
                changed and before is not None and before.status_id != after.status_id,
                changed
                and before is not None
                and after.scheduled_at is not None
                and before.scheduled_at != after.scheduled_at,
                snapshot,
            )
        )
    return list(found.values())


def overtaken(published: Iterable[Publish]) -> set[tuple[str, str, str, str]]:
    """Changes that were published (also) behind a newer version: company, kind, entity, event."""
    newest: dict[tuple[str, str, str], int] = {}
    found: set[tuple[str, str, str, str]] = set()
    for item in published:
        change = item.value
        if isinstance(change, Change):
            key = change.company, str(KINDS[item.topic]), change.entity_id
            if change.version < newest.get(key, -1):
                found.add((*key, change.event_id))
            newest[key] = max(newest.get(key, -1), change.version)
    return found


class Rules:
    """Every rule's versions as they were published; a removal is a None."""

    def __init__(self, published: Iterable[Publish]) -> None:
        self.versions: dict[tuple[str, str], list[tuple[float, Rule | None]]] = {}
        for item in published:
            if item.topic == "rules":
                company, rule_id = item.key.decode().split("/")
                rule = item.value if isinstance(item.value, Rule) else None
                held = self.versions.setdefault((company, rule_id), [])
                last = held[-1][1] if held else None
                if rule is None or last is None or rule.version > last.version:
                    held.append((item.at, rule))

    def newest(self) -> list[Rule]:
        return [found[-1][1] for found in self.versions.values() if found[-1][1] is not None]

    def stable(self) -> list[Rule]:
        """Rules that stood before the first change and never changed whom they speak to, or how."""
        return [
            found[0][1]
            for found in self.versions.values()
            if found[0][0] == 0.0
            and found[0][1] is not None
            and all(
                rule is not None and rule.enabled and rule.channel is found[0][1].channel for _, rule in found
            )
        ]

    def fixed(self) -> list[Rule]:
        """Rules of one version."""
        return [rule for rule in self.stable() if len(self.versions[rule.company, rule.id]) == 1]

    def of(self, name: Name) -> list[Rule]:
        return [rule for _, rule in self.versions.get((name.company, name.rule_id), ()) if rule is not None]


def fires(rule: Rule, life: Life, state: State) -> bool:
    """Does the change set off the notification?"""
    if rule.kind is not RuleKind.NOTIFICATION or not _covers(rule, life, state) or state.snapshot:
        return False
    match rule.trigger:
        case Trigger.CREATED:
            return state.created
        case Trigger.STATUS_CHANGED:
            return state.status_changed
        case Trigger.STATUS_CHANGED_TO:
            return state.status_changed and state.facts.status_id == rule.status_id
        case _:
            return state.time_changed and not closed(state.facts)


def reminds(rule: Rule, life: Life, state: State) -> bool:
    return (
        rule.kind is RuleKind.REMINDER
        and _covers(rule, life, state)
        and state.facts.scheduled_at is not None
        and not closed(state.facts)
    )


def _covers(rule: Rule, life: Life, state: State) -> bool:
    return (
        rule.company == life.company
        and rule.entity is life.kind
        and (rule.locations is None or state.facts.location_id in rule.locations)
    )


def unclear(published: Iterable[Publish]) -> set[tuple[str, EntityKind, str]]:
    """Entities in a status of which the company has changed what it means: who read what first counts."""
    items = list(published)
    odd = {
        (item.value.company, item.value.id)
        for item in items
        if isinstance(item.value, Status) and item.value.version > 1
    }
    return {
        (life.company, life.kind, life.entity_id)
        for life in lives(items)
        if any((life.company, state.facts.status_id) in odd for state in life.states)
    }


def due(rule: Rule, anchor: str, occurred_at: int) -> int:
    """The moment that the rule gives, in milliseconds."""
    minutes = {Unit.MINUTES: 1, Unit.HOURS: 60, Unit.DAYS: 24 * 60}
    if rule.kind is RuleKind.REMINDER:
        return int(anchor) - rule.offset * minutes[rule.offset_unit] * MINUTE
    return occurred_at + rule.delay * minutes[rule.delay_unit] * MINUTE


def named(rule: Rule, life: Life, state: State) -> Name:
    anchor = str(state.facts.scheduled_at) if rule.kind is RuleKind.REMINDER else state.change.event_id
    return Name(rule.company, rule.id, life.kind, life.entity_id, anchor, state.facts.customer_id)


def must_be_armed(published: Sequence[Publish]) -> set[Name]:
    """Messages of which the delivery log must speak, whoever crashed when."""
    rules = Rules(published).stable()
    vague = unclear(published)
    return {
        named(rule, life, state)
        for life in lives(published)
        if (life.company, life.kind, life.entity_id) not in vague
        for state in life.states
        for rule in rules
        if fires(rule, life, state) or reminds(rule, life, state)
    }


def must_be_pending(published: Sequence[Publish], now: int) -> dict[Name, int]:
    """Reminders that lie ahead when all is read and calm, with their moments: P5 and P6."""
    found: dict[Name, int] = {}
    places = Places(published)
    vague = unclear(published)
    for life in lives(published):
        if life.deleted is not None or not life.states:
            continue
        if (life.company, life.kind, life.entity_id) in vague:
            continue
        state = life.states[-1]
        for rule in Rules(published).newest():
            if rule.enabled and reminds(rule, life, state):
                name = named(rule, life, state)
                moment = due(rule, name.anchor, state.change.occurred_at)
                moment = places.reminder(life.company, state.facts.location_id, moment)
                if moment > now:
                    found[name] = moment
    return found


def must_be_sent(published: Sequence[Publish]) -> set[Name]:
    """Messages that nothing in the story stands against."""
    agreed = always_agreed(published)
    places = Places(published)
    vague = unclear(published)
    found: set[Name] = set()
    for life in lives(published):
        if (life.company, life.kind, life.entity_id) in vague:
            continue
        quiet = places.ever_quiet(life.company)
        for index, state in enumerate(life.states):
            later = life.states[index + 1 :]
            for rule in Rules(published).fixed():
                if not agreed.get((life.company, state.facts.customer_id, rule.channel)):
                    continue
                if life.deleted_version > state.change.version:
                    continue
                if any(other.facts.customer_id != state.facts.customer_id for other in later):
                    continue
                if any(not _covers(rule, life, other) for other in later):
                    continue
                if fires(rule, life, state):
                    # What is held for the quiet gives way to what is newer, or is stale by then.
                    alone = not quiet or len(life.states) == 1
                    if alone and _undisturbed(rule, state, later):
                        found.add(named(rule, life, state))
                elif reminds(rule, life, state) and not later and not quiet:
                    name = named(rule, life, state)
                    # Since when this time has stood is not told here: no state before had another.
                    in_time = due(rule, name.anchor, 0) >= max(map(_since, life.states))
                    left = int(name.anchor) - (EPOCH + int(state.published * 1000))
                    if in_time and left > 30 * MINUTE:
                        found.add(name)
    return found


def _since(state: State) -> int:
    """When the entity was booked or moved; of a row of a snapshot nobody knows, so when it was told."""
    return EPOCH + int(state.published * 1000) if state.snapshot else state.change.occurred_at


def _undisturbed(rule: Rule, state: State, later: Sequence[State]) -> bool:
    if rule.working_hours_only or rule.only_if_still:
        return False
    if EPOCH + state.published * 1000 - state.change.occurred_at > MAX_AGE / 2:
        return False
    clears = any(closed(other.facts) for other in later)
    if rule.trigger is Trigger.TIME_CHANGED:
        # Rendered with the time: one that was taken away leaves nothing to say.
        return not clears and all(other.facts.scheduled_at is not None for other in later)
    return True


def forgotten(published: Iterable[Publish]) -> dict[tuple[str, str], float]:
    """Customers of whom the last that was said is that they are to be forgotten, and when."""
    found: dict[tuple[str, str], float] = {}
    for item in published:
        if item.topic == "customer-consents" and not isinstance(item.value, bytes):
            company, customer = item.key.decode().split("/")
            if item.value is None:
                found[company, customer] = item.at
            else:
                found.pop((company, customer), None)
    return found


def always_agreed(published: Sequence[Publish]) -> Mapping[tuple[str, str, Channel], bool]:
    """Customers known from the first second who never said no."""
    found: dict[tuple[str, str, Channel], bool] = {}
    stopped = {item.value.company for item in published if isinstance(item.value, Suppression)}
    for item in published:
        customer = item.value
        if isinstance(customer, Customer):
            for channel, yes in (
                (Channel.SMS, customer.sms_consent),
                (Channel.EMAIL, customer.email_consent),
            ):
                key = customer.company, customer.customer_id, channel
                said_stop = channel is Channel.SMS and customer.company in stopped
                found[key] = yes and not said_stop and found.get(key, item.at < 1.0)
    gone = forgotten(published)
    return {key: yes and key[:2] not in gone for key, yes in found.items()}
