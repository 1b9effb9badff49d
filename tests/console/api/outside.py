"""Local providers for a console of the tests, on a loop of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from tests.console.api.conftest import DEADLINE


class Local(Protocol):
    async def start(self, host: str = ..., port: int = ...) -> None: ...

    async def stop(self) -> None: ...


@contextmanager
def running(*fakes: Local) -> Iterator[None]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, loop).result(DEADLINE)

    try:
        for fake in fakes:
            run(fake.start())
        yield
        for fake in fakes:
            run(fake.stop())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
