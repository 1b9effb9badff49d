"""How far the restores of this worker have come: for /status, the metrics, and a line now and then."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

log = logging.getLogger(__name__)

LINE_EVERY = 10.0
"""Seconds between two lines about one restore; a shorter restore is told of when it is done."""


@dataclass(frozen=True, slots=True)
class Restoring:
    """One log on its way into a store. Offsets are of the next record; a compacted log has fewer records
    than offsets, so ``rate`` (offsets a second) and what follows from it are what is known."""

    start: int
    position: int
    end: int
    seconds: float
    """Since its first word."""

    @property
    def percent(self) -> float:
        whole = self.end - self.start
        return 100.0 * (self.position - self.start) / whole if whole > 0 else 100.0

    @property
    def rate(self) -> float:
        return (self.position - self.start) / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float:
        """Infinite before anything came."""
        left = self.end - self.position
        if left <= 0:
            return 0.0
        return left / self.rate if self.rate > 0 else math.inf


@dataclass(slots=True)
class _Known:
    start: int
    position: int
    end: int
    began: float
    line_at: float


class RestoreProgress:
    """``update`` after each batch that was read, ``done`` at the end, however it ended. ``update`` may be
    called from the threads that read: each name by one thread at a time."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._known: dict[str, _Known] = {}

    def update(self, name: str, position: int, end: int) -> None:
        """``name``: topic[partition]. The first call says where it begins."""
        now = self._monotonic()
        known = self._known.get(name)
        if known is None:
            self._known[name] = _Known(position, position, end, now, now + LINE_EVERY)
            return
        known.position, known.end = position, end
        if now >= known.line_at:
            known.line_at = now + LINE_EVERY
            at = _view(known, now)
            log.info(
                "restoring %s: %.0f %%, %.0f records/s, %s left (%d of %d)",
                *(name, at.percent, at.rate, _duration(at.seconds_left), position, end),
            )

    def done(self, name: str) -> None:
        """Read to its end, given up or failed: nothing is under way. Unknown names are fine."""
        self._known.pop(name, None)

    def watching(
        self, read: Callable[..., Coroutine[Any, Any, int]]
    ) -> Callable[..., Coroutine[Any, Any, int]]:
        """``ChangelogReader.read``, which tells of itself here."""

        async def watched(topic: str, partition: int, *given: Any) -> int:
            name = f"{topic}[{partition}]"
            try:
                return await read(topic, partition, *given, progress=partial(self.update, name))
            finally:
                self.done(name)

        return watched

    def now(self) -> dict[str, Restoring]:
        """What is being restored, by name."""
        now = self._monotonic()
        return {name: _view(known, now) for name, known in sorted(self._known.copy().items())}


def _view(known: _Known, now: float) -> Restoring:
    return Restoring(known.start, known.position, known.end, now - known.began)


def _duration(seconds: float) -> str:
    """``95 s``, ``12 min``: as long as it takes to decide whether to wait."""
    if math.isinf(seconds):
        return "an unknown time"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
