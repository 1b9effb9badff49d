"""What stands still although it should move, and for how long: the facts behind /live, without any I/O.

A process whose work has come to a halt looks idle from outside. So the worker shows here again and again
what has something to do and how far it is (``saw``); whatever is shown twice in the same place has stood
still in between. Time in which nobody looked (brokers away, machine suspended) counts for little: a restart
would not help against that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Stall(NamedTuple):
    """``what`` has had something to do since ``began`` (the clock of ``saw``) and has not moved for
    ``seconds`` of the time in which it was watched."""

    what: str
    place: str
    began: float
    seconds: float


@dataclass(slots=True)
class _Seen:
    place: object
    began: float
    seconds: float = 0.0


class Stalls:
    """``longest_gap``: the most that counts between two looks, in seconds."""

    def __init__(self, longest_gap: float) -> None:
        self._longest_gap = longest_gap
        self._seen: dict[str, _Seen] = {}
        self._looked: float | None = None

    def saw(self, now: float, busy: Mapping[str, object], *, excused: bool = False) -> None:
        """``busy``: where each thing stands that has something to do; what is missing has nothing to do, or
        is gone. ``excused``: something outside of this process is waited for, and no time counts."""
        gap = 0.0 if self._looked is None or excused else min(now - self._looked, self._longest_gap)
        self._looked = now
        seen: dict[str, _Seen] = {}
        for what, place in busy.items():
            before = self._seen.get(what)
            if before is None or before.place != place:
                before = _Seen(place, now)
            else:
                before.seconds += gap
            seen[what] = before
        self._seen = seen

    def longer_than(self, limit: float) -> list[Stall]:
        """What has stood still for at least ``limit`` seconds, the longest first."""
        found = [
            Stall(what, str(seen.place), seen.began, seen.seconds)
            for what, seen in self._seen.items()
            if seen.seconds >= limit
        ]
        return sorted(found, key=lambda stall: -stall.seconds)

    def seconds(self, what: str) -> float:
        """For how long it has stood still; 0 when it moves, or has nothing to do."""
        seen = self._seen.get(what)
        return seen.seconds if seen is not None else 0.0

    def age(self, what: str, now: float) -> float:
        """Seconds since it was first seen in this place, whether they counted or not."""
        seen = self._seen.get(what)
        return now - seen.began if seen is not None else 0.0
