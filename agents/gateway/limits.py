"""What one client may cost. Genuine requests are never held back: a receipt that is refused may not come
again. Whoever guesses is told nothing after some guesses, and the log stays readable."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

WINDOW = 60.0
"""Seconds."""

REFUSALS = 60
"""In one window; after them a client gets 429 for whatever is not genuine."""

_CLIENTS = 10_000


class Refusals:
    """``now``: seconds of a monotonic clock."""

    def __init__(self, now: Callable[[], float], limit: int = REFUSALS) -> None:
        self._now = now
        self._limit = limit
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def too_many(self, client: str) -> bool:
        """Counts one more."""
        now = self._now()
        began, count = self._counts.pop(client, (now, 0))
        if now - began >= WINDOW:
            began, count = now, 0
        self._counts[client] = (began, count + 1)
        if len(self._counts) > _CLIENTS:
            self._counts.popitem(last=False)
        return count >= self._limit


def client_of(peer: str, forwarded: str, proxies: int) -> str:
    """Who is asking. ``forwarded``: X-Forwarded-For, to which each proxy adds whom it heard it from; what
    stands further left than our own ``proxies`` have written is anybody's claim."""
    if not proxies:
        return peer
    said = [item.strip() for item in forwarded.split(",")]
    return said[-proxies][:64] if len(said) >= proxies and said[-proxies] else peer
