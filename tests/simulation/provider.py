"""The simulated providers, and what they keep: every call, and every message that they took."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from schemas.records import Channel
from senders.pacing import Bucket
from streams.domain.messages import (
    Accepted,
    Inquiry,
    Message,
    NotFound,
    Outcome,
    Rejected,
    RetryAt,
    SmsMessage,
    Unknown,
)
from tests.simulation.loop import SimLoop

if TYPE_CHECKING:
    from tests.simulation.worker import SimWorker

ANSWER_TIMEOUT = 10.0
LISTED_AFTER = 4.0
"""Seconds until a message shows in the provider's list."""


MODES = ("times_out", "late", "throttle", "outage", "reject", "gone", "raise")


@dataclass(frozen=True, slots=True)
class Call:
    """A message handed to a provider: the final check was passed at this moment."""

    seconds: float
    worker: SimWorker
    message: Message


@dataclass(frozen=True, slots=True)
class Taken:
    seconds: float
    message: Message
    id: str


class Provider:
    """One channel. ``mode`` is what it does with a call now: ``ok``, ``times_out`` (after it took the message
    or before), ``late`` (takes it after the caller gave up), ``throttle``, ``outage``, ``reject``, ``gone``
    (rejects the address for ever), ``raise``, or ``mixed``: with each call another."""

    def __init__(self, channel: Channel, loop: SimLoop, random: Random, epoch: int) -> None:
        self.channel = channel
        self.mode = "ok"
        self.calls: list[Call] = []
        self.taken: list[Taken] = []
        self._loop = loop
        self._random = random
        self._epoch = epoch
        self.on_taken: Callable[[Taken], None] = lambda _: None
        self._under_way: dict[SimWorker, list[asyncio.TimerHandle]] = {}

    def die(self, worker: SimWorker) -> None:
        """Of the requests on the wire some arrive although the worker is dead."""
        for handle in self._under_way.pop(worker, []):
            if self._random.random() < 0.5:
                handle.cancel()

    def take(self, message: Message) -> Taken:
        taken = Taken(self._loop.seconds, message, f"{self.channel}-{len(self.taken)}")
        self.taken.append(taken)
        self.on_taken(taken)
        return taken

    def accept_in(self, seconds: float, worker: SimWorker, message: Message) -> asyncio.Future[Taken]:
        accepted: asyncio.Future[Taken] = self._loop.create_future()

        def arrive() -> None:
            taken = self.take(message)
            if not accepted.done():
                accepted.set_result(taken)

        handle = self._loop.at(self._loop.seconds + seconds, arrive)
        self._under_way.setdefault(worker, []).append(handle)
        return accepted

    def latency(self) -> float:
        return 0.005 + self._random.random() ** 3 * 2.0

    async def send(self, worker: SimWorker, message: Message) -> Outcome:
        self.calls.append(Call(self._loop.seconds, worker, message))
        await asyncio.sleep(self._random.random() ** 3 * 0.1)  # until the request leaves: some freeze here
        name, mode = f"sim-{self.channel}", self.mode
        if mode == "mixed":
            mode = self._random.choice(("ok", *MODES))
        latency = self.latency()
        if mode == "times_out":
            if self._random.random() < 0.6:
                self.accept_in(latency, worker, message)
            await asyncio.sleep(ANSWER_TIMEOUT)
            return Unknown(name, "no_answer", "time-out")
        if mode == "late":
            self.accept_in(ANSWER_TIMEOUT + latency * 5, worker, message)
            await asyncio.sleep(ANSWER_TIMEOUT)
            return Unknown(name, "no_answer", "time-out")
        if mode in {"throttle", "outage", "reject", "gone"}:
            await asyncio.sleep(latency)
            if mode == "throttle":
                after = self._random.choice((0, 1_000, 20_000))
                return RetryAt(name, "throttled", "429", after=after, pause_channel=True)
            if mode == "outage":
                return RetryAt(name, "unreachable", "refused")
            gone = mode == "gone"
            return Rejected(name, "invalid_recipient" if gone else "refused", mode, suppress=gone)
        accepted = self.accept_in(latency, worker, message)
        if mode == "raise":
            await asyncio.sleep(latency + 0.001)
            raise ValueError("a sender that breaks its promise")
        taken = await accepted
        await asyncio.sleep(latency)
        return Accepted(name, taken.id)

    async def inquire(self, message: Message, since: int, until: int) -> Inquiry:
        name = f"sim-{self.channel}"
        await asyncio.sleep(self.latency())
        if not isinstance(message, SmsMessage) or self.mode == "outage":
            return Unknown(name, "no_answer", "")
        fits = [
            taken
            for taken in self.taken
            if isinstance(taken.message, SmsMessage)
            and (taken.message.to, taken.message.text) == (message.to, message.text)
            and since <= self._epoch + taken.seconds * 1000 <= until
            and taken.seconds + LISTED_AFTER <= self._loop.seconds
        ]
        if len(fits) == 1:
            return Accepted(name, fits[0].id)
        return Unknown(name, "no_answer", "several fit") if fits else NotFound(name)


class SimSender:
    """``senders.sender.Sender`` of one worker."""

    def __init__(self, provider: Provider, worker: SimWorker, rate: float) -> None:
        self._provider = provider
        self._worker = worker
        self.channel = provider.channel
        self.name = f"sim-{provider.channel}"
        self.bucket = Bucket(rate, burst=20) if rate else None

    async def send(self, message: Message) -> Outcome:
        return await self._provider.send(self._worker, message)

    async def inquire(self, message: Message, since: int, until: int) -> Inquiry:
        return await self._provider.inquire(message, since, until)

    async def close(self) -> None:
        """Nothing is held."""
