"""What the stages need of the world, as protocols. ``streams.state`` has the two stores; one conformance
suite (``tests/streams/state/test_kv_conformance.py``) judges both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

Write = tuple[str, bytes, bytes | None]
"""(family, key, value); value None deletes the key."""


class KeyValue(Protocol):
    """One partition's ordered key-value store with named families, written in atomic batches.

    Keys are compared as unsigned bytes. Nothing here awaits; a call may take some milliseconds of disk.
    """

    def get(self, family: str, key: bytes) -> bytes | None:
        """The value, or None."""

    def get_many(self, family: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values in the order of ``keys``, None where there is none."""

    def scan(self, family: str, low: bytes, high: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        """At most ``limit`` rows with ``low <= key < high`` (``high`` None: to the end), in key order."""

    def write(self, writes: Sequence[Write]) -> None:
        """All or none, in order: of two writes to one key the later holds."""

    def delete_range(self, family: str, low: bytes, high: bytes) -> None:
        """Removes ``low <= key < high``."""

    def flush(self) -> None:
        """Everything written so far survives a crash of the machine once this returns."""

    def save(self) -> None:
        """Begins what ``flush`` does, and returns at once. Where it fails nothing is lost but time: what was
        written is in the changelog."""

    def close(self) -> None:
        """Releases files and locks; the store can't be used afterwards. Calling it twice is allowed."""


_PAGE = 1_000


def all_keys(store: KeyValue, family: str) -> Iterator[bytes]:
    """In order, read by pages: the store may be written meanwhile."""
    low = b""
    while page := store.scan(family, low, None, _PAGE):
        yield from (key for key, _ in page)
        low = page[-1][0] + b"\x00"


def prefix_end(prefix: bytes) -> bytes | None:
    """The smallest key greater than every key that begins with ``prefix``; None when there is none."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else None
