"""How much each channel's providers take now, shared by all partitions of this worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

from schemas.records import Channel
from senders.lanes import Call, Lane
from senders.pauses import Pauses
from senders.sender import Sender
from senders.shares import Shares
from senders.turns import Rates
from streams.clock import WorkerClock
from streams.domain.messages import Outcome
from streams.stages.ready import Room
from streams.stages.round import InquiryOrder, SendOrder


class Capacity:
    """``limits``: messages (and questions) at each channel's providers at once; ``ahead``: how many more may
    have begun, so that what comes next waits for a place and no place for a round of a partition. ``shares``:
    with the other workers; None: there are none. ``pauses``: what operators have stopped; ``wake`` when that
    changes. ``waiting``: due messages by company; ``rates``: of the companies that have one."""

    def __init__(
        self,
        senders: Mapping[Channel, Sequence[Sender]],
        limits: Mapping[Channel, int],
        shares: Shares | None = None,
        pauses: Pauses | None = None,
        waiting: Callable[[Channel], Mapping[str, int]] = lambda _: {},
        rates: Rates = MappingProxyType({}),
        ahead: Mapping[Channel, int] = MappingProxyType({}),
    ) -> None:
        self.pauses = pauses or Pauses()
        self._lanes = {
            channel: Lane(
                channel,
                senders[channel],
                limits[channel],
                shares,
                self.pauses,
                partial(waiting, channel),
                rates,
                ahead.get(channel, 0),
            )
            for channel in senders
        }
        self._places = {channel: asyncio.Semaphore(limits[channel]) for channel in senders}
        self._waiting: dict[asyncio.Event, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def rooms(self, now: int) -> Mapping[Channel, Room]:
        return {channel: lane.room(now) for channel, lane in self._lanes.items()}

    def wait(self, event: asyncio.Event, clock: WorkerClock) -> None:
        """A pump has more to send than there was room for: ``event`` is set when there may be more. Who has
        waited longest is told first, so that partitions take turns."""
        self._waiting[event] = None
        now = clock.now()
        waits = [wait for lane in self._lanes.values() if (wait := lane.wait(now)) is not None]
        if not waits:
            return
        loop = asyncio.get_running_loop()
        at = loop.time() + max(clock.seconds_until(now + min(waits)), 0.001)
        if self._timer is None or at < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(at, self._rang)

    def place(self, channel: Channel) -> asyncio.Semaphore:
        """To be held while a provider is called: those that have begun come one after the other."""
        return self._places[channel]

    def begin(self, order: SendOrder, now: int) -> Call:
        return self._lanes[order.channel].begin(order.provider, now, order.message.company)

    def end(self, call: Call, outcome: Outcome | None, now: int) -> bool:
        """Whether another account may have the message at once."""
        lane = self._lanes[call.channel]
        elsewhere = lane.end(call, outcome, now)
        if lane.free:
            self.wake()
        return elsewhere

    def held_back(self, call: Call, now: int) -> str:
        """Why a call that waited for its place is not to be made after all, in words; empty: it is."""
        return self._lanes[call.channel].held_back(call, now)

    def ask(self, order: InquiryOrder) -> None:
        self._lanes[order.channel].used += 1

    def asked(self, order: InquiryOrder) -> None:
        self._lanes[order.channel].used -= 1
        self.wake()

    def sender(self, order: InquiryOrder) -> Sender:
        """Whom to ask."""
        return self._lanes[order.channel].sender(order.provider)

    def in_flight(self) -> dict[Channel, int]:
        return {channel: lane.used for channel, lane in self._lanes.items()}

    def backlog(self) -> dict[str, int]:
        """What waits for accounts and of companies with a rate, in the words of ``Shares``."""
        return {name: count for lane in self._lanes.values() for name, count in lane.backlog().items()}

    def states(self, now: int) -> dict[Channel, Mapping[str, str]]:
        """By channel and provider."""
        return {channel: lane.states(now) for channel, lane in self._lanes.items()}

    def wake(self) -> None:
        """What may go now is another."""
        for event in self._waiting:
            event.set()
        self._waiting.clear()

    def _rang(self) -> None:
        self._timer = None
        self.wake()
