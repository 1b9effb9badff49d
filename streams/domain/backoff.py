"""How long to wait before the next attempt: exponential with jitter, the same for the same delivery."""

from __future__ import annotations

from hashlib import blake2b

FIRST = 5_000
"""Milliseconds before the second attempt: a hiccup of a provider is over by then."""
LONGEST = 15 * 60_000
"""A provider that was down for hours is tried again within a quarter of an hour of its return."""


def backoff(delivery_id: str, attempt: int) -> int:
    """Milliseconds to wait after failed attempt number ``attempt`` (1, 2, ...).

    Doubles from FIRST up to LONGEST; the jitter takes away up to half, so that a blast that failed
    together does not come back together. Derived from the delivery id: a replay waits as long.
    """
    ceiling = min(LONGEST, FIRST << min(attempt - 1, 20))
    draw = int.from_bytes(blake2b(f"{delivery_id}:{attempt}".encode(), digest_size=4).digest(), "big")
    return ceiling - (ceiling // 2) * draw // 0xFFFFFFFF
