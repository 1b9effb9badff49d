"""What the HTTP servers of this program have in common: a listener for the world and one for operators, until
somebody ends the process."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

log = logging.getLogger(__name__)

_STOP_WITHIN = 10.0
"""Seconds for what is being served when the process is to end."""


@dataclass(frozen=True, slots=True)
class Operators:
    """What those who operate a process ask it: ``GET /live``, ``/ready`` (200, or 503 with the reasons) and
    ``/metrics``."""

    not_live: Callable[[], list[str]]
    not_ready: Callable[[], list[str]]
    registry: CollectorRegistry
    ready: Gauge

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/live", self._show_live)
        app.router.add_get("/ready", self._show_ready)
        app.router.add_get("/metrics", self._show_metrics)
        return app

    async def _show_live(self, _: web.Request) -> web.Response:
        return _state("live", self.not_live())

    async def _show_ready(self, _: web.Request) -> web.Response:
        return _state("ready", self.not_ready())

    async def _show_metrics(self, _: web.Request) -> web.Response:
        self.ready.set(not self.not_ready())
        body = generate_latest(self.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


class Listeners:
    """Applications on ports. No access logs: paths hold keys, and names of customers and orders."""

    def __init__(self) -> None:
        self._runners: list[web.AppRunner] = []

    async def add(self, app: web.Application, host: str, port: int) -> int:
        """The port (0: a free one). Raises OSError."""
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_WITHIN)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, host, port).start()
        return int(runner.addresses[0][1])

    async def stop(self) -> None:
        """What is being served is finished."""
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()


async def until_ended(
    listening: Callable[[Callable[[], None]], AbstractAsyncContextManager[tuple[int, int]]],
    name: str,
    host: str,
    data: Path,
) -> int:
    """Runs what listens until SIGTERM or SIGINT (0), or until it says that it can write nothing more (1).

    ``listening`` is given what to call then; its ports are those for the world and for operators. They go
    to the log, and to ``<data>/<name>.json`` for whoever chose port 0.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()

    def end(code: int) -> None:
        if not ended.done():
            ended.set_result(code)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, 0)
    async with listening(lambda: end(1)) as (port, web_port):
        log.info("the %s listens on %s:%d, for operators on port %d", name, host, port, web_port)
        try:
            write_where(data, name, {"host": host, "port": port, "web_port": web_port})
        except OSError as error:  # it serves as well without
            log.warning("%s.json could not be written: %s", name, error)
        return await ended


def write_where(data: Path, name: str, where: dict[str, object]) -> None:
    """``<data>/<name>.json``, as a whole. Raises OSError."""
    data.mkdir(parents=True, exist_ok=True)
    partial = data / f".{name}.json.{os.getpid()}"
    partial.write_text(json.dumps({**where, "pid": os.getpid()}))
    partial.replace(data / f"{name}.json")


def _state(name: str, reasons: list[str]) -> web.Response:
    return web.json_response({name: not reasons, "reasons": reasons}, status=503 if reasons else 200)
