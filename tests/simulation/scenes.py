"""Directed stories: short ones in which a worker gets to the rarer awaits, several times over.

Every few minutes something falls due, and whatever leads to an await happens around that moment. What is told
of is drawn from the seed as in any story, and judged by the same promises.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random

import msgspec

from schemas.records import Change, Company, Customer, Details, EntityKind, Facts, Operation, Rule
from streams.domain.ids import customer_key, entity_key, reference_key
from tests.simulation.items import ANY, DEADLY, EPOCH, KINDS, MINUTE, Fault, Item, Publish, Setting, Story
from tests.simulation.shop import phone, rules, shop, status_id

COMPANY = "acme"
MOMENTS = tuple(300.0 * number for number in range(1, 7))
LENGTH = 2_400.0
DISKS = ("keep", "keep", "flush", "flush", "lose", "damage", "rotten", "old", "other", "format")

_TRAITS: Sequence[tuple[tuple[str, ...], str]] = (
    # Somebody holds the lock of a partition, for long, and somebody else wants it.
    (("entity_partition.EntityPartition._sweep_once#1",), "away edits many"),
    (("entity_partition.EntityPartition.batch#2", "steps."), "slow edits many"),
    (("EntityPartition.look#1", "SenderPartition.look#1"), "slow quick edits many"),
    (("EntityPartition.look#2", "PartitionStore.look#"), "quick zombies still"),
    (("SenderPartition.look#2", "PartitionStore.commit#3", "_write_over#1"), "quick zombies"),
    (("EntityPartition.pause#2", "SenderPartition.pause#2"), "away edits many stops"),
    (("SenderPartition.pause#5",), "junk away stops answers many"),
    (("SenderPartition.pause#",), "stops answers many"),
    (("SenderPartition._once#2",), "unknown"),
    (("SenderPartition.timers#3", "SenderPartition.consents#3", "SenderPartition._once#"), "slow edits many"),
    (("EntityPartition.say_again#1",), "clock slow restless flood"),
    (("SenderPartition.say_again#1",), "crowd clock slow restless flood"),
    (("SenderPartition.say_again#2",), "crowd clock quick"),
    (("until_clock", "timely"), "clock quick many edits"),
    (("say_again", "lookout.Lookout.look#3"), "clock quick"),
    # Ownership, and who else writes.
    (("_may_claim#1", "PartitionStore._claim#1"), "slow moves silent sleepers many"),
    (("gate.", "SenderPartition._send#2"), "slow silent many"),
    (
        ("PartitionStore._claim#", "PartitionStore.commit#2", "PartitionStore._look_back"),
        "zombies wakes trouble",
    ),
    (("PartitionStore._restore#5",), "ahead"),
    (("PartitionStore.restore#2",), "rotten"),
    (("PartitionStore._survey#1", "PartitionStore._restore#2"), "other"),
    (("host.Host.pause#1", "host.Host.close#1"), "slow stops answers many moves"),
    (("host.Host.resume#1", "host.Host._resume.open_#3"), "slow moves sleepers many"),
    (("host.",), "moves slow"),
    (("Quarantine.guarded.careful#1",), "deadly reread"),
    (("Quarantine._one_by_one#1",), "deadly two slow"),
    (("quarantine.",), "deadly slow"),
    (("EntityPartition._carry_out#1",), "handed"),
    (("SenderPartition.consents#1",), "fresh"),
    (("_inquire", "_answers#2"), "unknown"),
    (("suppressions", "SenderPartition._round#2"), "gone"),
    (("dead_letters", "rekey#2", "timers#2", "events#2", "consents#2", "_decode"), "junk slow"),
    (("outputs.Outputs.send#2", "patience."), "trouble"),
    (("lookout.",), "quick"),
)
"""By parts of the names of awaits: what leads there."""


def traits(site: str) -> frozenset[str]:
    for parts, some in _TRAITS:
        if any(part in site for part in parts):
            return frozenset(some.split())
    return frozenset(("moves", "edits"))


def scene(seed: int, site: str) -> Story:
    """Somebody dies at ``site``, if anybody gets there."""
    fault = Fault(0.0, "kill", ANY, 2.0, f"{Random(seed).choice(DISKS)}@{site}")
    return replace(drawn(seed, traits(site), [fault], later=site.endswith("_once#4")), scene=site)


def drawn(seed: int, some: frozenset[str], faults: Sequence[Item] = (), *, later: bool = False) -> Story:
    """A day of these traits, and ``faults``."""
    random = Random(seed * 7 + 3)
    machines = 2 + ("fresh" in some or ("moves" in some and random.random() < 0.5))
    if "deadly" in some:
        machines = 1
    elif "crowd" in some:
        machines = 8  # most of them have one partition each
    names = [f"m{number}" for number in range(machines)]
    lookout = 1.0 if "restless" in some else 15.0 if "quick" in some else 200.0
    setting = Setting(machines, 20, 0.0, later=later, length=LENGTH, lookout=lookout)
    reference = _shop(random)
    items: list[Item] = [*faults, *_customers(some, names, random)]
    wanted = [item.value for item in reference if isinstance(item.value, Rule)]
    for number, moment in enumerate(MOMENTS):
        items += _burst(number, moment, some, wanted, random)
        items += _harm(moment, some, names, random)
    if "amnesia" in some:
        items.append(Fault(LENGTH - 100.0, "compact"))
        items += [Fault(LENGTH - 90.0, "kill", name, 1.0, "lose") for name in names]
    if "deadly" in some:
        items += _deadly(some, random)
    if "trouble" in some:
        items.append(Fault(0.0, "broker", "trouble", 30.0))
    for channel in ("sms", "email"):
        if "unknown" in some:
            items.append(Fault(1.0, "provider", channel, LENGTH, random.choice(("times_out", "late"))))
        elif "gone" in some:
            items.append(Fault(1.0, "provider", channel, LENGTH, "gone"))
    return Story(seed, setting, tuple(reference), tuple(sorted(items, key=lambda item: item.at)))


def _shop(random: Random) -> list[Publish]:
    """The company with the rules that speak at once, and some reminders."""
    made = [_open(item) for item in shop(COMPANY, random) if item.topic != "rules"]
    for rule in rules(COMPANY):
        if rule.id in {"o-created", "v-moved", "v-30", "v-60", "v-120"}:
            made.append(Publish(0.0, "rules", reference_key(COMPANY, rule.id), rule))
    return made


def _open(item: Publish) -> Publish:
    """Nothing is held."""
    if isinstance(item.value, Company):
        return Publish(item.at, item.topic, item.key, msgspec.structs.replace(item.value, quiet_hours=()))
    return item


def _customers(some: frozenset[str], machines: Sequence[str], random: Random) -> Iterator[Item]:
    first = 30.0 if "fresh" in some else 0.2
    for name in ("ann", "ben"):
        record = Customer(
            company=COMPANY, customer_id=name, name=f"{name} of {COMPANY}", phone=phone(COMPANY, name),
            email=f"{name}@{COMPANY}.example", language="en", sms_consent=True, email_consent=True, version=1,
        )  # fmt: skip
        key = customer_key(COMPANY, name)
        yield Publish(first, "customer-consents", key, record)
        if "forgotten" in some and name == "ann":
            moment = random.choice(MOMENTS[1:4])
            yield Publish(moment, "customer-consents", key, None)
            yield from (Fault(moment - 20.0, "stop", machine, 30.0) for machine in machines)
            continue
        for version, moment in enumerate(MOMENTS, start=2):
            again = msgspec.structs.replace(record, version=version)
            at = moment + random.uniform(0.0, 3.0)
            yield Publish(at, "customer-consents", key, again)


def _burst(
    number: int, moment: float, some: frozenset[str], wanted: Sequence[Rule], random: Random
) -> Iterator[Item]:
    """Reminders fall due, orders come in, appointments are moved."""
    busy = 3 if "many" in some else 1
    for index in range(busy):
        facts = Facts(
            status_id=status_id(EntityKind.APPOINTMENT, "new"),
            customer_id=random.choice(("ann", "ben")),
            location_id="north",
            scheduled_at=EPOCH + int(moment * 1000) + random.choice((30, 60, 120)) * MINUTE,
        )
        yield _change(
            "appointments", f"v{number}{index}", 1, random.uniform(1.0, moment - 100.0), facts, random
        )
        if random.random() < 0.5:
            assert facts.scheduled_at is not None
            moved = msgspec.structs.replace(facts, scheduled_at=facts.scheduled_at + 150 * MINUTE)
            at = moment + random.uniform(0.0, 5.0)
            yield _change("appointments", f"v{number}{index}", 2, at, moved, random)
    for index in range(30 if "flood" in some else busy):
        at = moment + random.uniform(0.0, 60.0 if "flood" in some else 3.0)
        order = Facts(status_id="order-new", customer_id=random.choice(("ann", "ben")), location_id="north")
        yield _change("orders", f"o{number}{index}", 1, at, order, random)
        if "flood" in some:
            visit = msgspec.structs.replace(order, status_id="appointment-new")
            yield _change("appointments", f"f{number}{index}", 1, at, visit, random)
        if "handed" in some:
            other = msgspec.structs.replace(order, customer_id="ben" if order.customer_id == "ann" else "ann")
            yield _change("orders", f"o{number}{index}", 2, at + random.uniform(0.0, 30.0), other, random)
    if "far" in some:
        for index in range(3):
            facts = Facts(
                status_id="appointment-new", customer_id=random.choice(("ann", "ben")), location_id="north",
                scheduled_at=EPOCH + int(moment * 1000) + 240 * MINUTE,
            )  # fmt: skip
            at = moment + random.uniform(-1.0, 1.0)
            yield _change("appointments", f"w{number}{index}", 1, at, facts, random)
    if "edits" in some:
        rule = next(rule for rule in wanted if rule.id == "v-120")
        for version in range(2):
            at = moment + random.uniform(0.0, 3.0)
            edited = msgspec.structs.replace(
                rule, version=2 + 2 * number + version, offset=120 + 2 * number + version,
                changed_at=EPOCH + int(at * 1000),
            )  # fmt: skip
            yield Publish(at, "rules", reference_key(COMPANY, rule.id), edited)
    if "junk" in some:
        for topic in ("timers", "consents", "customer-consents", "orders", "provider-events"):
            key = random.choice((b"acme/ann", b"acme/ben"))
            yield Publish(moment + random.uniform(0.0, 3.0), topic, key, b"junk")


def _change(topic: str, entity: str, version: int, at: float, after: Facts, random: Random) -> Publish:
    change = Change(
        company=COMPANY,
        entity_id=entity,
        operation=Operation.CREATE if version == 1 else Operation.UPDATE,
        event_id=f"{entity}-{version}",
        version=version,
        occurred_at=EPOCH + int(at * 1000) - random.randint(0, 500),
        after=after,
        details=Details(title=f"{COMPANY} {entity} v{version}"),
    )
    assert topic in KINDS
    return Publish(at, topic, entity_key(COMPANY, entity), change)


def _harm(moment: float, some: frozenset[str], machines: Sequence[str], random: Random) -> Iterator[Item]:
    one = random.choice(machines)
    if "answers" in some:
        for channel in ("sms", "email"):
            mode = random.choice(("times_out", "times_out", "late", "mixed"))
            yield Fault(moment - 5.0, "provider", channel, 60.0, mode)
    if "slow" in some:
        yield Fault(moment - 10.0, "broker", "slow", 60.0)
    if "away" in some:
        # Long enough for whoever waits for a step to be told to stop.
        away = random.uniform(0.5, 3.0)
        yield Fault(moment + away, "broker", "away", 20.0)
        yield Fault(moment + away + 20.1, "broker", "slow", 30.0)
    if "trouble" in some:
        yield Fault(moment + random.uniform(-2.0, 3.0), "broker", "trouble", 40.0)
    if "stops" in some:
        for machine in machines:
            yield Fault(moment + random.uniform(0.5, 16.0), "stop", machine, 3.0)
    if "moves" in some:
        for machine in machines[:-1]:
            yield Fault(moment + random.uniform(0.0, 20.0), "stop", machine, random.uniform(0.5, 10.0))
    if "sleepers" in some:
        site = random.choice(("host.Host._resume.open_#2", "partition.PartitionStore._restore#7"))
        yield Fault(moment, "freeze", ANY, random.uniform(11.0, 16.0), f"@{site}", random.randint(0, 3))
    if "silent" in some:
        for machine in machines:
            for start in range(0, 40, 11):
                yield Fault(moment - 10.0 + start + random.uniform(0.0, 1.0), "silent", machine, 9.9)
    if "zombies" in some:
        slept = random.uniform(12.0, 16.0) if "wakes" not in some else 60.0
        yield Fault(
            moment - 1.0,
            "freeze",
            ANY,
            slept,
            "@partition.PartitionStore.commit#1",
            random.choice((0, 0, 1, 2)),
        )
        if "wakes" in some:
            site = random.choice(("partition.PartitionStore._claim#2", "partition.PartitionStore._read#1"))
            yield Fault(moment, "wake", ANY, 0.0, f"@{site}", random.randint(0, 8))
    if "clock" in some:
        yield Fault(moment - 5.0, "clock", one, 80.0)
    for disk in ("ahead", "rotten", "other"):
        if disk in some:
            yield Fault(moment + random.uniform(0.0, 20.0), "kill", one, 2.0, disk)


def _deadly(some: frozenset[str], random: Random) -> Iterator[Item]:
    """A record at which everybody dies, beside others or behind some that come again."""
    at = MOMENTS[0] + random.uniform(0.0, 0.3)
    key = random.choice((b"acme/ann", b"acme/ben"))
    if "two" in some:
        yield Publish(at + 150.0, "orders", key, DEADLY)
        yield Publish(at + 150.0, "timers", key, DEADLY)
    elif "reread" in some:
        forgotten = (Publish(at, "customer-consents", b"acme/nobody", None),) * 2
        for _ in range(6):
            yield from forgotten
        yield Publish(at, "customer-consents", b"acme/nobody", DEADLY)
    else:
        yield Publish(at, random.choice(("customer-consents", "orders", "timers")), key, DEADLY)
