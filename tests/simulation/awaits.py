"""Every place at which the runtime lets go of the processor: found in its source, none is forgotten."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from types import CodeType
from typing import Any

import agents

FOLDER = Path(agents.__file__).parent
NOT_SIMULATED: Mapping[str, str] = {
    "worker.": "the wiring of the real ports: processes in tests/integration die there",
    "web.": "answers who asks; nothing waits for it",
    "listening.": "how the gateway and the console listen; a worker does not",
    "overview.": "what people and orchestrators are shown; nothing waits for it",
    "pacing.": "what workers tell each other of rates, and no simulated account has one (test_pacing.py)",
    "reseeding.": "what is done before the first partition, when a changelog was made anew "
    "(tests/agents/test_reseeding.py, tests/integration/test_topic_faults.py)",
    "host.Host._open_later": "only after that, too",
    "host.Host._give_up_waiting": "as above",
    "host.Host.when_open.waiting#1": "only while a partition is halted (test_reseeding.py)",
    "host.Host.pause#2": "as above",
    "host.Host.close#2": "as above",
    "partition.PartitionStore._restore#3": "waits only for a changelog that has no owner (test_reseeding.py)",
    "partition.PartitionStore.look#1": "asks only when a log has become shorter (test_reseeding.py)",
    "hold.": "asks the brokers where topics end: the simulated worker asks ``agents.unread`` itself",
    "sender_partition.SenderPartition.say_again#1": "as ``EntityPartition.say_again#1``, of a worker without "
    "entity partitions, if a round begins right after its look (tests/integration/test_clock_faults.py)",
    "sender_partition.SenderPartition._send#1": "waits only where more may have begun than a provider takes "
    "at once (tests/agents/test_failover.py)",
    "sender_partition.SenderPartition._inquire#1": "as above",
    "timers.register.": "Faust's side of an agent",
    "entities.entity_agent.": "Faust's side of an agent",
    "consents.register.": "Faust's side of an agent",
    "patience.PatientRegistry.register_all#1": "only ``Worker.start`` calls it, before the first partition",
    "reference.ReferenceTables.start#": "starts the reader's thread, before the first partition",
    "reference.ReferenceTables.caught_up#": "waits for the reader's thread; ``applied`` for what it has read",
}
"""Beginnings of sites at which nobody dies here, and why not."""


@cache
def modules() -> dict[str, str]:
    """The files of the runtime that await anything at all, with their names."""
    return {str(path): path.stem for path in sorted(FOLDER.glob("*.py")) if "await " in path.read_text()}


@cache
def sites() -> dict[str, str]:
    """``module.function#number`` of each await, with its source line."""
    return {
        site: line
        for site, line in every()
        if not site.startswith(tuple(NOT_SIMULATED))
        and "asyncio.timeout(" not in line  # neither entering nor leaving it ever waits
    }


def every() -> list[tuple[str, str]]:
    """Those of NOT_SIMULATED too."""
    return sorted(_table().values())


def where(task: asyncio.Task[Any]) -> list[str]:
    """The awaits at which the task is suspended, from the outermost."""
    found: list[str] = []
    coroutine: Any = task.get_coro()
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None)
        if frame is None:
            break
        code = frame.f_code
        key = id(code), frame.f_lasti
        site = _SITES.get(key)
        if site is None:
            site = _SITES[key] = code, _site(code, frame.f_lasti)
        if site[1]:
            found.append(site[1])
        coroutine = coroutine.cr_await
    return found


_SITES: dict[tuple[int, int], tuple[CodeType, str]] = {}
"""By code and last instruction; a code object is slow to hash, and kept alive here with its id."""


def _site(code: CodeType, last: int) -> str:
    if code.co_filename not in modules():
        return ""
    line, _, column, _ = next(islice(code.co_positions(), last // 2, None))
    found = _table().get((code.co_filename, line or 0, column or 0))
    return found[0] if found is not None else ""


@cache
def _table() -> dict[tuple[str, int, int], tuple[str, str]]:
    found: dict[tuple[str, int, int], tuple[str, str]] = {}
    for path, module in modules().items():
        text = Path(path).read_text()
        lines = text.splitlines()
        for name, function in _functions(ast.parse(text), ""):
            nodes = [node for node in _own(function) if isinstance(node, ast.Await | ast.AsyncWith)]
            for number, node in enumerate(sorted(nodes, key=lambda node: node.lineno), start=1):
                found[path, node.lineno, node.col_offset] = (
                    f"{module}.{name}#{number}",
                    lines[node.lineno - 1].strip(),
                )
    return found


def _functions(tree: ast.AST, prefix: str) -> Iterator[tuple[str, ast.AsyncFunctionDef]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            if not any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases):
                yield from _functions(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.AsyncFunctionDef):
            yield f"{prefix}{node.name}", node
            yield from _functions(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef):
            yield from _functions(node, f"{prefix}{node.name}.")


def _own(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function without those of functions within it."""
    for node in ast.iter_child_nodes(function):
        if not isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef | ast.Lambda):
            yield node
            yield from _own(node)
