"""Scenes of hand-over, the same for every store of timers: how much later than its moment each timer is in
the hands of whoever acts on it. Nothing but the standard library: peers run it under a Python of their own.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol

Timer = tuple[str, int]
"""(``line-number``, due in milliseconds)."""

CROWD, COMPANY, CHANNEL, FAR = "crowd", "company", "channel", "far"
"""Lines: whom the burst is about, another company, another channel of the same company, and what is only
pending."""
BLOCK = 1_000
DAY = 24 * 3600 * 1000
BESIDE = 50
"""A second, of each line that a burst must not delay."""
BACKGROUND = 1_000
"""New timers a second, and as many moved, all the while."""
PATIENCE = 120.0
"""Seconds without any hand-over after which a store is given up."""


class Store(Protocol):
    def put(self, timers: Sequence[Timer]) -> None:
        """New ones."""

    def reschedule(self, timers: Sequence[Timer]) -> None:
        """To their new moments."""

    def due(self, now: int) -> Iterator[list[Timer]]:
        """Batches of what is due, with their payloads read, and taken out before they are given."""


@dataclass(frozen=True)
class Scene:
    name: str
    count: int
    window: int
    """Milliseconds over which the crowd's moments are spread."""
    after: int = 10_000
    """Milliseconds after that in which those beside it come too."""


@dataclass
class Played:
    """Lateness in milliseconds by line: how many, p50, p99, most."""

    who: str
    pending: int
    scene: str
    late: dict[str, list[float]] = field(default_factory=dict)
    background: int = 0
    """New and moved timers meanwhile."""
    load: float = 0.0
    """Of the machine, at the end."""


def scenes(steady: int, burst: int) -> list[Scene]:
    return [
        Scene("steady mixed load", steady, 15_000),
        Scene("spread over one second", burst, 1_000),
        Scene("in one instant", burst, 1),
    ]


def now_ms() -> float:
    return time.time_ns() / 1e6


def far_timers(count: int) -> Iterator[list[Timer]]:
    """``count`` timers that are due in the days to come, by 10,000."""
    begin = int(now_ms()) + DAY
    for first in range(0, count, 10_000):
        block = range(first, min(first + 10_000, count))
        yield [(f"{FAR}-{n}", begin + n * 2_654_435_761 % (30 * DAY)) for n in block]


def fill(store: Store, count: int) -> None:
    for timers in far_timers(count):
        store.put(timers)


class Play:
    """One scene after the other on one store, in which ``there`` timers are pending."""

    def __init__(self, who: str, store: Store, there: int) -> None:
        self._who = who
        self._store = store
        self._there = there
        self._filled = there
        self._next = 0
        self._dice = random.Random(1)

    def scene(self, scene: Scene) -> Played:
        """Raises ValueError when not everything came, once each."""
        timers, begin = self._timers(scene)
        end = begin + scene.window + scene.after
        expected = dict(timers)
        late: dict[str, list[float]] = {}
        background, heard = 0, time.monotonic()
        while expected:
            owed = int((min(now_ms(), end) - begin) / 1000 * BACKGROUND) - background
            if owed > 0:
                background += self._others(min(owed, BLOCK // 4))
            handed = False
            for batch in self._store.due(int(now_ms())):
                at, handed = now_ms(), True
                for name, due in batch:
                    if expected.pop(name, None) != due:
                        raise ValueError(f"{name} came again, or for another moment")
                    late.setdefault(name.partition("-")[0], []).append(at - due)
            if handed:
                heard = time.monotonic()
            elif time.monotonic() - heard > PATIENCE + (end - begin) / 1000:
                raise ValueError(f"{len(expected)} timers did not come")
            elif owed <= 0:
                time.sleep(0.001)
        if min(min(found) for found in late.values()) < -1:
            raise ValueError("a timer came before its moment")
        played = Played(self._who, self._there, scene.name, background=2 * background)
        played.load = os.getloadavg()[0]
        played.late = {line: summary(found) for line, found in late.items()}
        return played

    def _timers(self, scene: Scene) -> tuple[list[Timer], float]:
        """Puts the scene's timers into the store early enough; (all of them, when the first may be due)."""
        began = time.monotonic()
        self._others(BLOCK)
        lead = 2_000 + 4_000 * (time.monotonic() - began) / BLOCK * scene.count
        begin = int(now_ms() + lead)
        beside = BESIDE * (scene.window + scene.after) // 1000
        timers = [self._timer(CROWD, begin, scene.window) for _ in range(scene.count)]
        for line in (COMPANY, CHANNEL):
            timers += [self._timer(line, begin, scene.window + scene.after) for _ in range(beside)]
        timers.sort(key=lambda timer: timer[1])
        for first in range(0, len(timers), BLOCK):
            self._store.put(timers[first : first + BLOCK])
        if now_ms() > begin:
            raise ValueError(
                f"{scene.name}: to put {len(timers)} timers took longer than {lead / 1000:.0f} s"
            )
        return timers, begin

    def _timer(self, line: str, begin: int, window: int) -> Timer:
        self._next += 1
        return f"{line}-{self._next}", begin + self._dice.randrange(window)

    def _others(self, count: int) -> int:
        """So many new timers and as many moved, all in the days to come."""
        far = int(now_ms()) + 40 * DAY
        fresh = range(self._filled, self._filled + count)
        self._filled += count
        self._store.put([(f"{FAR}-{n}", far + n) for n in fresh])
        moved = {self._dice.randrange(self._filled) for _ in range(count)}
        self._store.reschedule([(f"{FAR}-{n}", far + n + 1) for n in moved])
        return count


def summary(found: Sequence[float]) -> list[float]:
    """How many, p50, p99, most."""
    ordered = sorted(found)
    return [len(ordered), ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)], ordered[-1]]


def play(
    who: str, store: Store, pending: int, steady: int, burst: int, runs: int, *, filled: bool = False
) -> Iterator[str]:
    """One JSON line for each scene of each run. ``filled``: what is pending is there already."""
    if not filled:
        fill(store, pending)
    stage = Play(who, store, pending)
    for scene in scenes(steady, burst) * runs:
        yield json.dumps(asdict(stage.scene(scene)))
