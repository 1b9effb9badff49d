"""The demo's clock, and when it may move: only when nothing moves any more in the pipeline.

A worker says on ``/status`` how far it has read and what it still has to do; the broker says where the
topics end. The status is read first: if it has reached ends that were read after it, then nothing was
written in between, and nothing will be before the clock moves.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from console.demo.processes import DemoError
from streams.clock import FileClock

Positions = Mapping[str, Mapping[int, int]]

_POLL = 0.01
_STALLED_AFTER = 90.0
"""Real seconds without any change before the demo gives up: longer than a worker's start or a rebalance
takes on a slow machine."""


@dataclass(frozen=True, slots=True)
class Status:
    """What one worker says of itself."""

    ready: bool
    now: int
    positions: Mapping[str, Mapping[int, int]]
    next_due: int | None
    in_flight: int
    queued: int
    sweeping: int
    pending: int

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Status:
        return cls(
            ready=bool(data["ready"]),
            now=int(data["now"]),
            positions={
                topic: {int(number): int(offset) for number, offset in offsets.items()}
                for topic, offsets in data["positions"].items()
            },
            next_due=data["next_due"],
            in_flight=int(data["in_flight"]),
            queued=int(data["queued"]),
            sweeping=int(data["sweeping"]),
            pending=int(data["pending"]),
        )


def undone(statuses: Sequence[Status], ends: Positions, *, everywhere: frozenset[str], now: int) -> list[str]:
    """What still moves, in words; empty when the pipeline is drained.

    A partition is read by whichever worker has it; topics in ``everywhere`` by every worker.
    """
    found = []
    for number, status in enumerate(statuses, 1):
        if not status.ready:
            found.append(f"worker {number} is starting")
        if status.now < now:
            found.append(f"worker {number} has not seen the clock move")
        for what in ("in_flight", "queued", "sweeping"):
            count = getattr(status, what)
            if count:
                found.append(f"worker {number}: {what} {count}")
        if status.next_due is not None and status.next_due <= now:
            found.append(f"worker {number} has a message due")
    for topic, partitions in ends.items():
        choose = min if topic in everywhere else max
        for partition, end in partitions.items():
            at = choose((status.positions.get(topic, {}).get(partition, 0) for status in statuses), default=0)
            if at < end:
                found.append(f"{topic}/{partition}: {at} of {end}")
    return found


class Workers(Protocol):
    """Who is asked. ``statuses`` leaves out a worker that does not answer yet; ``check`` raises DemoError
    when one has ended."""

    count: int

    def statuses(self) -> list[Status]: ...

    def check(self) -> None: ...


class Driver:
    """Moves the clock. ``ends`` reads the ends of all topics that workers consume."""

    def __init__(
        self, clock: FileClock, workers: Workers, ends: Callable[[], Positions], everywhere: Iterable[str]
    ) -> None:
        self._clock = clock
        self._workers = workers
        self._ends = ends
        self._everywhere = frozenset(everywhere)
        self.steps = 0

    @property
    def now(self) -> int:
        return self._clock.now()

    def drain(self) -> list[Status]:
        """Returns when nothing moves any more: the workers' statuses. Raises DemoError on a stall."""
        last: list[str] = []
        until = time.monotonic() + _STALLED_AFTER
        while True:
            statuses = self._workers.statuses()
            left = undone(statuses, self._ends(), everywhere=self._everywhere, now=self.now)
            if len(statuses) < self._workers.count:
                left.append(f"{self._workers.count - len(statuses)} worker(s) do not answer")
            if not left:
                return statuses
            if left != last:
                last, until = left, time.monotonic() + _STALLED_AFTER
            if time.monotonic() > until:
                raise DemoError("the pipeline does not drain: " + "; ".join(left[:6]))
            self._workers.check()
            time.sleep(_POLL)

    def move(self, to: int) -> None:
        """Sets the clock. The caller has drained, or means to move it under a working pipeline."""
        self._clock.set(to)
        self.steps += 1


def next_due(statuses: Iterable[Status]) -> int | None:
    """The earliest moment at which any worker has something to do."""
    return min((status.next_due for status in statuses if status.next_due is not None), default=None)


class StatusClient:
    """``GET /status`` of one worker over a connection that is kept."""

    def __init__(self, host: str, port: int) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=10)

    def read(self) -> Status | None:
        """None when the worker does not answer (it is starting, or was killed)."""
        try:
            self._connection.request("GET", "/status")
            answer = self._connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return None
        return Status.of(json.loads(body)) if answer.status == http.client.OK else None

    def close(self) -> None:
        self._connection.close()
