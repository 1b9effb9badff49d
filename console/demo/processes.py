"""The processes of the demo: started with their output in a file, known by pid, gone when the demo is gone.

Each child is asked by the kernel to be killed when the demo dies, however it dies (Linux: prctl(2),
PR_SET_PDEATHSIG); everywhere else ``stop_all`` at the end is what ends them.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_LAST_LINES = 12


class DemoError(RuntimeError):
    """The demo can't go on; the text says what happened and where to look."""


@dataclass(slots=True)
class Child:
    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    def check(self) -> None:
        """Raises DemoError, with the last lines of its output, if the process has ended."""
        code = self.popen.poll()
        if code is not None:
            lines = self.log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
            said = "\n".join(f"    {line}" for line in lines) or "    (it said nothing)"
            raise DemoError(f"{self.name} ended with code {code}; the end of {self.log}:\n{said}")


class Processes:
    """Every child by name. ``logs`` is the folder of their outputs, which are appended to."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._children: dict[str, Child] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, arguments: Sequence[str], environment: Mapping[str, str | None]) -> Child:
        """Runs ``python ARGUMENTS`` with our environment and these changes (None: unset). A Ctrl-C at the
        terminal reaches the demo alone, which ends the rest in order."""
        log = self._logs / f"{name}.log"
        merged = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
        with log.open("ab") as output:
            popen = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={key: value for key, value in merged.items() if value is not None},
                start_new_session=True,
                preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509 - one prctl call; the demo has no locks
            )
        child = Child(name, popen, log)
        self._children[name] = child
        return child

    def get(self, name: str) -> Child:
        return self._children[name]

    def check(self) -> None:
        """Raises DemoError if any child has ended."""
        for child in self._children.values():
            child.check()

    def kill(self, name: str) -> int:
        """SIGKILL: the process gets no chance to tidy up. Returns its pid once it is gone."""
        child = self._children.pop(name)
        child.popen.kill()
        child.popen.wait()
        return child.pid

    def stop_all(self, *, patience: float = 5.0) -> None:
        """Asks all to end, last started first, and kills those that have not after ``patience`` seconds."""
        children = list(self._children.values())[::-1]
        self._children.clear()
        for child in children:
            if child.popen.poll() is None:
                child.popen.send_signal(signal.SIGTERM)
        until = time.monotonic() + patience
        for child in children:
            try:
                child.popen.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.popen.kill()
                child.popen.wait()


def read_ready(file: Path, child: Child, *, deadline: float = 30.0) -> dict[str, Any]:
    """The JSON object that ``child`` writes (as a whole) once it listens.

    Raises DemoError when it ends first, or takes longer than ``deadline`` seconds.
    """
    until = time.monotonic() + deadline
    while True:
        try:
            found: dict[str, Any] = json.loads(file.read_text())
            return found
        except (FileNotFoundError, json.JSONDecodeError):
            child.check()
            if time.monotonic() > until:
                raise DemoError(
                    f"{child.name} was not ready within {deadline:.0f} s; see {child.log}"
                ) from None
            time.sleep(0.02)


def wait_until_ready(address: str, child: Child, *, deadline: float = 30.0) -> None:
    """Until ``address`` answers 200. Raises as ``read_ready``."""
    until = time.monotonic() + deadline
    while True:
        reason = "no answer"
        try:
            with urllib.request.urlopen(address, timeout=5):  # noqa: S310 - our own process on loopback
                return
        except urllib.error.HTTPError as refused:
            with refused:
                reason = refused.read().decode(errors="replace")
        except OSError:
            pass
        child.check()
        if time.monotonic() > until:
            raise DemoError(f"{child.name} was not ready within {deadline:.0f} s ({reason}); see {child.log}")
        time.sleep(0.05)


def _die_with(parent: int) -> Callable[[], None] | None:
    if _LIBC is None:
        return None
    libc = _LIBC

    def before_exec() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the call above
            os._exit(1)

    return before_exec
