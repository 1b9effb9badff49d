"""An event loop whose time is a number and whose processes can be killed or frozen between two steps.

Ready callbacks run in the order in which they became ready, as asyncio does it; what interleaves is up to
the latencies that the simulated world draws from its seed. When nothing is ready, time jumps to the next
timer. Every callback belongs to the process in whose context it was scheduled: those of a dead process are
dropped (so no ``finally`` runs, as after kill -9), those of a frozen one wait until it wakes.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar
from typing import Any

OWNER: ContextVar[Process | None] = ContextVar("owner", default=None)


class Deadlock(Exception):  # noqa: N818 - it says what is the matter
    """Nobody has anything left to do, and the simulation is not over."""


class Process:
    """What lives and dies as one. ``watch`` is asked after each step of one of its tasks."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.frozen = False
        self.watch: Callable[[asyncio.Task[Any]], None] | None = None
        self.tasks: set[asyncio.Task[Any]] = set()
        """Kept alive with it: a task that is collected would run its ``finally``."""
        self.stash: list[asyncio.Handle] = []
        self._context = Context()
        self._context.run(OWNER.set, self)

    def start(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        loop = asyncio.get_running_loop()
        return loop.create_task(coroutine, name=name, context=self._context.copy())


class SimLoop(asyncio.BaseEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self.steps = 0
        self.errors: list[dict[str, Any]] = []
        self.set_task_factory(_task)  # type: ignore[arg-type]  # the stub knows no context
        self.set_exception_handler(lambda _, context: self.errors.append(context))

    def time(self) -> float:
        return self.seconds

    def at(self, seconds: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Like ``call_at``, but belongs to the world and not to the process that asks."""
        return self.call_at(seconds, callback, *args, context=Context())

    def thaw(self, process: Process) -> None:
        process.frozen = False
        ready, process.stash = process.stash, []
        self._ready.extend(ready)  # type: ignore[attr-defined]  # BaseEventLoop's own queue

    def _run_once(self) -> None:
        ready: Any = self._ready  # type: ignore[attr-defined]  # as above
        heap: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]  # as above
        while not ready:
            if not heap:
                raise Deadlock
            timer = heapq.heappop(heap)
            timer._scheduled = False  # type: ignore[attr-defined]  # what BaseEventLoop does
            if not timer.cancelled():
                self.seconds = max(self.seconds, timer.when())
                ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle.cancelled():
                continue
            owner: Process | None = handle._context.get(OWNER)
            if owner is not None:
                if not owner.alive:
                    continue
                if owner.frozen:
                    owner.stash.append(handle)
                    continue
            self.steps += 1
            handle._run()
            if owner is not None and owner.watch is not None and owner.alive:
                task = getattr(handle._callback, "__self__", None)
                if isinstance(task, asyncio.Task) and not task.done():
                    owner.watch(task)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers leave the heap when their time comes."""

    def _process_events(self, event_list: object) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """There is nobody to wake: no other thread."""


def _task(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], context: Context | None = None
) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, context=context)
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # the dead don't end their tasks
    owner = (context.get(OWNER) if context is not None else None) or OWNER.get()
    if owner is not None:
        owner.tasks.add(task)
        task.add_done_callback(owner.tasks.discard)
    return task
