"""One suite for both stores: what ``streams.stages.ports.KeyValue`` promises, by example and by machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streams.stages.ports import KeyValue, Write, prefix_end
from streams.state.errors import StoreClosed
from streams.state.memory import MemoryStore
from streams.state.rocks import RocksStore

FAMILIES = ("due", "rows", "position")


class Conformance:
    """Behaviours; the subclasses say which store."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[KeyValue]:
        raise NotImplementedError

    def test_a_missing_key_is_none_and_an_empty_value_is_not(self, store: KeyValue) -> None:
        store.write([("rows", b"empty", b"")])
        assert store.get("rows", b"empty") == b""
        assert store.get("rows", b"missing") is None

    def test_families_are_apart(self, store: KeyValue) -> None:
        store.write([("rows", b"k", b"1"), ("due", b"k", b"2")])
        assert (store.get("rows", b"k"), store.get("due", b"k")) == (b"1", b"2")
        store.delete_range("due", b"", b"\xff")
        assert (store.get("rows", b"k"), store.get("due", b"k")) == (b"1", None)

    def test_get_many_keeps_the_order_and_the_gaps(self, store: KeyValue) -> None:
        store.write([("rows", b"a", b"1"), ("rows", b"b", b"2")])
        assert store.get_many("rows", [b"b", b"x", b"a", b"b"]) == [b"2", None, b"1", b"2"]
        assert store.get_many("rows", []) == []

    def test_of_two_writes_to_one_key_the_later_holds(self, store: KeyValue) -> None:
        store.write([("rows", b"a", b"1"), ("rows", b"a", None), ("rows", b"b", None), ("rows", b"b", b"2")])
        assert store.get_many("rows", [b"a", b"b"]) == [None, b"2"]

    def test_deleting_what_is_not_there_is_nothing(self, store: KeyValue) -> None:
        store.write([("rows", b"a", None)])
        assert store.scan("rows", b"", None, 10) == []

    def test_scan_is_ordered_by_unsigned_bytes_between_the_bounds(self, store: KeyValue) -> None:
        keys = [b"", b"\x00", b"a", b"a\x00", b"ab", b"\x7f", b"\x80", b"\xff", b"\xff\xff"]
        store.write([("due", key, key) for key in reversed(keys)])
        assert store.scan("due", b"", None, 100) == [(key, key) for key in keys]
        assert [key for key, _ in store.scan("due", b"a", b"\x80", 100)] == [b"a", b"a\x00", b"ab", b"\x7f"]
        assert [key for key, _ in store.scan("due", b"a", None, 2)] == [b"a", b"a\x00"]
        assert store.scan("due", b"a", None, 0) == []
        assert store.scan("due", b"b", b"a", 10) == []
        assert store.scan("due", b"a", b"a", 10) == []

    def test_scan_of_a_prefix(self, store: KeyValue) -> None:
        store.write([("rows", key, b"") for key in (b"a", b"b", b"b/1", b"b\xff", b"c", b"\xff\xff1")])
        assert [key for key, _ in store.scan("rows", b"b", prefix_end(b"b"), 9)] == [b"b", b"b/1", b"b\xff"]
        assert [key for key, _ in store.scan("rows", b"\xff", prefix_end(b"\xff"), 9)] == [b"\xff\xff1"]

    def test_delete_range_takes_low_and_leaves_high(self, store: KeyValue) -> None:
        store.write([("due", bytes([n]), b"") for n in range(6)])
        store.delete_range("due", b"\x02", b"\x04")
        assert [key[0] for key, _ in store.scan("due", b"", None, 9)] == [0, 1, 4, 5]
        store.delete_range("due", b"\x05", b"\x01")
        store.delete_range("due", b"\x05", b"\x05")
        assert len(store.scan("due", b"", None, 9)) == 4
        store.write([("due", b"\x02", b"again")])
        assert store.get("due", b"\x02") == b"again"

    def test_an_unknown_family_is_refused_and_nothing_of_the_batch_is_written(self, store: KeyValue) -> None:
        with pytest.raises(KeyError):
            store.write([("rows", b"a", b"1"), ("nope", b"a", b"1")])
        assert store.get("rows", b"a") is None
        with pytest.raises(KeyError):
            store.get("nope", b"a")
        with pytest.raises(KeyError):
            store.get_many("nope", [b"a"])
        with pytest.raises(KeyError):
            store.scan("nope", b"", None, 1)
        with pytest.raises(KeyError):
            store.delete_range("nope", b"", b"a")

    def test_values_survive_a_flush(self, store: KeyValue) -> None:
        store.write([("rows", b"a", b"1"), ("due", b"b", b"2")])
        store.flush()
        store.write([("rows", b"a", None)])
        store.flush()
        assert store.get("rows", b"a") is None
        assert store.scan("due", b"", None, 5) == [(b"b", b"2")]

    def test_closing_twice_is_allowed_and_use_after_it_is_not(self, store: KeyValue) -> None:
        store.close()
        store.close()
        with pytest.raises(StoreClosed):
            store.get("rows", b"a")
        with pytest.raises(StoreClosed):
            store.get_many("rows", [b"a"])
        with pytest.raises(StoreClosed):
            store.scan("rows", b"", None, 1)
        with pytest.raises(StoreClosed):
            store.write([("rows", b"a", b"")])
        with pytest.raises(StoreClosed):
            store.delete_range("rows", b"", b"a")
        with pytest.raises(StoreClosed):
            store.flush()
        with pytest.raises(StoreClosed):
            store.save()


