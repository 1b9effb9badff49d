"""A schema registry that is away is waited for: nothing is lost, nothing is acknowledged meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping

from schemas.contracts import TOPICS
from schemas.errors import RegistryError
from schemas.registry import Registry

log = logging.getLogger(__name__)

_PAUSE = 2.0
"""Seconds between questions; the registry's client has tried for some seconds by itself before."""


class PatientRegistry:
    """``registry``, asked again until it answers. Of what it refuses for good ``schema`` tells."""

    def __init__(self, registry: Registry, pause: float = _PAUSE) -> None:
        self._registry = registry
        self._pause = pause
        self.waiting = 0
        """Questions that it has not answered yet."""

    @property
    def ids(self) -> Mapping[str, int]:
        return self._registry.ids

    def schema(self, schema_id: int) -> str:
        return self._registry.schema(schema_id)

    async def fetch(self, schema_ids: Iterable[int]) -> None:
        ids = tuple(schema_ids)
        await self._until(lambda: self._registry.fetch(ids))

    async def register_all(self, topics: Mapping[str, str] = TOPICS) -> None:
        await self._until(lambda: self._registry.register_all(topics))

    async def preload(self, topics: Iterable[str]) -> None:
        names = tuple(topics)
        await self._until(lambda: self._registry.preload(names))

    async def _until(self, ask: Callable[[], Awaitable[None]]) -> None:
        self.waiting += 1
        try:
            while True:
                try:
                    return await ask()
                except RegistryError as error:
                    log.warning("%s; asking again", error)
                    await asyncio.sleep(self._pause)
        finally:
            self.waiting -= 1
