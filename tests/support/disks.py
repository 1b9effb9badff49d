"""What can happen to a worker's data folder: it is lost, put back as it was, damaged, or full."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_INSIDE = "CARILLON_TEST_NAMESPACE"
"""Set in the process that ``may_mount`` starts, so that it goes no deeper."""


def flip(store: Path) -> None:
    """Bits of the first block of every table file: seen only when that block is read."""
    for table in tables(store):
        content = bytearray(table.read_bytes())
        for place in range(8, 40):
            content[place] ^= 0xFF
        table.write_bytes(content)


def truncate_manifest(store: Path) -> None:
    [manifest] = store.glob("MANIFEST-*")
    # So short that nothing of it counts: RocksDB opens one of which a part is left, as it was at that time.
    os.truncate(manifest, 16)


def remove_current(store: Path) -> None:
    (store / "CURRENT").unlink()


def remove_table(store: Path) -> None:
    max(tables(store), key=lambda table: table.stat().st_size).unlink()


DAMAGES: dict[Callable[[Path], None], str] = {
    flip: ".sst offset",
    truncate_manifest: "may be corrupted",
    remove_current: "the file CURRENT is missing",
    remove_table: "No such file or directory",
}
"""By what is done to a store: part of the line that says why it was rebuilt."""


def tables(store: Path) -> list[Path]:
    """Its table files (SST); at least one, or there is nothing to damage."""
    found = sorted(store.glob("*.sst"))
    assert found, f"nothing was flushed in {store}"
    return found


def copy(data: Path, to: Path) -> None:
    shutil.copytree(data, to)


def put_back(data: Path, copied: Path) -> None:
    shutil.rmtree(data)
    shutil.copytree(copied, data)


class SmallDisk:
    """A file system of its own for one folder."""

    def __init__(self, folder: Path) -> None:
        self._ballast = folder / "ballast"

    def fill(self, leave: int = 0) -> None:
        """Takes all space but ``leave`` bytes."""
        with self._ballast.open("ab") as file:
            size = os.fstat(file.fileno()).st_size
            os.posix_fallocate(file.fileno(), size, self._left() - leave)
        assert self._left() <= leave

    def free(self) -> None:
        self._ballast.unlink()

    def _left(self) -> int:
        found = os.statvfs(self._ballast)
        return found.f_bavail * found.f_frsize


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[SmallDisk]:
    """A tmpfs of ``size`` bytes at ``folder``, which it makes. Only where ``may_mount`` says so."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield SmallDisk(folder)
    finally:
        # Lazily: a worker that a failed test has not ended yet keeps its files, and nothing stays behind.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def may_mount(folder: Path, request: pytest.FixtureRequest) -> bool:
    """True if this process may mount. If not, the test is run in one that may (with a user and a mount
    namespace of its own), and False says that nothing is left to do here. Skips where neither is allowed."""
    probe = folder / "probe"
    probe.mkdir()
    mount = ["mount", "-t", "tmpfs", "tmpfs", str(probe)]
    if subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        subprocess.run(["umount", str(probe)], check=True)
        return True
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    inside = subprocess.run([*namespace, *mount], capture_output=True, text=True, check=False)
    if inside.returncode != 0 or _INSIDE in os.environ:
        pytest.skip(
            "this process may not mount a small file system, not even in a namespace of its own "
            f"({inside.stderr.strip()}): run as root, or allow unprivileged user namespaces"
        )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", request.node.nodeid]
    done = subprocess.run(
        [*namespace, *command, "--basetemp", str(folder / "inside")],
        cwd=request.config.rootpath,
        env=os.environ | {_INSIDE: "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return False
