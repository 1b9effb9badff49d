"""The key-value store over RocksDB: one database directory for each partition.

A store is a cache of its changelog, so nothing is written ahead (the WAL is off) and a crash takes the
store back to its last flush. What must hold is that it goes back as a whole: the position in the
changelog and the rows it speaks of are written in one batch and must be flushed in one. Measured with
rocksdict 0.3.29 (RocksDB 10.4) and held by the tests:

- ``atomic_flush`` makes the flushes that RocksDB starts by itself cover all families.
- A flush asked for by hand covers **one** family even then (db.h: "Flush a single column family, even
  when atomic flush is enabled"), and tears batches apart. A manual compaction that needs its range
  flushed flushes all families atomically, so ``flush`` compacts one marker key (see there).
- ``close()`` of the binding does nothing while a family's handle or an iterator lives.
- ``set_iterate_lower_bound`` sets the upper bound; a ``ReadOptions`` must outlive its iterator;
  ``keys()`` and ``items()`` swallow errors. Hence ``iter()``, ``seek`` and ``status()``.
- A batch given a handle of another database writes elsewhere: handles never leave this module.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
from collections.abc import Iterable, Sequence
from functools import cache as once
from pathlib import Path
from typing import cast

from rocksdict import (
    BlockBasedOptions,
    Cache,
    CompactOptions,
    DbClosedError,
    DBCompactionStyle,
    DBCompressionType,
    Options,
    Rdict,
    ReadOptions,
    UniversalCompactOptions,
    WriteBatch,
    WriteBufferManager,
    WriteOptions,
)

from streams.stages.ports import Write
from streams.state.errors import (
    StoreClosed,
    StoreDamaged,
    StoreError,
    StoreLocked,
    StoreUnavailable,
    unavailable,
)

log = logging.getLogger(__name__)

MIB = 1 << 20

_MARKER_FAMILY = "default"  # RocksDB insists on it; it holds nothing but the flush marker
_MARKER = b"flush"

_LARGE = ("due", "slots", "entities")
"""Families with a row for each message or entity."""

_DAMAGED = "DAMAGED"
"""A file that says why this store must be rebuilt. RocksDB looks at a block when it is read, so a store with
a damaged one opens as if nothing were the matter, every time."""


class SharedMemory:
    """The memory of all stores of a process: one block cache, and one budget for rows not yet flushed.

    ``cache_bytes``: blocks, indexes and filters. ``buffer_bytes``: memtables; when they are full the
    store that writes is flushed, so a process with many partitions stays bounded.
    """

    def __init__(self, *, cache_bytes: int = 128 * MIB, buffer_bytes: int = 128 * MIB) -> None:
        self.cache = Cache(cache_bytes)
        self.buffers = WriteBufferManager(buffer_bytes, False)


@once
def shared_memory() -> SharedMemory:
    """The one that stores use when none is given."""
    return SharedMemory()


class RocksStore:
    """``streams.stages.ports.KeyValue`` on disk. One thread at a time; ``save`` has one of its own.

    Errors: ``StoreDamaged``, ``StoreLocked`` and ``StoreUnavailable`` on opening and from any call that
    reads or writes; ``StoreClosed`` after ``close``; ``KeyError`` for an unknown family, in which case
    nothing was written. Of the directory's families those that are not among ``families`` are dropped:
    an earlier release had them.
    """

    def __init__(
        self,
        path: Path,
        families: Iterable[str],
        *,
        cache: SharedMemory | None = None,
        create: bool = True,
    ) -> None:
        """Opens ``path``; without ``create`` a missing store is ``StoreDamaged``."""
        names = tuple(families)
        if _MARKER_FAMILY in names:
            raise ValueError(f"a family can't be named {_MARKER_FAMILY!r}: RocksDB has that one itself")
        self._path = path
        self._saving: threading.Thread | None = None
        self._unlogged = WriteOptions()
        self._unlogged.disable_wal = True  # type: ignore[method-assign,assignment]  # the stub is wrong: a property
        memory = cache or shared_memory()
        try:
            if create:
                path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unavailable(path, error) or StoreUnavailable(f"{path}: {error}") from error
        if (damage := _known_damage(path)) is not None:
            raise StoreDamaged(f"{path}: {damage}")
        try:
            there = Rdict.list_cf(str(path)) if (path / "CURRENT").exists() else []
            self._db: Rdict | None = Rdict(
                str(path),
                _database_options(memory, create=create),
                {name: _family_options(name, memory) for name in (_MARKER_FAMILY, *names, *there)},
            )
            for name in set(there) - {_MARKER_FAMILY, *names}:
                self._db.drop_column_family(name)
            self._readers = {name: self._db.get_column_family(name) for name in names}
            self._handles = {name: self._db.get_column_family_handle(name) for name in names}
        except Exception as error:  # noqa: BLE001 - the binding raises plain Exception for every RocksDB error
            raise _translated(error, path) from None

    def get(self, family: str, key: bytes) -> bytes | None:
        reader = self._reader(family)
        try:
            value: bytes | None = reader.get(key)
        except Exception as error:
            raise self._failed(error) from error
        return value

    def get_many(self, family: str, keys: Sequence[bytes]) -> list[bytes | None]:
        reader = self._reader(family)
        try:
            values = reader.get(list(keys))  # one multi-get, without the GIL
        except Exception as error:
            raise self._failed(error) from error
        return cast("list[bytes | None]", values)

    def scan(self, family: str, low: bytes, high: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        reader = self._reader(family)
        if limit <= 0 or (high is not None and high <= low):
            return []
        rows: list[tuple[bytes, bytes]] = []
        bounds = ReadOptions()  # in a variable of its own: it must outlive the iterator
        if high is not None:
            bounds.set_iterate_upper_bound(high)
        try:
            cursor = reader.iter(bounds)
            cursor.seek(low)
            while len(rows) < limit and cursor.valid():
                rows.append((cursor.key(), cursor.value()))
                cursor.next()
            cursor.status()
        except Exception as error:  # noqa: BLE001 - see __init__
            raise self._failed(error) from None  # a traceback would keep the iterator alive
        return rows

    def write(self, writes: Sequence[Write]) -> None:
        db, handles = self._opened(), self._handles
        batch = WriteBatch(raw_mode=True)
        put, delete = batch.put, batch.delete
        for family, key, value in writes:
            if value is None:
                delete(key, handles[family])
            else:
                put(key, value, handles[family])
        self._apply(db, batch)

    def delete_range(self, family: str, low: bytes, high: bytes) -> None:
        db, handle = self._opened(), self._handles[family]
        if low < high:
            batch = WriteBatch(raw_mode=True)
            batch.delete_range(low, high, handle)
            self._apply(db, batch)

    def flush(self) -> None:
        """A manual compaction of the marker's one-key range: that needs its memtable flushed, and with
        ``atomic_flush`` RocksDB then flushes all families together. Compacting one key costs nothing."""
        db = self._opened()
        batch = WriteBatch(raw_mode=True)
        batch.put(_MARKER, b"", None)
        self._apply(db, batch)
        how = CompactOptions()
        how.set_exclusive_manual_compaction(False)  # else it waits for running compactions of large families
        try:
            db.compact_range(_MARKER, _MARKER + b"\x00", how)
        except Exception as error:
            raise self._failed(error) from error

    def save(self) -> None:
        # A flush takes some 100 ms for 20,000 rows, nearly all of it without the interpreter's lock.
        self._opened()
        if self._saving is None or not self._saving.is_alive():
            self._saving = threading.Thread(target=self._save, name=f"save {self._path.name}")
            self._saving.start()

    def _save(self) -> None:
        try:
            self.flush()
        except StoreError as error:
            log.warning("not saved: %s", error)

    def close(self) -> None:
        """Flushes and closes. Never raises: what could not be flushed is in the changelog, from which the
        store is brought up to date when it is opened again; a log line says so."""
        db = self._db
        if db is None:
            return
        if self._saving is not None:
            self._saving.join()  # the binding refuses to close what is in use
        trouble: StoreError | None = None
        try:
            self.flush()
        except StoreError as error:
            trouble = error
        self._db = None
        self._readers.clear()
        self._handles.clear()
        try:
            db.close()  # flushes too, and takes a second to give that up on a full disk
        except Exception as error:  # noqa: BLE001 - see __init__
            trouble = trouble or self._failed(error)
        if trouble is not None:
            log.error("not everything was saved: %s", trouble)

    def _opened(self) -> Rdict:
        if self._db is None:
            raise StoreClosed(f"{self._path} is closed")
        return self._db

    def _reader(self, family: str) -> Rdict:
        self._opened()
        return self._readers[family]

    def _apply(self, db: Rdict, batch: WriteBatch) -> None:
        try:
            db.write(batch, self._unlogged)
        except Exception as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> StoreError:
        """The error to raise; damage is noted for whoever opens the store next."""
        found = _translated(error, self._path)
        if isinstance(found, StoreDamaged):
            with contextlib.suppress(OSError):
                (self._path / _DAMAGED).write_text(f"found damaged while it was in use: {error}")
        return found


def destroy(path: Path) -> None:
    """Removes a store, whole or broken, open nowhere. A missing one is fine."""
    if path.exists() and not path.is_dir():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def _known_damage(path: Path) -> str | None:
    """What needs no opening to be seen."""
    try:
        return (path / _DAMAGED).read_text()
    except OSError:
        pass
    if not (path / "CURRENT").exists() and any(path.glob("MANIFEST-*")):
        return "the file CURRENT is missing"  # RocksDB might begin a new, empty database over the old files
    return None


def _translated(error: Exception, path: Path) -> StoreError:
    text = str(error)
    if isinstance(error, DbClosedError):
        return StoreClosed(f"{path} is closed")
    if "/LOCK:" in text or "lock hold by current process" in text:
        return StoreLocked(f"{path} is in use: {text}")
    return unavailable(path, text) or StoreDamaged(f"{path}: {text}")


def _database_options(memory: SharedMemory, *, create: bool) -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(create)
    options.create_missing_column_families(True)
    options.set_atomic_flush(True)
    options.set_write_buffer_manager(memory.buffers)
    options.set_max_background_jobs(2)  # the threads are shared by all databases of the process
    options.set_max_open_files(256)  # of each database; a worker may own a hundred
    options.set_bytes_per_sync(MIB)  # a flush then does not end in one long sync
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(MIB)
    options.set_stats_dump_period_sec(0)
    options.set_stats_persist_period_sec(0)
    return options


def _family_options(name: str, memory: SharedMemory) -> Options:
    """``due`` is read in order, emptied from its front, and at random; every other family by random key."""
    table = BlockBasedOptions()
    table.set_block_cache(memory.cache)
    table.set_cache_index_and_filter_blocks(True)  # so that the cache's size bounds them too
    table.set_pin_l0_filter_and_index_blocks_in_cache(True)
    table.set_format_version(5)
    # Rows of ``due`` are read at random too, when one moves: blocks of 16 KiB cost a third more then (1.25
    # million timers in a store). With short keys, of which each is whole by default, the larger index of
    # small blocks takes no more of the cache.
    table.set_block_size(4 * 1024)
    table.set_index_block_restart_interval(16)
    options = Options(raw_mode=True)
    options.set_compression_type(DBCompressionType.lz4())
    # 10 bits: 1 % false positives; every arm of a new id asks for a row that does not exist.
    table.set_bloom_filter(10, False)
    # A row of ``due`` that is asked for is there, nearly always at the lowest level. Filters save the looks
    # into the newer files; the lowest level, with most of the rows, needs none.
    options.set_optimize_filters_for_hits(name == "due")
    if name in _LARGE:
        # Keys come in no order, so to merge the newest files with the lowest level writes all of it, and
        # that is the most of what a new row costs. Here they are merged with their like first, eight at
        # once, and with the lowest level when they are half as large as it: no more can be outdated.
        options.set_compaction_style(DBCompactionStyle.universal())
        merging = UniversalCompactOptions()
        merging.size_ratio = 10
        merging.max_size_amplification_percent = 50
        options.set_universal_compaction_options(merging)
        options.set_level_zero_file_num_compaction_trigger(8)
    options.set_block_based_table_factory(table)
    options.set_write_buffer_size(16 * MIB)
    # A memtable counts against the shared budget by whole arena blocks. At the default (1 MiB) some
    # dozens of nearly empty partitions fill the budget and every write flushes (seen: 600 writes a second).
    options.set_arena_block_size(64 * 1024)
    options.set_max_write_buffer_number(3)
    options.set_target_file_size_base(32 * MIB)
    return options
