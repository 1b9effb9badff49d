"""What happens in one run, drawn from a seed: a list of items that can be shortened item by item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

import msgspec

from schemas.records import (
    Change,
    Channel,
    Company,
    Customer,
    Details,
    EntityKind,
    Facts,
    Hours,
    Interval,
    Location,
    Operation,
    Record,
    Rule,
    RuleKind,
    Status,
    StatusKind,
    Template,
    TemplateText,
    Trigger,
    Unit,
)
from streams.domain.ids import customer_key, entity_key, reference_key

MINUTE = 60_000
EPOCH = 1_781_098_200_000
"""2026-06-10 15:30 in Warsaw (a Wednesday, UTC+2): the shop closes at 18:00."""
OPENS, CLOSES = 9 * 60, 18 * 60
LENGTH = 5_400.0
"""Seconds in which things happen; then everything heals."""
KINDS = {"orders": EntityKind.ORDER, "appointments": EntityKind.APPOINTMENT, "leads": EntityKind.LEAD}
TOPIC_OF = {kind: topic for topic, kind in KINDS.items()}
PARTITIONS = {"orders": 1, "appointments": 2, "leads": 1, "customer-consents": 1, "timers": 2}
POISON = (b"\x00\x01", b"{", b"junk", b"\x00\x7f\x00\x00\x01abc", b'{"company": ""}')
MODES = ("times_out", "late", "throttle", "outage", "reject", "gone", "raise")


_OWNED = ("until_owned#1", "_send#2")
"""Awaits that are met only while a paced worker hears nothing from its group."""


@dataclass(frozen=True, slots=True)
class Publish:
    """A record that somebody publishes; ``value`` bytes go out as they are, None is a tombstone."""

    at: float
    topic: str
    key: bytes
    value: Record | bytes | None

    def __str__(self) -> str:
        return f"{self.at:8.1f} s  {self.topic}: {_short(self.value)}"


@dataclass(frozen=True, slots=True)
class Fault:
    """``what`` happens ``to`` whom for ``seconds``; ``how`` says more."""

    at: float
    what: str
    to: str = ""
    seconds: float = 0.0
    how: str = ""
    skip: int = 0

    def __str__(self) -> str:
        skip = f" (occurrence {self.skip + 1})" if self.skip else ""
        return f"{self.at:8.1f} s  {self.what} {self.to} {self.how}{skip} for {self.seconds:.1f} s"


Item = Publish | Fault


@dataclass(frozen=True, slots=True)
class Setting:
    machines: int
    in_flight: int
    rate: float
    """Messages per second of each channel; 0: not paced."""


@dataclass(frozen=True, slots=True)
class Story:
    seed: int
    setting: Setting
    reference: tuple[Publish, ...]
    """Published before the first worker starts."""
    items: tuple[Item, ...]

    def only(self, items: Sequence[Item]) -> Story:
        return Story(self.seed, self.setting, self.reference, tuple(items))


def story(seed: int, *, sites: Sequence[str] = (), zombies: bool = False) -> Story:
    """``sites``: the awaits at which a worker may be killed (``tests.simulation.awaits``)."""
    random = Random(seed)
    companies = ["acme", "bolt"][: random.choice((1, 1, 2))]
    setting = Setting(
        random.choice((1, 2, 2, 3)), random.choice((1, 2, 5, 20)), random.choice((0.0, 0.0, 0.0, 2.0))
    )
    reference = [item for company in companies for item in _shop(company, random)]
    items: list[Item] = []
    for company in companies:
        items += _customers(company, random)
        for number in range(random.randint(1, 3)):
            topic = random.choice(
                ("appointments", "appointments", "appointments", "orders", "orders", "leads")
            )
            items += _life(company, topic, f"e{number}", random)
        items += _edits(company, [i.value for i in reference if isinstance(i.value, Rule)], random)
    if random.random() < 0.2:
        items += _ambush(companies[0], [i.value for i in reference if isinstance(i.value, Rule)], random)
        setting = replace(setting, rate=0.2, in_flight=20)
    items += _poison(companies, random)
    moments = [item.at for item in items] + [900.0 * number for number in range(1, 7)]
    items += _faults(setting, random, sites, seed, moments, zombies=zombies)
    if any(isinstance(item, Fault) and item.how.endswith(_OWNED) for item in items):
        setting = replace(setting, rate=0.2)
    return Story(seed, setting, tuple(reference), tuple(sorted(items, key=lambda item: item.at)))


# --- the shops ------------------------------------------------------------------------------------

_OPEN_HOURS = Hours(weekdays=((Interval(opens=OPENS, closes=CLOSES),),) * 7)


def _reference(topic: str, record: Rule | Template | Status | Location) -> Publish:
    return Publish(0.0, topic, reference_key(record.company, record.id), record)


def status_id(kind: EntityKind, name: str) -> str:
    return f"{kind}-{name}"


def _shop(company: str, random: Random) -> list[Publish]:
    firm = Company(
        id=company,
        name=company.title(),
        language="en",
        zone="Europe/Warsaw",
        hours=_OPEN_HOURS,
        sms_sender="+48500000000",
        email_sender_address=f"shop@{company}.example",
        version=1,
    )
    found = [Publish(0.0, "companies", company.encode(), firm)]
    place = Location(
        id="north", company=company, name="North", zone="Europe/Warsaw", hours=_OPEN_HOURS, version=1
    )
    found.append(_reference("locations", place))
    kinds = {
        "new": StatusKind.OPEN,
        "ready": StatusKind.OPEN,
        "done": StatusKind.CLOSED,
        "gone": StatusKind.CANCELLED,
    }
    found += [
        _reference(
            "statuses",
            Status(
                id=status_id(kind, n), company=company, entity=kind, names={"en": n}, kind=what, version=1
            ),
        )
        for kind in EntityKind
        for n, what in kinds.items()
    ]
    for name, tail in (("plain", ""), ("timed", "|{{ entity.time }}")):
        text = "{{ company.name }}|{{ entity.title }}|{{ customer.name }}" + tail
        texts = {"en": TemplateText(sms=text, subject=text, body=text)}
        found.append(_reference("templates", Template(id=name, company=company, texts=texts, version=1)))
    rules = _rules(company)
    for rule in random.sample(rules, random.randint(3, 6)):
        found.append(_reference("rules", rule))
    return found


def _rules(company: str) -> list[Rule]:
    made: list[Rule] = []

    def notify(
        id_: str, kind: EntityKind, trigger: Trigger, channel: Channel = Channel.SMS, **more: object
    ) -> None:
        fields: dict[str, object] = {
            "id": id_, "company": company, "kind": RuleKind.NOTIFICATION, "entity": kind, "trigger": trigger,
            "channel": channel, "template_id": "plain", "version": 1,
        }  # fmt: skip
        made.append(Rule(**(fields | more)))  # type: ignore[arg-type]  # a wrong field fails at once

    def remind(id_: str, kind: EntityKind, minutes: int, channel: Channel = Channel.SMS) -> None:
        made.append(
            Rule(
                id=id_,
                company=company,
                kind=RuleKind.REMINDER,
                entity=kind,
                trigger=Trigger.BEFORE_TIME,
                offset=minutes,
                offset_unit=Unit.MINUTES,
                channel=channel,
                template_id="timed",
                version=1,
            )
        )

    order, visit, lead = EntityKind.ORDER, EntityKind.APPOINTMENT, EntityKind.LEAD
    notify("o-created", order, Trigger.CREATED)
    notify("o-ready", order, Trigger.STATUS_CHANGED_TO, status_id="order-ready")
    notify("o-status", order, Trigger.STATUS_CHANGED, Channel.EMAIL, delay=7, only_if_still=True)
    notify("v-created", visit, Trigger.CREATED, Channel.EMAIL, delay=2)
    notify("v-moved", visit, Trigger.TIME_CHANGED, template_id="timed")
    notify("v-status", visit, Trigger.STATUS_CHANGED, working_hours_only=True)
    notify("l-created", lead, Trigger.CREATED, delay=1, delay_unit=Unit.HOURS)
    remind("v-60", visit, 60)
    remind("v-30", visit, 30, Channel.EMAIL)
    remind("v-120", visit, 120)
    remind("o-45", order, 45)
    return made


def phone(company: str, customer: str) -> str:
    return f"+4850{len(company)}{sum(company.encode()) % 10}{sum(customer.encode()):04d}1"


def _customers(company: str, random: Random) -> list[Item]:
    made: list[Item] = []
    for name in ("ann", "ben"):
        first = 0.2 if random.random() < 0.8 else random.uniform(1, LENGTH / 2)
        flags = (True, True)
        for version in range(1, 1 + random.choice((1, 1, 1, 2, 3))):
            record = Customer(
                company=company,
                customer_id=name,
                name=f"{name} of {company}",
                phone=phone(company, name),
                email=f"{name}@{company}.example",
                language="en",
                sms_consent=flags[0],
                email_consent=flags[1],
                version=version,
            )
            at = first if version == 1 else random.uniform(first, LENGTH)
            made.append(Publish(at, "customer-consents", customer_key(company, name), record))
            flags = (random.random() < 0.6, random.random() < 0.6)
    return made


# --- entities ---------------------------------------------------------------------------------------


def _life(company: str, topic: str, entity_id: str, random: Random) -> list[Item]:
    """The changes of one entity as its publisher sends them: some twice, some late, some never."""
    kind = KINDS[topic]
    facts = Facts(
        status_id=status_id(kind, "new"),
        customer_id=random.choice(("ann", "ben")),
        location_id=random.choice(("north", "")),
        scheduled_at=_moment(random, 0.0) if kind is not EntityKind.LEAD and random.random() < 0.8 else None,
    )
    at = random.uniform(1.0, LENGTH * 0.6)
    before: Facts | None = None
    first = random.choice((Operation.CREATE, Operation.CREATE, Operation.CREATE, Operation.READ))
    made: list[Publish] = []
    for version in range(1, 1 + random.randint(1, 5)):
        operation = first if version == 1 else Operation.UPDATE
        if version > 1:
            before, facts = facts, _changed(facts, kind, at, random)
            if random.random() < 0.06:
                operation = Operation.DELETE
        old = random.random() < 0.04
        change = Change(
            company=company,
            entity_id=entity_id,
            operation=operation,
            event_id=f"{entity_id}-{version}",
            version=version,
            occurred_at=EPOCH + int(at * 1000) - (48 * 60 * MINUTE if old else random.randint(0, 3_000)),
            before=before if random.random() < 0.6 else None,
            after=None if operation is Operation.DELETE else facts,
            details=Details(title=f"{company} {entity_id} v{version}"),
        )
        made.append(Publish(at, topic, entity_key(company, entity_id), change))
        if operation is Operation.DELETE:
            break
        at += random.choice((0.0, 0.3, random.uniform(1, 120), random.uniform(60, 1_500)))
    return _as_sent(made, random)


def _ambush(company: str, rules: list[Rule], random: Random) -> list[Item]:
    """Several reminders of one moment, on a paced channel; while they queue, something is withdrawn."""
    mine = [rule for rule in rules if rule.company == company and rule.kind is RuleKind.REMINDER]
    visits = [rule for rule in mine if rule.entity is EntityKind.APPOINTMENT]
    if not visits:
        return []
    rule = random.choice(visits)
    due = random.randint(2, 7) * 600.0
    made: list[Item] = []
    later: list[Item] = []
    for number in range(random.randint(3, 5)):
        facts = Facts(
            status_id="appointment-new",
            customer_id="ann",
            scheduled_at=EPOCH + int(due * 1000) + rule.offset * MINUTE,
        )
        for version in (1, 2):
            at = random.uniform(1.0, due - 60) if version == 1 else due + random.uniform(0.5, 20)
            change = Change(
                company=company,
                entity_id=f"a{number}",
                operation=Operation.CREATE
                if version == 1
                else random.choice((Operation.UPDATE, Operation.DELETE)),
                event_id=f"a{number}-{version}",
                version=version,
                occurred_at=EPOCH + int(at * 1000),
                after=facts,
                details=Details(title=f"{company} a{number} v{version}"),
            )
            if version == 2:
                gone = msgspec.structs.replace(facts, status_id="appointment-gone")
                after = None if change.operation is Operation.DELETE else gone
                change = msgspec.structs.replace(change, after=after)
            item = Publish(at, "appointments", entity_key(company, f"a{number}"), change)
            (made if version == 1 else later).append(item)
    no = Customer(
        company=company, customer_id="ann", name=f"ann of {company}", phone=phone(company, "ann"),
        email=f"ann@{company}.example", language="en", version=9,
    )  # fmt: skip
    moment = due + random.uniform(0.5, 15)
    later.append(Publish(moment, "customer-consents", customer_key(company, "ann"), no))
    off = msgspec.structs.replace(rule, enabled=False, version=9, changed_at=EPOCH + int(moment * 1000))
    later.append(Publish(moment, "rules", reference_key(company, rule.id), off))
    return made + random.sample(later, random.randint(1, 3))


def _as_sent(made: list[Publish], random: Random) -> list[Item]:
    sent: list[Item] = []
    for number, item in enumerate(made):
        draw = random.random()
        if draw < 0.04 and number:
            continue  # lost by the publisher
        late = random.uniform(0.5, 300) if draw > 0.93 else 0.0  # overtaken by newer ones
        sent.append(msgspec_replace(item, item.at + late))
        if random.random() < 0.15:
            sent.append(msgspec_replace(item, item.at + late + random.uniform(0, 600)))
    return sent


def msgspec_replace(item: Publish, at: float) -> Publish:
    return Publish(at, item.topic, item.key, item.value)


def _changed(facts: Facts, kind: EntityKind, at: float, random: Random) -> Facts:
    what = random.random()
    if what < 0.4:
        name = random.choice(("new", "ready", "ready", "done", "gone"))
        return msgspec.structs.replace(facts, status_id=status_id(kind, name))
    if what < 0.75 and kind is not EntityKind.LEAD:
        moment = None if random.random() < 0.1 else _moment(random, at)
        return msgspec.structs.replace(facts, scheduled_at=moment)
    if what < 0.9:
        return msgspec.structs.replace(facts, customer_id="ben" if facts.customer_id == "ann" else "ann")
    return facts


def _moment(random: Random, at: float) -> int:
    """Times that come again, so that some are moved away and back."""
    return EPOCH + int(at // 1_800) * 30 * MINUTE + random.choice((40, 60, 75, 90, 150, 240)) * MINUTE


# --- what else --------------------------------------------------------------------------------------


def _edits(company: str, rules: list[Rule], random: Random) -> list[Item]:
    made: list[Item] = []
    mine = [rule for rule in rules if rule.company == company]
    for _ in range(random.choice((0, 0, 1, 1, 2))):
        rule = random.choice(mine)
        at = random.uniform(1, LENGTH)
        key = reference_key(company, rule.id)
        if random.random() < 0.15:
            made.append(Publish(at, "rules", key, None))
            mine = [other for other in mine if other.id != rule.id]
        else:
            again = _edited(rule, at, random)
            mine = [again if other.id == rule.id else other for other in mine]
            made.append(Publish(at, "rules", key, again))
        if not mine:
            break
    if random.random() < 0.3:
        unused = [r for r in _rules(company) if r.id not in {rule.id for rule in rules}]
        at = random.uniform(1, LENGTH)
        for rule in unused[:1]:
            new = msgspec.structs.replace(rule, changed_at=EPOCH + int(at * 1000))
            made.append(Publish(at, "rules", reference_key(company, rule.id), new))
    return made


def _edited(rule: Rule, at: float, random: Random) -> Rule:
    more: dict[str, object] = {"version": rule.version + 1, "changed_at": EPOCH + int(at * 1000)}
    what = random.random()
    if what < 0.3:
        more["enabled"] = not rule.enabled
    elif rule.kind is RuleKind.REMINDER and what < 0.8:
        more["offset"] = random.choice((20, 40, 60, 90, 150))
    elif what < 0.9:
        more["channel"] = Channel.SMS if rule.channel is Channel.EMAIL else Channel.EMAIL
    return msgspec.structs.replace(rule, **more)


def _poison(companies: list[str], random: Random) -> list[Item]:
    made: list[Item] = []
    for _ in range(random.choice((0, 0, 1, 2))):
        topic = random.choice(("orders", "appointments", "customer-consents", "timers", "consents"))
        value = random.choice(POISON)
        key = entity_key(random.choice(companies), "e0")
        made.append(Publish(random.uniform(1, LENGTH), topic, key, value))
    return made


def _faults(
    setting: Setting,
    random: Random,
    sites: Sequence[str],
    seed: int,
    moments: Sequence[float],
    *,
    zombies: bool,
) -> list[Item]:
    def when() -> float:
        """Mostly soon after something else has happened or become due."""
        if random.random() < 0.3:
            return random.uniform(0.0, LENGTH)
        return random.choice(moments) + random.random() ** 2 * 3.0

    made: list[Item] = []
    machines = [f"m{number}" for number in range(setting.machines)]
    for number in range(random.choice((0, 1, 1, 2, 3))):
        disk = random.choice(("keep", "keep", "flush", "flush", "lose", "damage", "ahead"))
        site = ""
        if sites and random.random() < 0.7:
            # Consecutive seeds take the awaits in turn, so that a few hundred seeds meet them all.
            site = sites[(seed * 2 + number) % len(sites)]
        at = 0.0 if random.random() < (0.6 if site else 0.1) else when()
        if site and random.random() < 0.5:  # partitions move, and with them what only then is awaited
            soon = at + random.uniform(0.5, 60)
            made.append(Fault(soon, "stop", random.choice(machines), random.uniform(0.5, 40)))
        how = f"{disk}@{site}" if site else disk
        made.append(
            Fault(
                at, "kill", random.choice(machines), random.uniform(0.5, 40), how, random.choice((0, 0, 1, 3))
            )
        )
    if random.random() < 0.3:
        made.append(Fault(when(), "stop", random.choice(machines), random.uniform(0.5, 40)))
    for _ in range(random.choice((0, 1, 1, 2))):
        channel = random.choice(("sms", "email"))
        mode = random.choice(MODES)
        made.append(Fault(when(), "provider", channel, random.uniform(5, 400), mode))
    if random.random() < 0.3:
        made.append(Fault(when(), "broker", "trouble", random.uniform(5, 200)))
    if random.random() < 0.2:
        made.append(Fault(when(), "broker", "slow", random.uniform(5, 200)))
    for _ in range(random.choice((0, 1, 2))):
        made.append(Fault(when(), "compact"))
    if random.random() < 0.2:
        made.append(Fault(when(), "tables", random.choice(machines), random.uniform(5, 90)))
    if random.random() < 0.25:
        at = when()
        made.append(Fault(at, "rewind"))
        made.append(Fault(at + 0.1, "stop", random.choice(machines), random.uniform(0.5, 40)))
    lapses = sum(isinstance(i, Fault) and i.how.endswith(_OWNED) for i in made) * 6
    for _ in range(lapses or random.choice((0, 0, 0, 0, 1))):
        made.append(Fault(when(), "silent", random.choice(machines), random.uniform(8.5, 9.9)))
    if zombies and random.random() < 0.5:
        made.append(Fault(when(), "freeze", random.choice(machines), random.uniform(1, 60)))
    return made


def _short(value: Record | bytes | None) -> str:
    if isinstance(value, Change):
        after = value.after
        facts = ""
        if after is not None:
            moment = (after.scheduled_at - EPOCH) / 1000 if after.scheduled_at is not None else None
            facts = f" -> {after.status_id} {after.customer_id} at {moment} s {after.location_id}"
        had = " (with before)" if value.before is not None else ""
        return f"{value.company} {value.entity_id} v{value.version} {value.operation}{facts}{had}"
    if isinstance(value, Customer):
        consent = f"sms={value.sms_consent} email={value.email_consent}"
        return f"{value.company} {value.customer_id} v{value.version} {consent}"
    if isinstance(value, Rule):
        reminder = value.kind is RuleKind.REMINDER
        when = f"offset={value.offset}" if reminder else f"{value.trigger}+{value.delay}"
        state = "" if value.enabled else " DISABLED"
        return f"{value.company} {value.id} v{value.version} {value.channel} {when}{state}"
    return repr(value)[:90]
