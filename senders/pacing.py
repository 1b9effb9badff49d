"""Messages per second of one provider account, as a token bucket that is told the time."""

from __future__ import annotations

import math
from typing import Protocol, TypedDict


class Pace(Protocol):
    """Tokens of an account. Pure: the caller says what time it is, in milliseconds."""

    def tokens(self, now_ms: int, /) -> int:
        """How many may be taken now."""

    def wait(self, now_ms: int, /) -> int:
        """Milliseconds until it is worth looking again; 0: one is there."""

    def take(self, now_ms: int, /) -> int:
        """0: one was taken; else ``wait``."""

    def give_back(self) -> None:
        """One that was taken and not used."""


class PaceSettings(TypedDict):
    per_second: float
    burst: int


class Bucket:
    """``rate`` tokens a second flow in, at most ``burst`` are kept; a new bucket is full.

    Pure: the caller says what time it is. Times never have to move on; one that goes back adds nothing.
    """

    __slots__ = ("_burst", "_per_milli", "_seen", "_tokens", "burst", "rate")

    def __init__(self, rate: float, burst: int = 1) -> None:
        if not (rate > 0 and math.isfinite(rate)):
            raise ValueError(f"a rate is a positive number of messages per second, not {rate}")
        if burst < 1:
            raise ValueError(f"a burst is at least one message, not {burst}")
        self.rate = rate
        self.burst = burst
        self._per_milli = rate / 1000
        self._burst = float(burst)
        self._tokens = self._burst
        self._seen: int | None = None

    def take(self, now_ms: int) -> int:
        """0: a token was taken, send now. Otherwise nothing was taken: milliseconds until one is there.

        Taken, not reserved: a caller that gives up while it waits costs the account nothing.
        """
        wait = self.wait(now_ms)
        if wait == 0:
            self._tokens = max(0.0, self._tokens - 1)
        return wait

    def tokens(self, now_ms: int) -> int:
        """How many may be taken now."""
        self._refill(now_ms)
        # Refills are sums of fractions: a token that is short by a rounding error is a token.
        return int(self._tokens + 1e-9)

    def wait(self, now_ms: int) -> int:
        """Milliseconds until a token is there; 0: now."""
        if self.tokens(now_ms):
            return 0
        return max(1, math.ceil((1 - self._tokens) / self._per_milli - 1e-6))

    def give_back(self) -> None:
        """A token that was taken and not used."""
        self._tokens = min(self._burst, self._tokens + 1)

    def _refill(self, now_ms: int) -> None:
        if self._seen is None or now_ms > self._seen:
            elapsed = 0 if self._seen is None else now_ms - self._seen
            self._tokens = min(self._burst, self._tokens + elapsed * self._per_milli)
            self._seen = now_ms


def paced(per_minute: int) -> PaceSettings:
    """What an account's settings say of it; a quarter of a second's worth may go at once. 0: not paced."""
    per_second = per_minute / 60
    return {"per_second": per_second, "burst": max(1, math.ceil(per_second / 4))}
