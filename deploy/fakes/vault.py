"""The parts of HashiCorp Vault's API that a worker asks: secrets of a key/value engine of version 2, and
whether a token is good. https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(slots=True, kw_only=True)
class VaultFake:
    """``secrets``: by ``MOUNT/PATH``; None: deleted. ``tokens``: those that are good, each with the
    beginnings of what it may read. ``answers`` come instead, one each: status, headers and text."""

    secrets: dict[str, Mapping[str, Any] | None] = field(default_factory=dict)
    tokens: dict[str, tuple[str, ...]] = field(default_factory=dict)
    namespace: str = ""
    tls: ssl.SSLContext | None = None
    answers: list[tuple[int, Mapping[str, str], str]] = field(default_factory=list)
    hold: asyncio.Event | None = None
    """Nothing is answered until it is set."""

    asked: list[str] = field(default_factory=list)
    """Paths of the requests so far."""
    headers: list[Mapping[str, str]] = field(default_factory=list)
    """Of each."""
    host: str = ""
    port: int = 0
    _runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        app = web.Application()
        app.router.add_get("/v1/auth/token/lookup-self", self._token)
        app.router.add_get("/v1/{mount}/data/{path:.+}", self._read)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, ssl_context=self.tls).start()
        self.host, self.port = self._runner.addresses[0][:2]

    async def stop(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _token(self, request: web.Request) -> web.StreamResponse:
        answer = await self._before(request)
        return answer if answer is not None else web.json_response({"data": {"policies": ["default"]}})

    async def _read(self, request: web.Request) -> web.StreamResponse:
        answer = await self._before(request)
        if answer is not None:
            return answer
        place = f"{request.match_info['mount']}/{request.match_info['path']}"
        if not place.startswith(self.tokens[request.headers["X-Vault-Token"]]):
            return _error(403, "permission denied")
        if place not in self.secrets:
            return _error(404)
        found = self.secrets[place]
        metadata = {"version": 1, "deletion_time": "" if found is not None else "2026-01-01T00:00:00Z"}
        body = {"data": {"data": found, "metadata": metadata}}
        return web.json_response(body, status=404 if found is None else 200)

    async def _before(self, request: web.Request) -> web.Response | None:
        self.asked.append(request.path)
        self.headers.append(dict(request.headers))
        if self.hold is not None:
            await self.hold.wait()
        if self.answers:
            status, headers, text = self.answers.pop(0)
            return web.Response(status=status, headers=headers, text=text)
        if request.headers.get("X-Vault-Namespace", "") != self.namespace:
            return _error(404)
        if request.headers.get("X-Vault-Token", "") not in self.tokens:
            return _error(403, "permission denied")
        return None


def _error(status: int, *words: str) -> web.Response:
    return web.json_response({"errors": list(words)}, status=status)
