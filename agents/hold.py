"""Keeps a worker from sending after an assignment until what lay unread has been read: the asking for
``agents.unread``, which knows what must be asked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

from aiokafka.errors import KafkaError
from confluent_kafka import KafkaException
from faust.types import TP

from agents.unread import Spot, Unread, Want
from streams.kafka.batches import Progress
from streams.kafka.offsets import Offsets

log = logging.getLogger(__name__)

_LOOK = 0.1
"""Seconds between looks; commits come once a second."""
_ANSWER = 5.0
"""Seconds for an answer of the brokers."""


class Ends:
    """Where topics end, asked in a thread."""

    def __init__(self, bootstrap: str, security: Mapping[str, str]) -> None:
        self._bootstrap = bootstrap
        self._security = security
        self._offsets: Offsets | None = None

    async def of(self, topics: Iterable[str]) -> dict[Spot, int]:
        """Raises KafkaException or TimeoutError when the brokers don't answer."""
        return await self._asked(topics, Offsets.ends)

    async def held(self, topics: Iterable[str]) -> dict[Spot, int]:
        """As ``of``, without the partitions that hold no records: if all of them have expired, nobody reads
        them any more and nobody commits."""
        ends = await self._asked(topics, Offsets.ends)
        begins = await self._asked(topics, Offsets.begins)
        return {spot: end for spot, end in ends.items() if begins.get(spot) != end}

    async def _asked(
        self, topics: Iterable[str], what: Callable[[Offsets, Iterable[str]], dict[str, dict[int, int]]]
    ) -> dict[Spot, int]:
        names = list(topics)
        try:
            found = await asyncio.to_thread(self._ask, names, what)
        except (KafkaException, TimeoutError):
            self._offsets = None  # a client from before an outage may be refused for minutes
            raise
        return {Spot(topic, number): end for topic, ends in found.items() for number, end in ends.items()}

    def _ask(
        self, topics: list[str], what: Callable[[Offsets, Iterable[str]], dict[str, dict[int, int]]]
    ) -> dict[str, dict[int, int]]:
        if self._offsets is None:
            self._offsets = Offsets(self._bootstrap, self._security, timeout=_ANSWER)
        return what(self._offsets, topics)


class Hold:
    """``inputs``, ``own``: full names of the topics. ``committed``: of the group. ``progress``: of this
    worker's partitions. ``confirmed``: do the brokers still confirm this worker? ``longest``: seconds after
    which sending goes on whatever lies unread (a stuck input must not silence everybody for ever), counted
    while they do: in an outage nothing is read."""

    def __init__(
        self,
        inputs: Sequence[str],
        own: Sequence[str],
        *,
        ends: Callable[[Iterable[str]], Awaitable[dict[Spot, int]]],
        committed: Callable[[Collection[TP]], Awaitable[Mapping[TP, int | None]]],
        progress: Callable[[], Mapping[TP, Progress]],
        confirmed: Callable[[], bool],
        longest: float,
        look: float = _LOOK,
    ) -> None:
        self._inputs = inputs
        self._own = own
        self._ends = ends
        self._committed = committed
        self._progress = progress
        self._confirmed = confirmed
        self._longest = longest
        self._look = look
        self._given_up = False
        self._unread = Unread()
        self._asking: asyncio.Task[None] | None = None

    @property
    def unread(self) -> bool:
        """Does anything still lie unread?"""
        return not (self._unread.done or self._given_up)

    def __str__(self) -> str:
        """What, for people; empty when nothing does."""
        return str(self._unread) if self.unread else ""

    def revoked(self) -> None:
        """The partitions may be somebody else's: from the next assignment on it begins anew."""
        self._unread, self._given_up = Unread(), False
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()

    def assigned(self, assigned: Iterable[TP]) -> None:
        """The partitions are open and about to be read."""
        self.revoked()
        self._asking = asyncio.create_task(self._follow(self._unread, set(assigned)), name="hold")

    @property
    def failure(self) -> BaseException | None:
        task = self._asking
        return task.exception() if task is not None and task.done() and not task.cancelled() else None

    async def _follow(self, unread: Unread, assigned: Collection[TP]) -> None:
        loop = asyncio.get_running_loop()
        began = looked = loop.time()
        waited = 0.0
        while not unread.done:
            if waited >= self._longest:
                self._given_up = True
                log.warning(
                    "sending goes on after %g s although not everything was read that lay unread at the "
                    "assignment: %s",
                    *(self._longest, unread),
                )
                return
            want = unread.want
            try:
                await self._ask(unread, assigned)
            except (KafkaException, KafkaError, TimeoutError) as error:
                log.debug("asked for %s: %s", want.value, error)
            if unread.want is want:
                await asyncio.sleep(self._look)
            now = loop.time()
            if self._confirmed():
                waited += min(now - looked, _ANSWER)
            looked = now
        log.info("all that lay unread at the assignment was read within %.1f s", loop.time() - began)

    async def _ask(self, unread: Unread, assigned: Collection[TP]) -> None:
        match unread.want:
            case Want.INPUT_ENDS:
                unread.input_ends(await self._ends(self._inputs))
            case Want.INPUTS:
                unread.inputs(await self._inputs_read(unread, assigned))
            case Want.OWN_ENDS:
                ends = await self._ends(self._own)
                unread.own_ends({spot: end for spot, end in ends.items() if TP(*spot) in assigned})
            case Want.OWN:
                unread.own(self._done())

    async def _inputs_read(self, unread: Unread, assigned: Collection[TP]) -> Mapping[Spot, int]:
        read = self._done()
        others = [TP(*spot) for spot in unread.left() if TP(*spot) not in assigned]
        if others:
            async with asyncio.timeout(_ANSWER):
                committed = await self._committed(others)
            read |= {Spot(*tp): offset for tp, offset in committed.items() if offset is not None}
        return read

    def _done(self) -> dict[Spot, int]:
        return {Spot(*tp): at.acked for tp, at in self._progress().items()}
