"""What every worker has sent of each mailbox in the last day: the daily limit is one for all of them.

Workers tell each other by the hour (``agents.pacing``), a second or two late; what others send of a mailbox
in that time may go over its limit, and is bounded by the mailbox's own pace.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

HOUR = 3_600_000
"""Milliseconds."""
DAY = 24 * HOUR

Used = Mapping[str, Mapping[int, int]]
"""By mailbox and hour since the epoch, how many messages."""


class Usage:
    """As ``worker`` knows it. A worker that was started again is another one: what it sent before counts."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._others: dict[str, Used] = {}
        self._own: Callable[[], Used] = dict

    def counted_by(self, own: Callable[[], Used]) -> None:
        """Who counts what this worker sends."""
        self._own = own

    def own(self) -> Used:
        return self._own()

    def saw(self, worker: str, used: Used) -> None:
        """The newest word of a worker; what is a day old by then is forgotten with whoever sent it."""
        if worker == self._worker:
            return
        self._others[worker] = used
        newest = max((hour for hours in used.values() for hour in hours), default=0)
        for other, told in list(self._others.items()):
            if all(hour < newest - 25 for hours in told.values() for hour in hours):
                del self._others[other]

    def elsewhere(self, mailbox: str) -> Mapping[int, int]:
        """What the other workers have sent of it, by hour."""
        total: Counter[int] = Counter()
        for used in self._others.values():
            total.update(used.get(mailbox, {}))
        return total
