"""How much of an account's rate belongs to which worker: by where its messages wait.

Every worker says once in a window what waits for each account on it, on one log that all of them read. What
counts in a window is decided by the log alone: a report counts in its own window, or, where it comes behind a
later one, in that later window. So a window that is over never changes, and who has read beyond it knows all
of it. The rate of window ``n`` is shared as window ``n - LAG`` says, in proportion to what waited; a worker
that does not know that window yet, or is not in it, has nothing.

Hence, whatever is lost, late or dead: those who have a share of a window all follow the same reports, and
their shares add up to at most the whole. Clocks that differ by some time add the rate of that time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

WINDOW = 1_000
"""Milliseconds."""
LAG = 2
"""Windows from a report to what follows from it: one to be written and read by all in, and one to be over."""
_KEPT = 30
"""Windows; a worker that stood still for longer gets nothing for that time."""


class Report(NamedTuple):
    """What waited on ``worker``, by account, when ``window`` began on its clock; and what it has sent of each
    mailbox (``senders.usage``)."""

    worker: str
    window: int
    backlog: Mapping[str, int]
    used: Mapping[str, Mapping[int, int]] = {}


class Shares:
    """As ``worker`` sees them; fed with the reports of all, in the order of the log."""

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self._newest = -1
        self._windows: dict[int, dict[str, Mapping[str, int]]] = {}

    def saw(self, report: Report) -> None:
        if report.window > self._newest:
            self._newest = report.window
            self._windows = {
                window: reports for window, reports in self._windows.items() if window >= self._newest - _KEPT
            }
        self._windows.setdefault(self._newest, {})[report.worker] = report.backlog

    def of(self, account: str, window: int) -> float:
        """The part of ``window`` that is this worker's, 0 to 1. Who has nothing waiting counts as one
        message: what comes next need not wait for a report."""
        told = window - LAG
        reports = self._windows.get(told, {}) if told < self._newest else {}
        if self.worker not in reports:
            return 0.0
        total = sum(backlog.get(account, 0) + 1 for backlog in reports.values())
        return (reports[self.worker].get(account, 0) + 1) / total


class SharedBucket:
    """The tokens of one worker: of ``rate`` a second, its share of each window flows in, at most ``burst``
    are kept. A new one is empty. Over all workers no more flows in than ``rate``; at most ``burst`` of each
    worker were kept before."""

    __slots__ = ("_account", "_burst", "_rate", "_seen", "_shares", "_tokens")

    def __init__(self, shares: Shares, account: str, rate: float, burst: int = 1) -> None:
        self._shares = shares
        self._account = account
        self._rate = rate / 1000
        self._burst = float(burst)
        self._tokens = 0.0
        self._seen: int | None = None

    def tokens(self, now: int) -> int:
        """How many may be taken now."""
        seen = now if self._seen is None else max(self._seen, now - _KEPT * WINDOW)
        while seen < now:
            window = seen // WINDOW
            until = min(now, (window + 1) * WINDOW)
            self._tokens += (until - seen) * self._rate * self._shares.of(self._account, window)
            seen = until
        self._tokens = min(self._burst, self._tokens)
        self._seen = now if self._seen is None else max(self._seen, now)
        return int(self._tokens + 1e-9)

    def wait(self, now: int) -> int:
        """Milliseconds until it is worth looking again; 0: a token is there."""
        if self.tokens(now):
            return 0
        window = now // WINDOW
        left = (window + 1) * WINDOW - now
        flow = self._rate * self._shares.of(self._account, window)
        return min(left, max(1, math.ceil((1 - self._tokens) / flow - 1e-6))) if flow else left

    def take(self, now: int) -> int:
        """0: a token was taken; else ``wait``."""
        wait = self.wait(now)
        if wait == 0:
            self._tokens = max(0.0, self._tokens - 1)
        return wait

    def give_back(self) -> None:
        """A token that was taken and not used."""
        self._tokens = min(self._burst, self._tokens + 1)
