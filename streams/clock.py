"""Where ``now`` comes from. The loop reads it once and hands it down; nothing below reads a clock."""

from __future__ import annotations

import mmap
import struct
import time
from pathlib import Path
from typing import Protocol

_POLL = 0.01
"""Seconds between looks at a clock that somebody else moves."""

_MILLIS = struct.Struct("<q")


class Clock(Protocol):
    """Milliseconds since the epoch, never going backwards within one process."""

    def now(self) -> int: ...


class WorkerClock(Clock, Protocol):
    """What a worker needs besides."""

    def seconds_until(self, moment: int) -> float:
        """How long to sleep, at most, before ``moment`` can have come; 0 when it has."""

    def disagreement(self) -> int:
        """Milliseconds by which this clock and the machine's wall clock differ; 0 where no wall clock
        counts."""


class SystemClock:
    """Start time plus a monotonic clock that counts suspends, so that a stepped wall clock moves nothing."""

    def __init__(self) -> None:
        self._offset = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def now(self) -> int:
        return (time.clock_gettime_ns(time.CLOCK_BOOTTIME) + self._offset) // 1_000_000

    def seconds_until(self, moment: int) -> float:
        return max(0.0, (moment - self.now()) / 1000)

    def disagreement(self) -> int:
        return abs(time.time_ns() // 1_000_000 - self.now())


class FileClock:
    """A clock that another process drives: eight bytes in a shared file, little-endian milliseconds."""

    def __init__(self, path: Path, *, start: int | None = None) -> None:
        if start is not None:
            path.write_bytes(_MILLIS.pack(start))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _MILLIS.size)

    def now(self) -> int:
        return int(_MILLIS.unpack(self._map[:])[0])

    def seconds_until(self, moment: int) -> float:
        return 0.0 if moment <= self.now() else _POLL

    def disagreement(self) -> int:
        return 0

    def set(self, millis: int) -> None:
        """Moves the clock forward; backwards is refused."""
        if millis < self.now():
            raise ValueError(f"a clock does not go back: {millis} is before {self.now()}")
        self._map[:] = _MILLIS.pack(millis)


def clock_of(setting: str) -> WorkerClock:
    """The clock that the setting ``clock`` names: ``system`` or ``file:PATH``."""
    return FileClock(Path(setting.removeprefix("file:"))) if setting.startswith("file:") else SystemClock()
