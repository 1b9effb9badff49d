"""A console as a process, put together from the settings."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from console.api.doors import Doors
from console.api.repeats import Repeats
from console.api.server import Console
from console.service.desk import Desk, open_desk
from console.web.site import add_page
from streams.settings import Settings

log = logging.getLogger(__name__)


async def serve(settings: Settings) -> int:
    """Runs until SIGTERM or SIGINT (0), or until nothing more can be written (1). Raises BrokerError,
    RegistryError, SettingsError, and OSError where it can't listen."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()

    def end(code: int) -> None:
        if not ended.done():
            ended.set_result(code)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, 0)
    async with listening(settings, lambda: end(1)) as (_, port, web_port):
        _say_where(settings, port, web_port)
        return await ended


@asynccontextmanager
async def listening(settings: Settings, on_fatal: Callable[[], None]) -> AsyncIterator[tuple[Desk, int, int]]:
    """A console at work; its ports for the world and for operators."""
    async with open_desk(settings) as desk:
        repeats = Repeats(settings.data / "console" / "answers.sqlite")
        doors = Doors(desk.people, time.monotonic)
        console = Console(desk, doors, repeats, on_fatal, settings.console_proxies, add_page)
        try:
            port, web_port = await console.start(
                settings.console_host, settings.console_port, settings.web_host, settings.web_port
            )
            yield desk, port, web_port
        finally:
            await console.stop()
            repeats.close()


def _say_where(settings: Settings, port: int, web_port: int) -> None:
    """To the log, and to ``<data>/console.json`` for whoever started it with port 0."""
    log.info("the console listens on %s:%d, for operators on port %d", settings.console_host, port, web_port)
    where = {"host": settings.console_host, "port": port, "web_port": web_port, "pid": os.getpid()}
    with suppress(OSError):
        partial = settings.data / f".console.json.{os.getpid()}"
        partial.write_text(json.dumps(where))
        partial.replace(settings.data / "console.json")
