"""Now and then, also when nothing happens: does anybody else write our changelogs, and do the clocks agree?

Whoever commits notices both by itself; a partition that is quiet for long would not (a former owner's late
record must be written over before compaction keeps it instead of ours).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from confluent_kafka import KafkaException

from agents.host import Host, Place
from agents.unread import Spot
from streams.kafka.topics import CHANGELOGS

log = logging.getLogger(__name__)

_EVERY = 30.0
"""Seconds: far below the hour for which changelogs are not compacted."""


class Lookout:
    """``ends``: of all partitions of topics. ``topic``: the full name of one. ``disagreement``: of our clock
    and the brokers', in milliseconds, as of the last write."""

    def __init__(
        self,
        host: Host,
        *,
        ends: Callable[[Iterable[str]], Awaitable[dict[Spot, int]]],
        topic: Callable[[str], str],
        disagreement: Callable[[], int],
    ) -> None:
        self._host = host
        self._ends = ends
        self._names = {topic(name): name for name in CHANGELOGS}
        self._disagreement = disagreement
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._follow(), name="lookout")

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    @property
    def failure(self) -> BaseException | None:
        """What ended it: Fenced, for one."""
        task = self._task
        return task.exception() if task is not None and task.done() and not task.cancelled() else None

    async def look(self) -> None:
        """Raises Fenced if another owner has taken one of our partitions over."""
        try:
            found = await self._ends(self._names)
        except (KafkaException, TimeoutError) as error:
            log.debug("the ends of the changelogs are not known: %s", error)
            return
        await self._host.look(
            {Place(self._names[spot.topic], spot.partition): end for spot, end in found.items()}
        )
        if self._disagreement():
            await self._host.say_again()  # its acknowledgement bears the broker's time of now

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(_EVERY)
            await self.look()
