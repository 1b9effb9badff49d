"""A cluster that stays when the command that started it has ended: ``up``, ``down``, ``status``, and its
nodes by number."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from deploy.local_kafka.cluster import LocalKafka
from deploy.local_kafka.jars import LocalKafkaError, cache_folder
from deploy.local_kafka.node import Address, Node

_HEAP_MB = 512


@dataclass(frozen=True, slots=True)
class StandingNode:
    """``pid`` None: it is not running."""

    number: int
    ports: dict[str, int]
    pid: int | None

    @property
    def address(self) -> Address:
        return Address(self.number, self.ports)


@dataclass(frozen=True, slots=True)
class Standing:
    """What ``up`` left, at least one node of which runs. ``bootstrap`` names them all."""

    folder: str
    nodes: tuple[StandingNode, ...]

    @property
    def bootstrap(self) -> str:
        return ",".join(node.address.bootstrap for node in self.nodes)


def default_folder() -> Path:
    return cache_folder() / "local-kafka"


def up(folder: Path, *, nodes: int = 1) -> Standing:
    """Starts a cluster with fresh data in ``folder``; of one that runs there already, the nodes that don't.

    Raises LocalKafkaError, also when one of another size runs there.
    """
    running = status(folder)
    if running is None:
        known = _file(folder).exists() or (folder / "node-1").is_dir()  # the latter: of an "up" cut short
        if folder.exists() and any(folder.iterdir()) and not known:
            raise LocalKafkaError(f"{folder} has files that are not ours: name an empty folder")
        shutil.rmtree(folder, ignore_errors=True)
        kafka = LocalKafka(nodes=nodes, folder=folder, heap_mb=_HEAP_MB)
        kafka.start()
        found = [StandingNode(n.address.number, dict(n.address.ports), n.pid) for n in kafka.nodes]
        return _written(Standing(str(folder), tuple(found)))
    if len(running.nodes) != nodes:
        raise LocalKafkaError(
            f"a cluster with nodes={len(running.nodes)} runs in {folder}: end it (down) or use another folder"
        )
    for node in running.nodes:
        if node.pid is None:
            running = start(folder, node.number)
    return running


def status(folder: Path) -> Standing | None:
    """What there is in ``folder``; None when none of its nodes runs."""
    try:
        found = json.loads(_file(folder).read_text())
    except FileNotFoundError:
        return None
    nodes = [StandingNode(**node) for node in found["nodes"]]
    # A process id may have been given to another program since: only what carries our folder is ours.
    seen = [
        node if node.pid and _is_ours(node.pid, node.number, folder) else replace(node, pid=None)
        for node in nodes
    ]
    return Standing(found["folder"], tuple(seen)) if any(node.pid for node in seen) else None


def start(folder: Path, number: int, timeout: float = 60.0) -> Standing:
    """Starts node ``number`` again on its ports and data, unless it runs.

    Raises LocalKafkaError, with the end of its log when it does not get ready: for that, more than half of
    the nodes must run.
    """
    standing, wanted = _node(folder, number)
    if wanted.pid is not None:
        return standing
    home = folder / f"node-{number}"
    lines = (home / "server.properties").read_text().splitlines()
    properties = dict(line.split("=", 1) for line in lines)
    # The cluster id is for formatting, which is behind us.
    node = Node(home, wanted.address, "", properties=properties, heap_mb=_HEAP_MB)
    node.launch()
    standing = _written(_with(standing, replace(wanted, pid=node.pid)))
    node.wait_ready(time.monotonic() + timeout)
    return standing


def stop(folder: Path, number: int, timeout: float = 30.0) -> None:
    """Ends node ``number`` in good order, or by force after ``timeout`` seconds; what it holds stays.
    Raises LocalKafkaError where there is no such node."""
    standing, node = _node(folder, number)
    if node.pid is not None:
        _end(folder, [node], timeout)
        _written(_with(standing, replace(node, pid=None)))


def kill(folder: Path, number: int) -> None:
    """kill -9; what the node holds stays. Raises LocalKafkaError where there is no such node."""
    standing, node = _node(folder, number)
    if node.pid is not None:
        _end(folder, [node], 0)
        _written(_with(standing, replace(node, pid=None)))


def down(folder: Path, timeout: float = 30.0) -> bool:
    """Ends what runs in ``folder`` and removes its data. False: nothing was running."""
    standing = status(folder)
    if standing is not None:
        # The last of several waits for a quorum that has gone: give it little time to say good-bye.
        _end(folder, standing.nodes, timeout if len(standing.nodes) == 1 else min(timeout, 5.0))
    if _file(folder).exists():  # nobody else's folder is removed
        shutil.rmtree(folder, ignore_errors=True)
    return standing is not None


def described(standing: Standing) -> str:
    """Some lines for people."""
    lines = [f"Kafka runs at {standing.bootstrap}", f"  files   {standing.folder}"]
    for node in standing.nodes:
        what = f"process {node.pid}" if node.pid is not None else "not running"
        lines.append(f"  node {node.number}  {node.address.bootstrap}  {what}")
    return "\n".join(lines)


def _node(folder: Path, number: int) -> tuple[Standing, StandingNode]:
    standing = status(folder)
    if standing is None:
        raise LocalKafkaError(f"nothing is running in {folder}: start it first (up)")
    for node in standing.nodes:
        if node.number == number:
            return standing, node
    raise LocalKafkaError(f"there is no node {number}: they are numbered 1 to {len(standing.nodes)}")


def _end(folder: Path, nodes: tuple[StandingNode, ...] | list[StandingNode], timeout: float) -> None:
    """SIGTERM, and SIGKILL to what runs after ``timeout`` seconds; 0: at once."""
    left = {node.number: node.pid for node in nodes if node.pid is not None}
    for sent, patience in ((signal.SIGTERM, timeout), (signal.SIGKILL, 10.0)):
        if not patience:
            continue
        for pid in left.values():
            os.kill(pid, sent)
        until = time.monotonic() + patience
        while left and time.monotonic() < until:
            left = {number: pid for number, pid in left.items() if _is_ours(pid, number, folder)}
            time.sleep(0.05)
    if left:
        raise LocalKafkaError(f"these processes do not end: {list(left.values())}; log in {folder}")


def _with(standing: Standing, changed: StandingNode) -> Standing:
    nodes = (changed if node.number == changed.number else node for node in standing.nodes)
    return replace(standing, nodes=tuple(nodes))


def _written(standing: Standing) -> Standing:
    _file(Path(standing.folder)).write_text(json.dumps(asdict(standing)))
    return standing


def _file(folder: Path) -> Path:
    return folder / "standing.json"


def _is_ours(pid: int, number: int, folder: Path) -> bool:
    """Is it a living process that runs this node?"""
    process = Path("/proc") / str(pid)
    if not process.parent.joinpath("self").exists():  # not Linux: all that can be asked is whether it lives
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True
    try:
        ended = "\nState:\tZ" in (process / "status").read_text()
        return not ended and str(folder / f"node-{number}").encode() in (process / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
