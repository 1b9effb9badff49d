"""All partitions that this worker owns: opened when they are assigned, paused and closed when they go."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from agents.capacity import Capacity
from agents.entity_partition import TOPICS, EntityPartition
from agents.gate import Gate
from agents.partition import Left, MadeAnew, MayClaim, Shared
from agents.sender_partition import SenderPartition
from schemas.records import Channel
from senders.sender import Sender
from senders.shares import Shares
from streams.kafka.batches import RecordBatch
from streams.kafka.transport import TakenAway
from streams.stages.fencing import Fenced
from streams.stages.firing import Options

log = logging.getLogger(__name__)

_LOOK = 0.05
_MOMENT = 0.1
"""Seconds for which it is known what waits."""
_AGAIN = 5.0
"""Seconds between looks whether what a changelog held has been put back."""


class Place(NamedTuple):
    """A topic's name without the prefix, and a partition."""

    topic: str
    partition: int


class Host:
    """``resume`` after each assignment, ``pause`` at each revocation; the agents look their partition up."""

    def __init__(
        self,
        shared: Shared,
        senders: Mapping[Channel, Sequence[Sender]],
        limits: Mapping[Channel, int],
        options: Options,
        gate: Gate,
        shares: Shares | None = None,
        ahead: Mapping[Channel, int] = MappingProxyType({}),
    ) -> None:
        self._shared = shared
        self._options = options
        self._rates: dict[str, int] = {}
        self._waiting: dict[Channel, tuple[float, Mapping[str, int]]] = {}
        self.capacity = Capacity(
            senders, limits, shares, waiting=self.waiting, rates=self._rates, ahead=ahead
        )
        self.entities: dict[Place, EntityPartition] = {}
        self.timers: dict[int, SenderPartition] = {}
        self.ready = False
        """Everything assigned is restored and at work, but for what is ``halted``."""
        self.halted: dict[Place, str] = {}
        """Entity and timer partitions that can't be opened before somebody does something, and what."""
        self._waiting_to_open: list[asyncio.Task[None]] = []
        self.opening_late: Callable[[], None] = lambda: None
        """Called when what was halted is about to be opened: what lies unread must be waited for again."""
        self.opened_late: Callable[[], None] = lambda: None
        self.gate = gate
        self.pauses = 0
        """How many assignments are over."""
        # A worker is told to stop, or loses its partitions again, while it still works on the last rebalance:
        # stores stay open until whoever writes to them is done.
        self._pausing = asyncio.Lock()
        self._resuming = asyncio.Lock()

    async def pause(self) -> None:
        """Every partition may be somebody else's from now on. An assignment that is being resumed is over."""
        self.pauses += 1
        self.ready = False
        self.gate.paused()
        async with self._pausing:
            await self._give_up_waiting()
            await asyncio.gather(*(part.pause() for part in self._parts()))

    async def resume(self, assigned: Iterable[Place]) -> None:
        """Closes what is gone, restores and opens what is here. Streams wait until it returns."""
        pauses = self.pauses
        async with self._resuming:
            if self.pauses == pauses:  # else it was over before its turn came
                await self._resume(set(assigned), pauses)

    async def _resume(self, places: set[Place], pauses: int) -> None:
        self._check(places)
        entities = {place for place in places if place.topic in TOPICS}
        timers = {place.partition for place in places if place.topic == "timers"}
        await asyncio.gather(
            *(self.entities.pop(place).close() for place in self.entities.keys() - entities),
            *(self.timers.pop(number).close() for number in self.timers.keys() - timers),
        )
        self.halted.clear()

        async def open_(place: Place, part: EntityPartition | SenderPartition) -> None:
            if self.pauses == pauses:
                await self._open(place, part, pauses)
            if self.pauses != pauses:  # taken away again before it was open
                await part.pause()

        for place in sorted(entities - self.entities.keys()):
            self.entities[place] = EntityPartition(self._shared, self.gate, *place)
        for number in sorted(timers - self.timers.keys()):
            self.timers[number] = SenderPartition(
                self._shared, number, self.capacity, self._options, self.gate
            )
        async with asyncio.TaskGroup() as group:
            for place, part in self._places():
                group.create_task(open_(place, part))
        if self.pauses != pauses:
            return
        for company in self._shared.catalog.companies():
            self._rate(company.id)
        self.gate.assigned()
        self.ready = True
        self._waiting_to_open = [
            asyncio.create_task(self._open_later(place, part, pauses), name=f"open {place}")
            for place, part in self._places()
            if place in self.halted
        ]
        log.info("at work on %d entity and %d timer partitions", len(self.entities), len(self.timers))

    async def _open(
        self,
        place: Place,
        part: EntityPartition | SenderPartition,
        pauses: int,
        may_claim: MayClaim | None = None,
    ) -> None:
        """Gives up, and is none the worse for it, when the partition is taken away meanwhile."""
        try:
            await part.open(may_claim or partial(self._may_claim, pauses))
            self.halted.pop(place, None)
        except Left:
            return
        except MadeAnew as error:
            if place not in self.halted:
                log.error("%s", error)  # noqa: TRY400 - for people, who need no traceback
            self.halted[place] = str(error)
        except Fenced:
            if self.pauses == pauses:
                raise  # ours by the group's word, and somebody else writes

    async def _open_later(self, place: Place, part: EntityPartition | SenderPartition, pauses: int) -> None:
        """Until what its changelog held has been put back, or given up."""

        async def may_claim() -> None:
            self.opening_late()
            self.gate.paused()
            await self._may_claim(pauses)

        while place in self.halted:
            await asyncio.sleep(_AGAIN)
            await self._open(place, part, pauses, may_claim)
        self.opened_late()
        self.gate.assigned()
        log.info("at work on %s[%d] too", *place)

    async def _give_up_waiting(self) -> None:
        waiting, self._waiting_to_open = self._waiting_to_open, []
        for task in waiting:
            task.cancel()
        if waiting:
            await asyncio.gather(*waiting, return_exceptions=True)

    def when_open(
        self, topic: str, handle: Callable[[RecordBatch], Awaitable[None]]
    ) -> Callable[[RecordBatch], Awaitable[None]]:
        """``handle``, for whose batches the partition of ``topic`` must be open: they wait while it is
        halted."""

        async def waiting(batch: RecordBatch) -> None:
            place = Place(topic, batch.partition)
            while place in self.halted and batch.live:  # noqa: ASYNC110 - nobody would set the event
                await asyncio.sleep(_LOOK)
            if batch.live:
                await handle(batch)

        return waiting

    def halts(self, place: Place) -> bool:
        """Is what comes from there waiting for a partition that is halted?"""
        topic = place.topic if place.topic in TOPICS else "timers"
        return place.topic != "customer-consents" and Place(topic, place.partition) in self.halted

    async def _may_claim(self, pauses: int) -> None:
        """Returns when the group has confirmed lately that the partitions of this assignment are ours; raises
        Left when they are not any more. A claim by a former owner would end the one that has them now."""
        while self.pauses == pauses:
            if self.gate.owned:
                return
            await asyncio.sleep(_LOOK)
        raise Left

    async def close(self) -> None:
        self.pauses += 1
        self.ready = False
        async with self._resuming, self._pausing:
            await self._give_up_waiting()
            parts = self._parts()
            # Out of sight first: a rule that changes now must not meet a store that is closed already.
            self.entities.clear()
            self.timers.clear()
            await asyncio.gather(*(part.close() for part in parts))

    async def look(self, ends: Mapping[Place, int]) -> None:
        """Where changelogs end (names without the prefix). Raises Fenced when one of them has been taken
        over."""
        looks = [
            part.look(ends[changelog])
            for place, part in self.entities.items()
            if (changelog := Place(f"{place.topic}-state", place.partition)) in ends
        ]
        looks += [
            part.look(ends[changelog])
            for number, part in self.timers.items()
            if (changelog := Place("timers-changelog", number)) in ends
        ]
        await asyncio.gather(*looks)

    async def say_again(self) -> None:
        """One partition writes to its changelog what it says already."""
        for part in self._parts()[:1]:
            await part.say_again()

    def start_offset(self, place: Place) -> int | None:
        """Where reading must begin, whatever was committed; None: where it was committed. Raises TakenAway
        when the assignment is over already: what is not open now is opened by the next one."""
        if not self.ready:
            raise TakenAway
        if place.topic in TOPICS:
            return self.entities[place].source or None
        if place.topic == "timers":
            return self.timers[place.partition].source or None
        if place.topic == "consents":
            return self.timers[place.partition].consents_source or None
        if place.topic == "provider-events" and place.partition in self.timers:
            return self.timers[place.partition].events_source or None
        return None

    def restart_at(self, place: Place, offset: int) -> None:
        """The log does not have the stored offset (the topic was made anew): what comes now is new."""
        if place.topic in TOPICS:
            self.entities[place].restart_at(offset)
        elif place.topic == "timers":
            self.timers[place.partition].restart_at(offset)
        elif place.topic == "consents":
            self.timers[place.partition].restart_consents_at(offset)
        elif place.topic == "provider-events" and place.partition in self.timers:
            self.timers[place.partition].restart_events_at(offset)

    def reference_changed(self, names: list[tuple[str, str]]) -> None:
        for company, rule_id in names:
            if not rule_id:
                self._rate(company)
        for part in self._parts():
            part.reference_changed(names)

    def failure(self) -> BaseException | None:
        """The first error that ended a task of a partition."""
        for part in self._parts():
            if part.failure is not None:
                return part.failure
        done = [task for task in self._waiting_to_open if task.done() and not task.cancelled()]
        return next((task.exception() for task in done if task.exception() is not None), None)

    def steps(self) -> dict[str, float]:
        """By partition since when the step under way has been going on (``time.monotonic``)."""
        began = {place: part.step_began for place, part in self._places()}
        return {f"{topic}[{number}]": at for (topic, number), at in began.items() if at is not None}

    def waiting(self, channel: Channel) -> Mapping[str, int]:
        """By company, how many due messages the channel has not taken yet, as many as are known in memory.
        Asked often while there are some: an answer is good for a moment."""
        now = time.monotonic()
        at, found = self._waiting.get(channel, (0.0, {}))
        if now - at > _MOMENT:
            total: Counter[str] = Counter()
            for part in self.timers.values():
                total.update(part.waiting(channel))
            found = total
            self._waiting[channel] = now, found
        return found

    def _rate(self, company_id: str) -> None:
        company = self._shared.catalog.company(company_id)
        if company is not None and company.messages_per_minute:
            self._rates[company_id] = company.messages_per_minute
        else:
            self._rates.pop(company_id, None)

    def backlog(self) -> dict[str, int]:
        """See ``Capacity.backlog``."""
        return self.capacity.backlog()

    def _parts(self) -> list[EntityPartition | SenderPartition]:
        return [*self.entities.values(), *self.timers.values()]

    def _places(self) -> list[tuple[Place, EntityPartition | SenderPartition]]:
        timers = ((Place("timers", number), part) for number, part in self.timers.items())
        return [*self.entities.items(), *timers]

    def _check(self, places: set[Place]) -> None:
        for topic, other in (("timers", "consents"), ("consents", "timers")):
            alone = {p for t, p in places if t == topic} - {p for t, p in places if t == other}
            if alone:
                raise RuntimeError(
                    f"partitions {sorted(alone)} of {topic} came without those of {other}: both topics need "
                    "the same number of partitions; `carillon topics check` says which"
                )
