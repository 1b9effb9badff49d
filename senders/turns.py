"""Whose turn it is: companies on one channel of this worker, over all of its partitions.

A company may have a rate of its own. And where an account takes fewer messages than companies wait for it,
those go first who have waited longest since their last one, wherever in the worker their messages lie: the
hundred thousand of one company wait for one turn, like the single message of another.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from itertools import islice

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

    def limits(self, now: int, waiting: Collection[str]) -> dict[str, int]:
        """Of the companies that wait and have a rate, how many messages may go."""
        fewer, more = (self.rates, waiting) if len(self.rates) < len(waiting) else (waiting, self.rates)
        paces = {company: self._pace(company) for company in fewer if company in more}
        return {company: pace.tokens(now) for company, pace in paces.items() if pace is not None}

    def first(self, room: int, waiting: Collection[str], barred: Container[str]) -> Sequence[str]:
        """Where an account has a rate, so that ``room`` is all there is for now: of the companies that wait
        and are not ``barred`` so many, those first who have waited longest."""
        new = nsmallest(room, (one for one in waiting if one not in self._served and one not in barred))
        served = (one for one in self._served if one in waiting and one not in barred)
        return [*new, *islice(served, room - len(new))]

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
