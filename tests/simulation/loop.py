"""An event loop whose time is a number and whose processes can be killed or frozen between two steps.

Ready callbacks run in the order in which they became ready, as asyncio does it; what interleaves is up to
the latencies that the simulated world draws from its seed. When nothing is ready, time jumps to the next
timer. Every callback belongs to the process in whose context it was scheduled: those of a dead process are
dropped (so no ``finally`` runs, as after kill -9), those of a frozen one wait until it wakes.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar
from itertools import count
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
        self.tasks: list[asyncio.Task[Any]] = []
        """Kept alive with it: a task that is collected would run its ``finally``. Some have ended."""
        self._many = 100
        self.stash: list[asyncio.Handle] = []
        self._context = Context()
        self._context.run(OWNER.set, self)

    def start(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        loop = asyncio.get_running_loop()
        return loop.create_task(coroutine, name=name, context=self._context.copy())

    def keep(self, task: asyncio.Task[Any]) -> None:
        self.tasks.append(task)
        if len(self.tasks) > self._many:
            self.tasks = [task for task in self.tasks if not task.done()]
            self._many = 2 * len(self.tasks) + 100


class SimLoop(asyncio.BaseEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self.steps = 0
        self.errors: list[dict[str, Any]] = []
        self._due: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = count()
        self.set_task_factory(_task)  # type: ignore[arg-type]  # the stub knows no context
        self.set_exception_handler(lambda _, context: self.errors.append(context))

    def time(self) -> float:
        return self.seconds

    def call_soon(  # type: ignore[override]  # the stub's type variables say no more
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._due.append(handle)
        return handle

    def call_at(  # type: ignore[override]  # as above
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def call_later(  # type: ignore[override]  # as above
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.seconds + delay, callback, *args, context=context)

    def at(self, seconds: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Like ``call_at``, but belongs to the world and not to the process that asks."""
        return self.call_at(seconds, callback, *args, context=Context())

    def thaw(self, process: Process) -> None:
        process.frozen = False
        ready, process.stash = process.stash, []
        self._due.extend(ready)

    def _run_once(self) -> None:
        due = self._due
        while not due:
            if not self._timers:
                raise Deadlock
            when, _, timer = heapq.heappop(self._timers)
            if not timer._cancelled:  # a call less than cancelled()
                self.seconds = max(self.seconds, when)
                due.append(timer)
        while due and not self._stopping:  # type: ignore[attr-defined]  # BaseEventLoop's own
            handle: Any = due.popleft()
            if handle._cancelled:
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
        owner.keep(task)
    return task
