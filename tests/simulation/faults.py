"""What goes wrong in a story: deaths at awaits, frozen workers, disks, brokers, providers, clocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from tests.simulation.items import ANY, DEADLY, LENGTH, Fault, Item, Publish, Setting
from tests.simulation.provider import MODES

DISKS = (
    "keep",
    "keep",
    "keep",
    "flush",
    "flush",
    "flush",
    "lose",
    "damage",
    "rotten",
    "ahead",
    "old",
    "other",
    "format",
)
ROUGH_TURN = 3
"""Of so many rounds through all awaits one is of rough days, that take longer."""
PACED = ("until_owned#1", "_send#2", "pause#3", "pause#4", "pause#5", "pause#6")
"""Awaits that are met, or met more often, where messages queue for their turn."""
_COMMIT = "partition.PartitionStore.commit#1"
LOCKED = ("host", "entity_partition", "sender_partition", "steps")
SILENT = ("until_owned#1", "_send#2")
"""Awaits that are met only while a worker hears nothing from its group."""


def faults(
    setting: Setting, random: Random, sites: Sequence[str], seed: int, moments: Sequence[float]
) -> list[Item]:
    """``sites``: the awaits at which workers die in turn, seed by seed; none: whenever it comes."""

    def when() -> float:
        """Mostly soon after something else has happened or become due."""
        if random.random() < 0.3:
            return random.uniform(0.0, LENGTH)
        return random.choice(moments) + random.random() ** 2 * 3.0

    machines = [f"m{number}" for number in range(setting.machines)]
    made: list[Item] = []
    if sites and random.random() < 0.8:
        site = sites[seed % len(sites)]
        made.append(_death(site, random))
        if (seed // len(sites)) % ROUGH_TURN == 0:
            made += provocation(machines, random, moments, when, site)
    for _ in range(random.choice((0, 0, 1, 1, 2))):
        how = random.choice(DISKS)
        made.append(Fault(when(), "kill", random.choice(machines), random.uniform(0.5, 40), how))
    if random.random() < 0.5:
        site = f"@{random.choice(sites)}" if sites and random.random() < 0.5 else ""
        made.append(Fault(when(), "freeze", random.choice(machines), random.uniform(1, 60), site))
    if random.random() < 0.3:
        made.append(Fault(when(), "stop", random.choice(machines), random.uniform(0.5, 40)))
    for _ in range(random.choice((0, 1, 1, 2))):
        mode = random.choice((*MODES, "mixed"))
        made.append(Fault(when(), "provider", random.choice(("sms", "email")), random.uniform(5, 400), mode))
    if random.random() < 0.3:
        made.append(Fault(when(), "broker", "trouble", random.uniform(5, 200)))
    if random.random() < 0.2:
        made.append(Fault(when(), "broker", "slow", random.uniform(5, 200)))
    if random.random() < 0.1:
        made.append(Fault(when(), "broker", "away", random.uniform(5, 60)))
    for _ in range(random.choice((0, 1, 2))):
        made.append(Fault(when(), "compact"))
    if random.random() < 0.2:
        made.append(Fault(when(), "tables", random.choice(machines), random.uniform(5, 90)))
    if random.random() < 0.25:
        at = when()
        made.append(Fault(at, "rewind"))
        made.append(Fault(at + 0.1, "stop", random.choice(machines), random.uniform(0.5, 40)))
    if random.random() < 0.2:
        made.append(Fault(when(), "silent", random.choice(machines), random.uniform(8.5, 9.9)))
    if random.random() < 0.1:
        made.append(Fault(when(), "clock", random.choice(machines), random.uniform(5, 300)))
    if random.random() < 0.1:
        topic = random.choice(("orders", "leads", "appointments", "customer-consents", "timers"))
        made.append(Fault(when(), "recreate", topic))
    return made


def _death(site: str, random: Random) -> Fault:
    """Whoever gets there first dies there: from the start, or at some later moment."""
    at = 0.0 if random.random() < 0.8 else random.uniform(0.0, LENGTH * 0.4)
    how = f"{random.choice(DISKS)}@{site}"
    return Fault(at, "kill", ANY, random.uniform(0.5, 40), how, random.choice((0, 0, 0, 1, 3)))


def provocation(
    machines: Sequence[str], random: Random, moments: Sequence[float], when: Callable[[], float], site: str
) -> list[Item]:
    """A rough day: partitions move, acknowledgements are lost, owners freeze and wake, providers are slow,
    and whatever else leads to the await."""
    made: list[Item] = []
    for _ in range(3):
        made.append(Fault(when(), "stop", random.choice(machines), random.uniform(0.5, 40)))
        made.append(Fault(when(), "broker", "trouble", random.uniform(20, 200)))
        made.append(Fault(when(), "freeze", random.choice(machines), random.uniform(12, 60)))
        mode = random.choice(("times_out", "times_out", "late", "gone", "mixed"))
        made.append(Fault(when(), "provider", random.choice(("sms", "email")), random.uniform(60, 900), mode))
    made.append(Fault(when(), "kill", random.choice(machines), 1.0, random.choice(DISKS)))
    for _ in range(8 if site.endswith(SILENT) else 1):
        made.append(Fault(when(), "silent", random.choice(machines), random.uniform(8.5, 9.9)))
    if site.startswith("quarantine") or random.random() < 0.2:
        topic = random.choice(("orders", "appointments", "customer-consents", "timers"))
        made.append(Publish(random.uniform(1.0, 600.0), topic, b"acme/e0", DEADLY))
        made.append(Publish(0.21, "customer-consents", random.choice((b"acme/ann", b"acme/ben")), DEADLY))
    if site.startswith(LOCKED) or random.random() < 0.1:
        # Steps wait for brokers that are away, and whatever else is to be done waits for the steps.
        at = random.choice((random.choice(moments) - 0.3, 600.0 * random.randint(2, 7) - 0.3))
        made.append(Fault(at, "broker", "away", 300.0))
        made.append(Fault(at, "clock", random.choice(machines), 400.0))
        if random.random() < 0.6:
            made += [Fault(at + random.uniform(2, 290), "stop", machine, 3.0) for machine in machines]
    if random.random() < 0.2:
        made.append(Fault(when(), "broker", "slow", 600.0))
    if site.endswith(("suppressions#1", "_round#2")):
        made += [Fault(1.0, "provider", channel, LENGTH, "gone") for channel in ("sms", "email")]
    if site.endswith(("timers#2", "consents#2")) or random.random() < 0.1:
        made += [
            Publish(random.uniform(1.0, LENGTH), topic, b"acme/ann", b"junk")
            for topic in ("timers", "consents")
        ]
    if "say_again" in site or random.random() < 0.1:
        made += [Fault(at, "clock", random.choice(machines), 900.0) for at in (1.0, 1_000.0, 2_000.0)]
    if site.startswith("partition") or random.random() < 0.3:
        for _ in range(3):  # what a former owner was writing arrives when there is another, who dies of it
            at = when()
            made.append(Fault(at, "freeze", ANY, random.uniform(13, 16), f"@{_COMMIT}"))
            if random.random() < 0.5:
                made.append(Fault(at + random.uniform(16, 30), "stop", random.choice(machines), 1.0))
    if site.startswith("partition") or random.random() < 0.2:
        made += [Fault(when(), "kill", random.choice(machines), 1.0, "ahead") for _ in range(2)]
    return made
