"""What a process tree costs, the spread of several runs, and where it was measured."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1 << 20


class BenchError(RuntimeError):
    """A system did not do its job; the text says where its output lies."""


def say(text: str) -> None:
    """Progress, with the time: a long benchmark must not look dead."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')}  {text}\n")
    sys.stderr.flush()


def tree(pid: int) -> list[int]:
    """The process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def cpu(pid: int) -> float:
    """CPU seconds, user and system, of a process tree so far: of those that live and, through their parents,
    of those that have ended and were waited for (proc(5): fields 14 to 17)."""
    return sum(sum(map(int, fields[11:15])) for one in tree(pid) if (fields := _stat(one))) / _TICKS


def peak_memory(pid: int) -> int:
    """Bytes: the most that each living process of the tree has had resident, added up."""
    total = 0
    for one in tree(pid):
        try:
            lines = (Path("/proc") / str(one) / "status").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    return total


def folder_size(folder: Path) -> int:
    """Bytes on disk, as allocated (a log file may be preallocated)."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def load_now() -> float:
    """How many processes wanted a core in the last minute: what a figure of a shared machine is worth."""
    return os.getloadavg()[0]


def _stat(pid: int) -> list[str]:
    """The fields from the third on; empty when the process is gone."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


@dataclass(frozen=True, slots=True)
class Spread:
    """Least, median and greatest of several runs."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        found = sorted(values)
        return cls(found[0], statistics.median(found), found[-1])

    def __str__(self) -> str:
        if self.low == self.high:
            return number(self.middle)
        return f"{number(self.middle)} ({number(self.low)}-{number(self.high)})"


def number(value: float) -> str:
    """Three digits, as a reader wants them."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


@dataclass(slots=True)
class Table:
    """One table of the report. ``aim``: what is to be reached, and whether it was."""

    name: str
    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    values: dict[str, float] = field(default_factory=dict)
    """Medians by name, for ``carillon capacity`` and for whoever compares two reports."""

    def markdown(self) -> str:
        lines = [f"### {self.title}", ""]
        lines.append("| " + " | ".join(self.columns) + " |")
        lines.append("| " + " | ".join("---" for _ in self.columns) + " |")
        lines += ["| " + " | ".join(row) + " |" for row in self.rows]
        if self.notes:
            lines += ["", *(f"- {note}" for note in self.notes)]
        return "\n".join(lines) + "\n"


def machine() -> dict[str, str]:
    """Where and with what; the load tells how much others were at work."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    packages = (
        "faust-streaming",
        "aiokafka",
        "confluent-kafka",
        "rocksdict",
        "fastavro",
        "msgspec",
        "uvloop",
    )
    return {
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "machine": f"{os.cpu_count()} cores, {model}, {memory:.0f} GB, load {load_now():.1f}",
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def save(folder: Path, tables: Sequence[Table], facts: dict[str, str]) -> None:
    """One file for each table, which ``report`` puts together."""
    folder.mkdir(parents=True, exist_ok=True)
    for table in tables:
        where = facts | {"load at the end": f"{load_now():.1f}"}
        whole: dict[str, Any] = {"facts": where, "table": asdict(table)}
        (folder / f"{table.name}.json").write_text(json.dumps(whole, indent=1) + "\n")
        sys.stdout.write("\n" + table.markdown())
        sys.stdout.flush()
