"""How many messages a mailbox may still send today. Pure: the caller says what time it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

HOUR = 3600 * 1000
DAY = 24 * HOUR
STEP = 10 * 60 * 1000
"""Milliseconds. Sends are counted by ten minutes, so a mailbox costs 145 numbers at most."""
SHORTEST_BLOCK = HOUR
"""Gmail says that the limit is lifted "within 1 to 24 hours" (https://support.google.com/a/answer/166852)."""


class DailyQuota:
    """At most ``limit`` in any 24 hours (to ten minutes), which is how Gmail counts."""

    __slots__ = ("_blocked_until", "_counts", "_used", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._counts: deque[list[int]] = deque()  # [begin of the step, messages], the oldest first
        self._used = 0
        self._blocked_until = 0

    @property
    def used(self) -> int:
        return self._used

    def wait(self, now_ms: int, elsewhere: Mapping[int, int] = {}) -> int:
        """Milliseconds until one may go; 0: now. ``elsewhere``: what other workers have sent, by hour since
        the epoch; an hour counts until all of it is a day old."""
        while self._counts and self._counts[0][0] + STEP + DAY <= now_ms:
            self._used -= self._counts.popleft()[1]
        ends = [((hour + 1) * HOUR + DAY, messages) for hour, messages in elsewhere.items()]
        ends = [(end, messages) for end, messages in ends if end > now_ms]
        used = self._used + sum(messages for _, messages in ends)
        full = 0
        if used >= self.limit:
            ends += [(begin + STEP + DAY, messages) for begin, messages in self._counts]
            for end, messages in sorted(ends):
                full = end - now_ms
                used -= messages
                if used < self.limit:
                    break
        return max(0, full, self._blocked_until - now_ms)

    def by_hour(self) -> dict[int, int]:
        """What this worker has sent, for the others."""
        hours: dict[int, int] = {}
        for begin, messages in self._counts:
            if messages:
                hours[begin // HOUR] = hours.get(begin // HOUR, 0) + messages
        return hours

    def count(self, now_ms: int) -> None:
        step = now_ms - now_ms % STEP
        # A clock that goes back counts in the newest step.
        if not self._counts or self._counts[-1][0] < step:
            self._counts.append([step, 0])
        self._counts[-1][1] += 1
        self._used += 1

    def take_back(self) -> None:
        """One that was counted did not go."""
        if self._counts and self._counts[-1][1] > 0:
            self._counts[-1][1] -= 1
            self._used -= 1

    def used_up(self, now_ms: int) -> int:
        """The provider says that nothing more goes today: others use the account too, or another worker does.
        How long it stays so, in milliseconds: until the oldest that we know of is a day old."""
        oldest = next((begin for begin, messages in self._counts if messages), now_ms)
        self._blocked_until = max(oldest + DAY, now_ms + SHORTEST_BLOCK)
        return self._blocked_until - now_ms
