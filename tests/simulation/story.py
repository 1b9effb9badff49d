"""What happens in one run, drawn from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import msgspec

from schemas.records import Change, Customer, Details, EntityKind, Facts, Operation, Rule, RuleKind
from streams.domain.ids import customer_key, entity_key, reference_key
from tests.simulation.faults import PACED, faults
from tests.simulation.items import (
    ANY,
    EPOCH,
    KINDS,
    LENGTH,
    MINUTE,
    POISON,
    Fault,
    Item,
    Publish,
    Setting,
    Story,
)
from tests.simulation.shop import ODD, edits, phone, shop, status_id


def story(seed: int, *, sites: Sequence[str] = (), ambush: bool = False, shuffled: bool = False) -> Story:
    """``sites``: the awaits at which a worker may be killed (``tests.simulation.awaits``). ``shuffled``:
    every second change comes late, or twice."""
    random = Random(seed)
    companies = ["acme", "bolt"][: random.choice((1, 1, 2))]
    setting = Setting(
        random.choice((1, 2, 2, 3)),
        random.choice((1, 2, 5, 20)),
        random.choice((0.0, 0.0, 0.0, 2.0)),
        later=random.random() < 0.05,
    )
    reference = [item for company in companies for item in shop(company, random)]
    rules = [item.value for item in reference if isinstance(item.value, Rule)]
    items: list[Item] = []
    for company in companies:
        items += _customers(company, random)
        for number in range(random.randint(1, 3)):
            topic = random.choice(
                ("appointments", "appointments", "appointments", "orders", "orders", "leads")
            )
            items += _life(company, topic, f"e{number}", random, shuffled)
        items += edits(company, reference, random)
    queues = bool(sites) and (
        sites[seed % len(sites)].endswith(PACED) or sites[seed % len(sites)].startswith("sender_partition")
    )
    if random.random() < (1.0 if ambush else 0.7 if queues else 0.2):
        items += _ambush(companies[0], rules, random, setting.machines)
        setting = replace(setting, rate=0.2, in_flight=20)
    items += _poison(companies, random)
    moments = [item.at for item in items] + [900.0 * number for number in range(1, 7)]
    items += faults(setting, random, sites, seed, moments)
    targets = [item.how for item in items if isinstance(item, Fault) and item.to == ANY]
    if any(how.endswith(PACED) for how in targets) or (targets and random.random() < 0.3):
        setting = replace(setting, rate=0.2)
    if any(how.endswith("_once#4") for how in targets):  # memories are dropped after 35 days
        setting = replace(setting, later=True)
    return Story(seed, setting, tuple(reference), tuple(sorted(items, key=lambda item: item.at)))


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


def _life(company: str, topic: str, entity_id: str, random: Random, shuffled: bool) -> list[Item]:
    """The changes of one entity as its publisher sends them: some twice, some late, some never."""
    kind = KINDS[topic]
    facts = Facts(
        status_id=status_id(kind, "new"),
        customer_id=random.choice(("ann", "ben")),
        location_id=random.choice(("north", "north", "", "south")),
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
    return _as_sent(made, random, shuffled)


def _ambush(company: str, rules: list[Rule], random: Random, machines: int) -> list[Item]:
    """Several reminders of one moment, on a paced channel; while they queue, something is withdrawn. Or
    nobody is there at that moment, and the withdrawal lies unread when the reminders are overdue."""
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
    made += random.sample(later, random.randint(1, 3))
    draw = random.random()
    if draw < 0.4:
        made += [Fault(due - 1.0, "stop", f"m{number}", 25.0) for number in range(machines)]
    elif draw < 0.6:
        made += [Fault(due + random.uniform(1, 30), "stop", f"m{number}", 5.0) for number in range(machines)]
    return made


def _as_sent(made: list[Publish], random: Random, shuffled: bool) -> list[Item]:
    sent: list[Item] = []
    for number, item in enumerate(made):
        draw = random.random()
        if draw < 0.04 and number:
            continue  # lost by the publisher
        late = (
            random.uniform(0.5, 300) if draw > (0.5 if shuffled else 0.93) else 0.0
        )  # overtaken by newer ones
        sent.append(msgspec_replace(item, item.at + late))
        if random.random() < (0.5 if shuffled else 0.15):
            sent.append(msgspec_replace(item, item.at + late + random.uniform(0, 600)))
    return sent


def msgspec_replace(item: Publish, at: float) -> Publish:
    return Publish(at, item.topic, item.key, item.value)


def _changed(facts: Facts, kind: EntityKind, at: float, random: Random) -> Facts:
    what = random.random()
    if what < 0.4:
        name = random.choice(("new", "ready", "ready", "ready", "done", "gone", ODD))
        return msgspec.structs.replace(facts, status_id=status_id(kind, name))
    if what < 0.75 and kind is not EntityKind.LEAD:
        moment = None if random.random() < 0.1 else _moment(random, at)
        return msgspec.structs.replace(facts, scheduled_at=moment)
    if what < 0.88:
        return msgspec.structs.replace(facts, customer_id="ben" if facts.customer_id == "ann" else "ann")
    if what < 0.95:
        return msgspec.structs.replace(facts, location_id=random.choice(("north", "south", "")))
    return facts


def _moment(random: Random, at: float) -> int:
    """Times that come again, so that some are moved away and back."""
    return EPOCH + int(at // 1_800) * 30 * MINUTE + random.choice((40, 60, 75, 90, 150, 240)) * MINUTE


# --- what else --------------------------------------------------------------------------------------


def _poison(companies: list[str], random: Random) -> list[Item]:
    made: list[Item] = []
    for _ in range(random.choice((0, 0, 1, 2))):
        topic = random.choice(("orders", "appointments", "customer-consents", "timers", "consents"))
        value = random.choice(POISON[:-1] if topic == "consents" else POISON)
        key = entity_key(random.choice(companies), "e0")
        made.append(Publish(random.uniform(1, LENGTH), topic, key, value))
    return made
