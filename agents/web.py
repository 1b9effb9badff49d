"""What a worker shows: ``/live`` and ``/ready`` (orchestrators), ``/metrics``, ``/status`` (people)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from agents.listening import write_where
from agents.overview import Status
from streams.metrics import Metrics
from streams.state.errors import unavailable

LIVE = "/live"
READY = "/ready"
STATUS = "/status"
METRICS = "/metrics"


class WebServer:
    """Listens on ``host:port`` (0: a free port) and writes where to ``<data>/web.json``."""

    def __init__(
        self,
        host: str,
        port: int,
        data: Path,
        metrics: Metrics,
        *,
        status: Callable[[], Status],
        not_live: Callable[[], list[str]],
    ) -> None:
        self._host = host
        self._port = port
        self._data = data
        self._metrics = metrics
        self._status = status
        self._not_live = not_live
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get(METRICS, self._show_metrics)
        app.router.add_get(LIVE, self._show_live)
        for path in (READY, "/health"):
            app.router.add_get(path, self._show_ready)
        app.router.add_get(STATUS, self._show_status)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        port = self._runner.addresses[0][1]
        try:
            write_where(self._data, "web", {"host": self._host, "port": port})
        except OSError as error:  # the first file that a worker writes
            raise unavailable(self._data, error) or error from None

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _show_metrics(self, _: web.Request) -> web.Response:
        self._status()  # brings the gauges up to date
        body = generate_latest(self._metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _show_live(self, _: web.Request) -> web.Response:
        """Answered by the loop that does the work: no answer says as much as 503."""
        reasons = self._not_live()
        return web.json_response({"live": not reasons, "reasons": reasons}, status=503 if reasons else 200)

    async def _show_ready(self, _: web.Request) -> web.Response:
        status = self._status()
        answer = {
            "ready": status["ready"],
            "reasons": status["not_ready"],
            "sending_stopped": status["sending_stopped"],
        }
        return web.json_response(answer, status=200 if status["ready"] else 503)

    async def _show_status(self, _: web.Request) -> web.Response:
        return web.json_response(self._status())
