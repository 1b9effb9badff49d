"""Whatever a benchmark has started ends with it, however it ends.

A benchmark starts brokers, databases and workers, and some of its programs start others in turn. Killed by
a signal, Python leaves them behind (SIGTERM runs no ``finally``, and neither does a child that is killed). So
each program runs in a process of its own, whose parent does nothing but wait: it adopts what loses its parent
(prctl(2), PR_SET_CHILD_SUBREAPER), and when the program has ended, or somebody wants it to, all that is left
is ended. All temporary folders lie in one, which is removed then. Linux only, as ``measure`` is.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from tests.benchmarks.measure import BenchError, tree

_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE = 10.0
"""Seconds to end after SIGTERM; what they write is thrown away, so SIGKILL does no harm."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

Handlers = Mapping[int, Any]
"""As ``signal.signal`` takes them."""


class _Asked(BaseException):
    """One of the signals came."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run(program: Callable[[], int | None]) -> int:
    """The program's exit code; 128 and the signal's number when one of SIGTERM, SIGINT and SIGHUP ended it.
    To be called before there are threads."""
    sys.stdout.flush()
    sys.stderr.flush()
    with _temporary_folder(), _heeding() as before:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        try:
            child = os.fork()
            if child == 0:
                _inside(program, before)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            code = code if code >= 0 else 128 - code
        except _Asked as asked:
            code = 128 + asked.number
        finally:
            for number in _SIGNALS:  # the second Ctrl-C of somebody impatient must not stop this
                signal.signal(number, signal.SIG_IGN)
            _end_all()
    return code


def _inside(program: Callable[[], int | None], handlers: Handlers) -> NoReturn:
    """In the child."""
    for number, handler in handlers.items():
        signal.signal(number, handler)
    code = 1
    try:
        code = program() or 0
    except SystemExit as wish:
        if isinstance(wish.code, str):
            sys.stderr.write(f"{wish.code}\n")
        else:
            code = wish.code or 0
    except BenchError as error:
        sys.stderr.write(f"benchmark: {error}\n")
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    except BaseException:  # noqa: BLE001 - whatever it is, this process ends here and says why
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # no handlers of the parent's


def _end_all() -> None:
    """SIGTERM, later SIGKILL, to all that descend from this process, until there is nobody."""
    end = time.monotonic() + _PATIENCE
    asked: set[int] = set()
    while left := tree(os.getpid())[1:]:
        late = time.monotonic() > end
        for pid in left:
            if late or pid not in asked:
                asked.add(pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.05)


@contextlib.contextmanager
def _heeding() -> Iterator[Handlers]:
    """Gives the handlers of before. What is ignored (nohup, a shell's background) goes on being ignored."""

    def heed(number: int, _: FrameType | None) -> None:
        raise _Asked(number)

    ignored = [number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_IGN]
    before: dict[int, Any] = {n: signal.signal(n, heed) for n in _SIGNALS if n not in ignored}
    try:
        yield before
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _temporary_folder() -> Iterator[None]:
    """The program's temporary folders, and those of all that it starts, lie in this one."""
    before = os.environ.get("TMPDIR")
    folder = Path(tempfile.mkdtemp(prefix="carillon-bench-"))
    folder.chmod(0o711)  # PostgreSQL and smtp-sink run as other users when this is root
    os.environ["TMPDIR"], tempfile.tempdir = str(folder), str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = None
        os.environ.pop("TMPDIR")
        if before is not None:
            os.environ["TMPDIR"] = before
        shutil.rmtree(folder, ignore_errors=True)
