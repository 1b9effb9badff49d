"""Whom an installation that is not the real one may write to."""

from __future__ import annotations

from collections.abc import Iterable


class Allowed:
    """``patterns``: an address (``+48600100200``, ``ann@shop.example``), a domain (``@shop.example``), the
    beginning of an address (``+4860*``), or ``*`` for everybody. Case does not matter."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._exact: set[str] = set()
        self._starts: list[str] = []
        for pattern in (one.strip().lower() for one in patterns):
            if pattern.endswith("*"):
                self._starts.append(pattern[:-1])
            elif pattern:
                self._exact.add(pattern)

    def permits(self, address: str) -> bool:
        """``address`` is normalised."""
        lower = address.lower()
        _, at, domain = lower.rpartition("@")
        return lower in self._exact or at + domain in self._exact or lower.startswith(tuple(self._starts))
