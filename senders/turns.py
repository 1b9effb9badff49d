"""Whose turn it is: companies on one channel of this worker, over all of its partitions.

A company may have a rate of its own. And where an account takes fewer messages than companies wait for it,
those go first who have waited longest since their last one, wherever in the worker their messages lie: the
hundred thousand of one company wait for one turn, like the single message of another.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from schemas.records import Channel
from senders.pacing import Bucket, Pace, paced
from senders.shares import SharedBucket, Shares

WEIGHT = 1_000
"""Of a company that waits, in what workers tell each other: an account's rate goes where companies wait, not
where most messages do, and next to nothing of it where nobody waits."""
_REMEMBERED = 10_000
"""Companies of which it is known when they had their last turn."""

Rates = Mapping[str, int]
"""Messages of one channel in a minute that a company wants to send at most; the others are not in it."""


@dataclass(frozen=True, slots=True)
class _Rated:
    per_minute: int
    pace: Pace


class Turns:
    """``shares``: with the other workers; None: there are none. ``rates`` may change."""

    def __init__(self, channel: Channel, rates: Rates, shares: Shares | None = None) -> None:
        self._channel = channel
        self.rates = rates
        self._shares = shares
        self._rated: dict[str, _Rated] = {}
        self._served: OrderedDict[str, None] = OrderedDict()  # the last one at the end

    def limits(self, now: int, room: int, waiting: Iterable[str], *, scarce: bool) -> dict[str, int]:
        """Of the companies that wait, how many messages may go of those of which not all may. ``scarce``:
        the account has a rate, so that ``room`` is all there is for now."""
        limits: dict[str, int] = {}
        free: list[str] = []
        for company in waiting:
            pace = self._pace(company)
            tokens = pace.tokens(now) if pace is not None else room
            if pace is not None:
                limits[company] = tokens
            if tokens > 0:
                free.append(company)
        if scarce and room < len(free):
            order = {company: place for place, company in enumerate(self._served)}
            free.sort(key=lambda company: (order.get(company, -1), company))
            limits |= dict.fromkeys(free[room:], 0)
        return limits

    def began(self, company: str, now: int) -> None:
        """One of its messages goes."""
        self._served[company] = None
        self._served.move_to_end(company)
        if len(self._served) > _REMEMBERED:
            self._served.popitem(last=False)
        pace = self._pace(company)
        if pace is not None:
            pace.take(now)

    def withdrawn(self, company: str) -> None:
        """One that had begun was not sent."""
        pace = self._pace(company)
        if pace is not None:
            pace.give_back()

    def wait(self, now: int, waiting: Iterable[str]) -> int | None:
        """Milliseconds until one of the companies with a rate may have a token; None: none of them waits for
        one."""
        waits = [pace.wait(now) for company in waiting if (pace := self._pace(company)) is not None]
        return min((wait for wait in waits if wait), default=None)

    def backlog(self, waiting: Mapping[str, int]) -> dict[str, int]:
        """What waits of the companies with a rate, in the words of ``Shares``; of all of them, since who
        tells nothing gets nothing."""
        return {self._share_name(company): waiting.get(company, 0) for company in self.rates}

    def _pace(self, company: str) -> Pace | None:
        per_minute = self.rates.get(company, 0)
        rated = self._rated.get(company)
        if not per_minute:
            if rated is not None:
                del self._rated[company]
            return None
        if rated is None or rated.per_minute != per_minute:
            rated = self._rated[company] = _Rated(per_minute, self._new_pace(company, per_minute))
        return rated.pace

    def _new_pace(self, company: str, per_minute: int) -> Pace:
        pace = paced(per_minute)
        if self._shares is None:
            return Bucket(pace["per_second"], pace["burst"])
        return SharedBucket(self._shares, self._share_name(company), pace["per_second"], pace["burst"])

    def _share_name(self, company: str) -> str:
        return f"{self._channel}/company/{company}"
