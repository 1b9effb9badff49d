"""The key-value store in memory: for tests, simulation and partitions that need no disk."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from itertools import islice

from streams.stages.ports import Write
from streams.state.errors import StoreClosed


class _Family:
    """Rows by key, and the keys in order. An insertion moves memory (O(n)), which a bisected list does
    at some 10 GB/s: cheap up to a million rows."""

    __slots__ = ("order", "rows")

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.order: list[bytes] = []

    def put(self, key: bytes, value: bytes) -> None:
        if key not in self.rows:
            insort(self.order, key)
        self.rows[key] = value

    def remove(self, key: bytes) -> None:
        if self.rows.pop(key, None) is not None:
            del self.order[bisect_left(self.order, key)]


class MemoryStore:
    """``streams.stages.ports.KeyValue`` without a disk: ``flush`` promises nothing.

    An unknown family is a ``KeyError``, use after ``close`` a ``StoreClosed``.
    """

    def __init__(self, families: Iterable[str]) -> None:
        self._families: dict[str, _Family] | None = {name: _Family() for name in families}

    def get(self, family: str, key: bytes) -> bytes | None:
        return self._open()[family].rows.get(key)

    def get_many(self, family: str, keys: Sequence[bytes]) -> list[bytes | None]:
        rows = self._open()[family].rows
        return [rows.get(key) for key in keys]

    def scan(self, family: str, low: bytes, high: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        held = self._open()[family]
        first = bisect_left(held.order, low)
        last = len(held.order) if high is None else bisect_left(held.order, high)
        return [(key, held.rows[key]) for key in islice(held.order, first, min(last, first + max(limit, 0)))]

    def write(self, writes: Sequence[Write]) -> None:
        families = self._open()
        targets = [families[family] for family, _, _ in writes]  # an unknown family must change nothing
        for target, (_, key, value) in zip(targets, writes, strict=True):
            if value is None:
                target.remove(key)
            else:
                target.put(key, value)

    def delete_range(self, family: str, low: bytes, high: bytes) -> None:
        held = self._open()[family]
        first, last = bisect_left(held.order, low), bisect_left(held.order, high)
        for key in held.order[first:last]:
            del held.rows[key]
        if first < last:
            del held.order[first:last]

    def flush(self) -> None:
        self._open()

    save = flush

    def close(self) -> None:
        self._families = None

    def _open(self) -> dict[str, _Family]:
        if self._families is None:
            raise StoreClosed("this store is closed")
        return self._families
