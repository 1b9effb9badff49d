"""A broker that stays when the command that started it has ended: ``up``, ``down`` and ``status``."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.local_kafka.cluster import LocalKafka
from deploy.local_kafka.jars import LocalKafkaError, cache_folder


@dataclass(frozen=True, slots=True)
class Standing:
    """What ``up`` left running."""

    bootstrap: str
    folder: str
    pids: tuple[int, ...]


def default_folder() -> Path:
    return cache_folder() / "local-kafka"


def up(folder: Path, *, nodes: int = 1) -> Standing:
    """Starts a broker with fresh data in ``folder`` unless one is running there. Raises LocalKafkaError."""
    running = status(folder)
    if running is not None:
        return running
    shutil.rmtree(folder, ignore_errors=True)
    kafka = LocalKafka(nodes=nodes, folder=folder)
    kafka.start()
    standing = Standing(kafka.bootstrap, str(folder), tuple(node.pid for node in kafka.nodes))
    _file(folder).write_text(json.dumps(asdict(standing)))
    return standing


def status(folder: Path) -> Standing | None:
    """What runs in ``folder``; None when nothing does, or not all of it."""
    try:
        found = json.loads(_file(folder).read_text())
    except FileNotFoundError:
        return None
    standing = Standing(found["bootstrap"], found["folder"], tuple(found["pids"]))
    return standing if all(_is_ours(pid, folder) for pid in standing.pids) else None


def down(folder: Path, timeout: float = 30.0) -> bool:
    """Ends what ``up`` started in ``folder`` and removes its data. False: nothing was running.

    Raises LocalKafkaError when a process does not end.
    """
    try:
        pids = json.loads(_file(folder).read_text())["pids"]
    except FileNotFoundError:
        return False
    # A process id may have been given to another program since: only what carries our folder is ended.
    ours = [pid for pid in pids if _is_ours(pid, folder)]
    for pid in ours:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while any(_is_ours(pid, folder) for pid in ours):
        if time.monotonic() > deadline:
            raise LocalKafkaError(f"the broker does not end: processes {ours}, log in {folder}")
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)
    return bool(ours)


def _file(folder: Path) -> Path:
    return folder / "standing.json"


def _is_ours(pid: int, folder: Path) -> bool:
    process = Path("/proc") / str(pid)
    if not process.parent.joinpath("self").exists():  # not Linux: all that can be asked is whether it lives
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True
    try:
        ended = "\nState:\tZ" in (process / "status").read_text()
        return not ended and str(folder).encode() in (process / "cmdline").read_bytes()
    except FileNotFoundError:
        return False
