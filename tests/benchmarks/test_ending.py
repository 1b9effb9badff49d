"""A benchmark that is ended leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A program that starts one that starts another, as hand-over does with its peers' databases. The one between
# is killed: what it has started has lost its parent.
_PROGRAM = """
import os, subprocess, sys, tempfile, time
from pathlib import Path
from tests.benchmarks import ending

note = Path(sys.argv[1])
sleeper = "import time; time.sleep(3600)"
between = (
    "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', %r]);"
    "print(p.pid, flush=True); time.sleep(3600)" % sleeper
)

def program():
    folder = tempfile.mkdtemp()
    one = subprocess.Popen([sys.executable, "-c", between], stdout=subprocess.PIPE, text=True)
    orphan = one.stdout.readline().strip()
    one.kill()
    one.wait()
    other = subprocess.Popen([sys.executable, "-c", sleeper])
    note.with_suffix(".new").write_text(f"{orphan} {other.pid} {os.getpid()} {folder}")
    note.with_suffix(".new").rename(note)
    if sys.argv[2] == "wait":
        time.sleep(3600)
    sys.exit(sys.argv[2] if sys.argv[2] != "3" else 3)

sys.exit(ending.run(program))
"""


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def started(note: Path, how: str) -> tuple[subprocess.Popen[bytes], list[int], Path]:
    """The supervisor, what it has started, and its folder."""
    program = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(note), how], cwd=ROOT, stderr=subprocess.PIPE
    )
    until(note.exists)
    *pids, folder = note.read_text().split()
    return program, [int(pid) for pid in pids], Path(folder)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_that_was_started(number: signal.Signals, tmp_path: Path) -> None:
    program, pids, folder = started(tmp_path / "note", "wait")
    os.kill(program.pid, number)
    assert program.wait(60) == 128 + number
    assert all(map(gone, pids))
    assert not folder.exists()


@pytest.mark.parametrize(("how", "code", "said"), [("3", 3, ""), ("no such thing", 1, "no such thing\n")])
def test_what_is_left_at_the_end_is_ended_too(how: str, code: int, said: str, tmp_path: Path) -> None:
    program, pids, folder = started(tmp_path / "note", how)
    assert program.wait(60) == code
    assert program.stderr is not None
    assert program.stderr.read().decode() == said
    assert all(map(gone, pids))
    assert not folder.exists()


def test_what_is_ignored_goes_on_being_ignored(tmp_path: Path) -> None:
    """As nohup has it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        program, pids, _ = started(tmp_path / "note", "wait")
    finally:
        signal.signal(signal.SIGHUP, before)
    os.kill(program.pid, signal.SIGHUP)
    assert not gone(pids[1])
    program.terminate()
    assert program.wait(60) == 128 + signal.SIGTERM
    assert all(map(gone, pids))
