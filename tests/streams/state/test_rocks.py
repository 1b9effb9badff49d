"""What only the store on disk promises: reopening, crashes, and errors that say what to do."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rocksdict import Options, Rdict

from streams.state.errors import StoreDamaged, StoreLocked, StoreUnavailable, unavailable
from streams.state.rocks import RocksStore, SharedMemory, destroy
from tests.streams.state.writer_process import FAMILIES


def number(data: bytes | None) -> int:
    return int.from_bytes(data or b"", "big")


def test_rows_are_there_after_closing_and_opening(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "deep" / "store", FAMILIES)
    store.write([("rows", b"a", b"1"), ("position", b"p", b"7")])
    store.close()
    again = RocksStore(tmp_path / "deep" / "store", FAMILIES)
    assert again.get("rows", b"a") == b"1"
    assert again.get("position", b"p") == b"7"
    again.close()


def test_what_was_saved_is_there_without_closing(tmp_path: Path) -> None:
    """As after kill -9: another store opens a copy of what lies on the disk."""
    store = RocksStore(tmp_path / "s", FAMILIES)
    store.write([("rows", b"a", b"1"), ("position", b"p", b"7")])
    assert _copied(tmp_path) == (None, None)
    store.save()
    until = time.monotonic() + 30
    while (found := _copied(tmp_path)) == (None, None):
        assert time.monotonic() < until, "nothing was saved"
    assert found == (b"1", b"7")
    store.close()


def _copied(tmp_path: Path) -> tuple[bytes | None, bytes | None]:
    """Nothing, too, when files came and went while they were copied."""
    shutil.rmtree(tmp_path / "copy", ignore_errors=True)
    try:
        shutil.copytree(tmp_path / "s", tmp_path / "copy", ignore=shutil.ignore_patterns("LOCK"))
        copy = RocksStore(tmp_path / "copy", FAMILIES)
    except (shutil.Error, StoreDamaged):
        return None, None
    try:
        return copy.get("rows", b"a"), copy.get("position", b"p")
    finally:
        copy.close()


def test_what_can_not_be_saved_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = RocksStore(tmp_path / "s", FAMILIES)

    def fails() -> None:
        raise StoreUnavailable("no space left")

    store.flush = fails  # type: ignore[method-assign]  # a disk that is full for a moment
    store.save()
    store.close()
    assert "not saved: no space left" in caplog.text


def test_a_family_can_be_added_and_one_that_is_left_out_goes(tmp_path: Path) -> None:
    def opened(*families: str) -> RocksStore:
        return RocksStore(tmp_path / "s", families)

    opened("rows").close()
    store = opened("rows", "more")
    store.write([("rows", b"a", b"1"), ("more", b"a", b"2")])
    store.close()
    opened("rows").close()
    store = opened("rows", "more")
    assert (store.get("rows", b"a"), store.get("more", b"a")) == (b"1", None)
    store.close()


def test_a_store_goes_from_an_earlier_release_to_this_one_and_back(tmp_path: Path) -> None:
    """Earlier releases merge files by levels."""

    def put(store: RocksStore | Rdict, step: int) -> None:
        """A dozen files, and a row that comes and goes in each."""
        for part in range(12):
            rows = [(n.to_bytes(4, "big"), step.to_bytes(4, "big") * 20) for n in range(part, 6000, 12)]
            gone = (part + 6000 + 12 * step).to_bytes(4, "big")
            if isinstance(store, RocksStore):
                store.write([*(("due", key, value) for key, value in rows), ("due", gone, b"x")])
                store.write([("due", gone, None)])
                store.flush()
            else:
                due = store.get_column_family("due")
                for key, value in rows:
                    due[key] = value
                due[gone] = b"x"
                del due[gone]
                due.flush()

    def by_levels() -> Rdict:
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.create_missing_column_families(True)
        options.set_atomic_flush(True)
        return Rdict(
            str(tmp_path), options, {name: Options(raw_mode=True) for name in ("default", *FAMILIES)}
        )

    for step in (1, 3):
        earlier = by_levels()
        put(earlier, step)
        earlier.close()
        del earlier
        store = RocksStore(tmp_path, FAMILIES)
        found = store.scan("due", b"", None, 10_000)
        assert [number(key) for key, _ in found] == list(range(6000))
        assert {value for _, value in found} == {step.to_bytes(4, "big") * 20}
        put(store, step + 1)
        store.close()
        earlier = by_levels()
        kept = list(earlier.get_column_family("due").items())
        assert kept == [(n.to_bytes(4, "big"), (step + 1).to_bytes(4, "big") * 20) for n in range(6000)]
        earlier.close()
        del earlier


@pytest.mark.parametrize(
    ("how", "every", "enough", "pause_ms"),
    [
        pytest.param("leave", 1, 9000, 0.0, id="flushed by RocksDB"),
        # Flushing after every second batch, the writer is in a flush nearly always; the pause moves the
        # kill to different places in it.
        *(pytest.param("flush", 2, 100, 0.4 * n, id=f"flushed by hand {n}") for n in range(8)),
        # Written on while it is saved, all the time.
        *(pytest.param("save", 2, 9000, 0.4 * n, id=f"saved {n}") for n in range(4)),
    ],
)
def test_a_kill_in_mid_write_tears_no_batch(
    tmp_path: Path, how: str, every: int, enough: int, pause_ms: float
) -> None:
    path = tmp_path / "store"
    writer = subprocess.Popen(
        [sys.executable, "-m", "tests.streams.state.writer_process", str(path), str(every), how],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    flushed = 0
    for line in writer.stdout:  # far enough for several flushes; then in mid-write
        word, _, reached = line.partition(" ")
        flushed = int(reached) if word == "flushed" else flushed
        if int(reached) >= enough:
            break
    time.sleep(pause_ms / 1000)
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    store = RocksStore(path, FAMILIES)
    position = number(store.get("position", b"position"))
    assert position >= flushed  # what flush() promised
    assert position > 0
    rows = [number(key) for key, _ in store.scan("rows", b"", None, 1_000_000)]
    due = [number(key) for key, _ in store.scan("due", b"", None, 1_000_000)]
    store.close()
    assert rows == list(range(1, position + 1))
    assert due == list(range(max(1, position - 9), position + 1))


def test_a_second_store_on_the_directory_is_refused_until_the_first_is_closed(tmp_path: Path) -> None:
    first = RocksStore(tmp_path / "s", FAMILIES)
    first.write([("rows", bytes([n]), b"") for n in range(9)])
    first.scan("rows", b"", b"\x05", 2)  # a living iterator would keep the database open
    with pytest.raises(StoreLocked):
        RocksStore(tmp_path / "s", FAMILIES)
    first.close()
    RocksStore(tmp_path / "s", FAMILIES).close()


def test_missing_corrupt_and_foreign_paths_are_damage_and_destroy_repairs_them(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with pytest.raises(StoreDamaged):
        RocksStore(path, FAMILIES, create=False)
    RocksStore(path, FAMILIES).close()
    (path / "CURRENT").write_text("garbage\n")
    with pytest.raises(StoreDamaged):
        RocksStore(path, FAMILIES)
    destroy(path)
    destroy(path)
    path.write_text("a file where the store should be")
    with pytest.raises(StoreDamaged):
        RocksStore(path, FAMILIES)
    destroy(path)
    RocksStore(path, FAMILIES).close()


def test_a_corrupt_table_file_is_seen_on_reading(tmp_path: Path) -> None:
    path = tmp_path / "s"
    store = RocksStore(path, FAMILIES)
    store.write([("rows", n.to_bytes(4, "big"), os.urandom(500)) for n in range(2000)])
    store.close()
    table = max(path.glob("*.sst"), key=lambda file: file.stat().st_size)
    content = bytearray(table.read_bytes())
    content[1000:200_000] = b"\x00" * 199_000
    table.write_bytes(content)
    store = RocksStore(path, FAMILIES, cache=SharedMemory())
    with pytest.raises(StoreDamaged):
        store.scan("rows", b"", None, 10_000)
    with pytest.raises(StoreDamaged):
        store.get_many("rows", [n.to_bytes(4, "big") for n in range(300)])
    store.close()
    # RocksDB would open it again as if nothing were the matter, and its owner would die at it for ever.
    with pytest.raises(StoreDamaged, match=r"found damaged while it was in use: .*mismatch"):
        RocksStore(path, FAMILIES)
    destroy(path)
    RocksStore(path, FAMILIES).close()


def test_without_its_current_file_a_store_is_damaged_not_new(tmp_path: Path) -> None:
    path = tmp_path / "s"
    RocksStore(path, FAMILIES).close()
    for file in (path / "CURRENT", *path.glob("*.log")):
        file.unlink()
    with pytest.raises(StoreDamaged, match="CURRENT is missing"):
        RocksStore(path, FAMILIES)


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "free space there, or set CARILLON_DATA"),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), "quota"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS)), "mount it for writing"),
        (OSError(errno.EACCES, os.strerror(errno.EACCES)), "give the folder to the user"),
        ("IO error: While open a file for random read: /s/1.sst: Too many open files", "ulimit -n"),
    ],
)
def test_what_a_person_must_do_is_said(tmp_path: Path, said: object, advice: str) -> None:
    found = str(unavailable(tmp_path, said))
    assert advice in found
    assert str(tmp_path) in found
    assert "Nothing is lost" in found
    assert str(said) in found


def test_what_is_damage_asks_nobody() -> None:
    assert unavailable(Path("s"), "Corruption: block checksum mismatch") is None


def test_a_disk_out_of_reach_is_not_damage(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable):
        RocksStore(tmp_path / "file" / "store", FAMILIES)
