"""Whether this worker may send at all: one place that is asked before anything is begun, and once more
immediately before a provider is called. And whether it knows what time it is: while it does not, it decides
nothing that depends on it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence

from streams.kafka.batches import RecordBatch

CLOCK_TOLERANCE = 2_000
"""Milliseconds by which the clock may differ from the machine's: more, and one of them is wrong."""
STALE_TABLES = 30.0
"""Seconds without word of the reference tables: a rule may have been switched off, an address blocked."""
WRONG_CLOCK = "the clock was stepped, or is not the brokers': restart this worker once the clocks are right"
LEASE = 0.8
"""Of the session time-out. A confirmation older than this leaves too little time to hand a message over
before the group may give the partition to somebody else."""

_LOOK = 0.05


class Gate:
    """``unread``: does anything that lay unread at the assignment still lie there (a cancellation may be
    among it)? ``membership_age``, ``tables_age``: seconds since either was last confirmed.
    ``disagreement``: of the clocks, in milliseconds. Times in seconds."""

    def __init__(
        self,
        *,
        unread: Callable[[], bool],
        membership_age: Callable[[], float],
        tables_age: Callable[[], float],
        disagreement: Callable[[], int],
        session_timeout: float,
        longest_hold: float = math.inf,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._unread = unread
        self._membership_age = membership_age
        self._tables_age = tables_age
        self._disagreement = disagreement
        self._lease = session_timeout * LEASE
        self._longest_hold = longest_hold
        self._deadline = math.inf
        self._monotonic = monotonic

    def paused(self) -> None:
        """Partitions come and go: what is opened first must not send what the last one's records cancel,
        however long the others are restored."""
        self._deadline = math.inf

    def assigned(self) -> None:
        """All partitions are open: holds until what lies unread has been read, or ``longest_hold`` is over
        (a stuck input must not silence everybody for ever)."""
        self._deadline = self._monotonic() + self._longest_hold

    @property
    def owned(self) -> bool:
        """No other worker can have been given our partitions: checked last before a provider is called."""
        return self._membership_age() < self._lease

    async def until_owned(self) -> None:
        """Returns when the group has confirmed this worker again; a rebalance that takes the partition away
        cancels the caller."""
        while not self.owned:  # noqa: ASYNC110 - what is waited for is a moment on a clock
            await asyncio.sleep(_LOOK)

    @property
    def wrong_clock(self) -> bool:
        return self._disagreement() > CLOCK_TOLERANCE

    async def until_clock(self) -> None:
        """Returns when the clocks agree."""
        while self.wrong_clock:  # noqa: ASYNC110 - as above
            await asyncio.sleep(_LOOK)

    def timely(
        self, handle: Callable[[RecordBatch], Awaitable[None]]
    ) -> Callable[[RecordBatch], Awaitable[None]]:
        """``handle``, which decides by the clock: batches wait while it is wrong. By one that is a day ahead
        every change would be too old to tell anybody."""

        async def waiting(batch: RecordBatch) -> None:
            while self.wrong_clock and batch.live:  # noqa: ASYNC110 - as above
                await asyncio.sleep(_LOOK)
            if batch.live:
                await handle(batch)

        return waiting

    def closed(self) -> Sequence[str]:
        """Why nothing may be sent now; empty: it may."""
        reasons = []
        if not self.owned:
            reasons.append("the group has not confirmed this worker for too long")
        if self._tables_age() > STALE_TABLES:
            reasons.append("the reference tables have not been confirmed for too long")
        if self.wrong_clock:
            reasons.append(WRONG_CLOCK)
        if self._deadline and (self._monotonic() >= self._deadline or not self._unread()):
            self._deadline = 0.0
        if self._deadline:
            reasons.append("records that lay unread at the assignment are being read")
        return reasons
