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
    ceiling = FIRST
    for _ in range(1, attempt):
        ceiling = min(LONGEST, 2 * ceiling)
        if ceiling == LONGEST:
            break  # attempts may run into thousands
    draw = blake2b(f"{delivery_id}:{attempt}".encode(), digest_size=8).digest()
    return ceiling - int.from_bytes(draw, "big") % (ceiling // 2 + 1)
