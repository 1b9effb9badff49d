"""A console as a process, put together from the settings."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from agents.listening import until_ended
from console.api.doors import Doors
from console.api.repeats import Repeats
from console.api.server import Console
from console.service.desk import Desk, open_desk
from console.web.site import add_page
from streams.settings import Settings


async def serve(settings: Settings) -> int:
    """Runs until SIGTERM or SIGINT (0), or until nothing more can be written (1). Raises BrokerError,
    RegistryError, SettingsError, and OSError where it can't listen."""

    @asynccontextmanager
    async def ports(on_fatal: Callable[[], None]) -> AsyncIterator[tuple[int, int]]:
        async with listening(settings, on_fatal) as (_, port, web_port):
            yield port, web_port

    return await until_ended(ports, "console", settings.console_host, settings.data)


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