class TestMemory(Conformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[KeyValue]:
        store = MemoryStore(FAMILIES)
        yield store
        store.close()


class TestRocks(Conformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[KeyValue]:
        store = RocksStore(tmp_path / "store", FAMILIES)
        yield store
        store.close()


KEYS = st.binary(max_size=3) | st.sampled_from([b"a", b"b", b"\x00", b"\xff", b"\xff\xff"])
VALUES = st.none() | st.binary(max_size=4)
WRITES = st.lists(st.tuples(st.sampled_from(FAMILIES), KEYS, VALUES), max_size=12)


class StoreMachine(RuleBasedStateMachine):
    """Any sequence of calls against plain dictionaries."""

    store: KeyValue
    model: dict[str, dict[bytes, bytes]]

    def make(self) -> KeyValue:
        raise NotImplementedError

    @initialize()
    def start(self) -> None:
        self.model = {family: {} for family in FAMILIES}
        self.store = self.make()

    @rule(writes=WRITES)
    def write(self, writes: list[Write]) -> None:
        self.store.write(writes)
        for family, key, value in writes:
            if value is None:
                self.model[family].pop(key, None)
            else:
                self.model[family][key] = value

    @rule(family=st.sampled_from(FAMILIES), low=KEYS, high=KEYS)
    def delete_range(self, family: str, low: bytes, high: bytes) -> None:
        self.store.delete_range(family, low, high)
        rows = self.model[family]
        for key in [key for key in rows if low <= key < high]:
            del rows[key]

    @rule(family=st.sampled_from(FAMILIES), keys=st.lists(KEYS, max_size=6))
    def get(self, family: str, keys: list[bytes]) -> None:
        expected = [self.model[family].get(key) for key in keys]
        assert self.store.get_many(family, keys) == expected
        assert [self.store.get(family, key) for key in keys] == expected

    @rule(family=st.sampled_from(FAMILIES), low=KEYS, high=st.none() | KEYS, limit=st.integers(0, 8))
    def scan(self, family: str, low: bytes, high: bytes | None, limit: int) -> None:
        expected = [
            row
            for row in sorted(self.model[family].items())
            if row[0] >= low and (high is None or row[0] < high)
        ]
        assert self.store.scan(family, low, high, limit) == expected[:limit]

    @rule()
    def flush(self) -> None:
        self.store.flush()

    @rule()
    def save(self) -> None:
        self.store.save()

    @invariant()
    def everything_is_there(self) -> None:
        for family in FAMILIES:
            assert self.store.scan(family, b"", None, 1000) == sorted(self.model[family].items())

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()


class MemoryMachine(StoreMachine):
    def make(self) -> KeyValue:
        return MemoryStore(FAMILIES)


class RocksMachine(StoreMachine):
    folder: ClassVar[TemporaryDirectory[str]] = TemporaryDirectory(prefix="carillon-kv-")
    count: ClassVar[int] = 0

    def make(self) -> KeyValue:
        type(self).count += 1
        self.path = Path(self.folder.name) / str(self.count)
        return RocksStore(self.path, FAMILIES)

    @precondition(lambda self: hasattr(self, "path"))
    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = RocksStore(self.path, FAMILIES)


TestMemoryMachine = MemoryMachine.TestCase
TestMemoryMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestRocksMachine = RocksMachine.TestCase
TestRocksMachine.settings = settings(
    max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
