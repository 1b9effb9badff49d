"""What a worker shows of itself: is it alive, is it ready, where does everything stand.

``follow`` is a task of the worker: it asks the brokers now and then where the topics end. Only what stands
still between two of their answers counts as stuck: a restart heals a process, not a broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from confluent_kafka import KafkaException
from faust.types import TP

from agents.gate import STALE_TABLES, WRONG_CLOCK, Gate
from agents.health import Stall, Stalls
from agents.host import Host, Place
from agents.progress import RestoreProgress
from agents.unread import Spot
from streams.kafka.batches import Progress
from streams.kafka.topics import INPUT_TOPICS
from streams.metrics import Metrics

Status = dict[str, Any]

STREAMS = (*INPUT_TOPICS, "consents", "timers", "provider-events")
"""What agents read, without the prefix."""

_ASK_EVERY = 5.0
"""Seconds between questions where the topics end."""
_THREAD = "the consumer's thread"
_MEMBER = "the membership of the group"


class Consuming(Protocol):
    """What is asked of the app (``BatchApp`` has it)."""

    def progress(self) -> Mapping[TP, Progress]: ...

    def membership_age(self) -> float: ...

    def thread_answers(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the facts come from. ``waiting_for``: what outside of this process holds the work up, known to
    those who wait for it; empty for nothing. Seconds."""

    app: Consuming
    host: Host
    gate: Gate
    progress: RestoreProgress
    metrics: Metrics
    now: Callable[[], int]
    table_positions: Mapping[str, Mapping[int, int]]
    tables_age: Callable[[], float]
    failure: Callable[[], BaseException | None]
    ends: Callable[[Iterable[str]], Awaitable[Mapping[Spot, int]]]
    waiting_for: Callable[[], str]
    unread: Callable[[], str]
    prefix: str
    session_timeout: float
    stuck_after: float
    monotonic: Callable[[], float] = time.monotonic


class Overview:
    def __init__(self, sources: Sources) -> None:
        self._from = sources
        self._every = min(_ASK_EVERY, sources.stuck_after / 4)
        self._stalls = Stalls(2 * self._every)
        self._thread = Stalls(2 * self._every)
        self._ends: Mapping[Spot, int] = {}
        self._uncommitted: dict[TP, float] = {}
        self.ending = False
        """Told to stop: not ready any more."""

    # --- looking

    async def follow(self) -> None:
        """Looks until it is cancelled."""
        while True:
            self.beat()
            with contextlib.suppress(KafkaException, TimeoutError):  # away: nothing is learned
                self.answered(await self._from.ends([self._from.prefix + topic for topic in STREAMS]))
            await asyncio.sleep(self._every)

    def beat(self) -> None:
        """Has the thread that talks to the brokers been heard of?"""
        answers = self._from.app.thread_answers()
        self._thread.saw(self._from.monotonic(), {_THREAD: answers} if answers else {})

    def answered(self, ends: Mapping[Spot, int]) -> None:
        """The brokers are there, and say where the topics end."""
        self._ends = ends
        app, host = self._from.app, self._from.host
        busy: dict[str, object] = {}
        for tp, at in app.progress().items():
            if self._end(tp, at) > at.acked and not self._halted(tp):
                busy[f"{Spot(*tp)}"] = at.acked
            if (at.committed or 0) < at.acked:
                busy[f"commits of {Spot(*tp)}"] = at.committed
        for name, began in host.steps().items():
            busy[f"the step of {name}"] = began
        if app.thread_answers() and app.membership_age() > self._from.session_timeout:
            busy[_MEMBER] = "away"
        self._stalls.saw(self._from.monotonic(), busy, excused=bool(self._from.waiting_for()))

    # --- judging

    def not_live(self) -> list[str]:
        """Why a restart would help; empty: it would not."""
        limit = self._from.stuck_after
        return [
            f"{stall.what} has stood at {stall.place} for {stall.seconds:.0f} s"
            for stall in self._stuck(limit)
        ]

    def not_ready(self) -> list[str]:
        """Why this worker does not do all of its work now."""
        source = self._from
        reasons = []
        if self.ending:
            reasons.append("it is ending")
        if (failure := source.failure()) is not None:
            reasons.append(f"a task has died: {failure!r}")
        if not source.host.ready:
            reasons.append("no partitions are assigned and restored yet")
        if source.app.membership_age() > source.session_timeout:
            reasons.append("the group has not confirmed this worker for too long")
        if source.tables_age() > STALE_TABLES:
            reasons.append("the reference tables have not been confirmed for too long")
        if source.gate.wrong_clock:
            reasons.append(WRONG_CLOCK)
        return [*reasons, *source.host.halted.values()]

    def _stuck(self, limit: float) -> list[Stall]:
        return self._thread.longer_than(limit) + self._stalls.longer_than(limit)

    def _end(self, tp: TP, at: Progress) -> int:
        """The newest end that is known: aiokafka's comes with fetches, and a dead fetcher has an old one."""
        return max(at.end or 0, self._ends.get(Spot(*tp), 0))

    def _halted(self, tp: TP) -> bool:
        """It waits for people: a restart would not help."""
        return self._from.host.halts(Place(tp.topic.removeprefix(self._from.prefix), tp.partition))

    def _commit_age(self, tp: TP, at: Progress, now: float) -> float:
        """Seconds since there was first something to commit that is not committed."""
        if (at.committed or 0) >= at.acked:
            self._uncommitted.pop(tp, None)
            return 0.0
        return now - self._uncommitted.setdefault(tp, now)

    # --- showing

    def status(self) -> Status:
        """A snapshot for /status; brings the gauges up to date."""
        source = self._from
        host, metrics = source.host, source.metrics
        positions: dict[str, dict[int, int]] = {
            topic: dict(offsets) for topic, offsets in source.table_positions.items()
        }
        partitions = self._partitions(positions)
        senders = host.timers.values()
        # A task that is dead looks idle: what waits for it must not be told that all is done.
        working = host.ready and source.failure() is None
        dues = [due for due in (part.next_due() for part in senders) if due is not None] if working else []
        sweeping = sum(part.sweeping for part in senders)
        sweeping += sum(part.sweeping for part in host.entities.values())
        pending = sum(part.pending for part in senders)
        queued = sum(part.queued for part in senders)
        metrics.pending.set(pending)
        metrics.queued.set(queued)
        metrics.sweeping.set(sweeping)
        metrics.reference_age.set(source.tables_age())
        channels = self._channels()
        not_live, not_ready = self.not_live(), self.not_ready()
        metrics.live.set(not not_live)
        metrics.ready.set(not not_ready)
        return {
            "ready": not not_ready,
            "not_ready": not_ready,
            "not_live": not_live,
            "stuck": self._told(),
            "waiting_for": source.waiting_for(),
            "sending_stopped": list(source.gate.closed()) if working else [],
            "unread": source.unread(),
            "restoring": self._restoring(),
            "now": source.now(),
            "positions": positions,
            "partitions": partitions,
            "next_due": min(dues, default=None),
            "channels": channels,
            "in_flight": sum(part.in_flight for part in senders),
            "queued": queued,
            "sweeping": sweeping,
            "pending": pending,
        }

    def _partitions(self, positions: dict[str, dict[int, int]]) -> dict[str, dict[int, Status]]:
        """Of every partition that is being read, its lag, the age of its commit and for how long its next
        record has not moved; puts its position into ``positions``."""
        metrics = self._from.metrics
        metrics.forget_partitions()  # others own some by now
        now = self._from.monotonic()
        found: dict[str, dict[int, Status]] = {}
        progress = self._from.app.progress()
        self._uncommitted = {tp: since for tp, since in self._uncommitted.items() if tp in progress}
        for tp, at in progress.items():
            positions.setdefault(tp.topic, {})[tp.partition] = at.acked
            lag = max(0, self._end(tp, at) - at.acked)
            commit_age = self._commit_age(tp, at, now)
            stalled = self._stalls.seconds(f"{Spot(*tp)}")
            labels = tp.topic, str(tp.partition)
            metrics.lag.labels(*labels).set(lag)
            metrics.commit_age.labels(*labels).set(commit_age)
            metrics.stalled.labels(*labels).set(stalled)
            found.setdefault(tp.topic, {})[tp.partition] = {
                "lag": lag,
                "commit_age": round(commit_age, 1),
                "stalled": round(stalled, 1),
                "in_work": at.read - at.acked,
            }
        for topic in STREAMS:
            name = self._from.prefix + topic
            metrics.partitions.labels(topic).set(len(found.get(name, ())))
        return found

    def _channels(self) -> dict[str, Status]:
        """Of every channel that this worker sends on, what its providers take, and what waits for them."""
        source, metrics = self._from, self._from.metrics
        capacity = source.host.capacity
        in_flight = capacity.in_flight()
        found: dict[str, Status] = {}
        metrics.provider_state.clear()
        for channel, states in capacity.states(source.now()).items():
            metrics.in_flight.labels(str(channel)).set(in_flight[channel])
            for provider, state in states.items():
                metrics.provider_state.labels(str(channel), provider, str(state)).set(1)
            found[str(channel)] = {
                "providers": {provider: str(state) for provider, state in states.items()},
                "in_flight": in_flight[channel],
                "queued": source.host.waiting(channel),
                "paused_companies": list(capacity.pauses.companies(channel)),
            }
        return found

    def _restoring(self) -> dict[str, Status]:
        metrics = self._from.metrics
        shown = {}
        for name, at in self._from.progress.now().items():
            left = at.seconds_left
            shown[name] = {
                "position": at.position,
                "end": at.end,
                "percent": round(at.percent, 1),
                "records_per_second": round(at.rate),
                "seconds_left": round(left) if math.isfinite(left) else None,
            }
            topic, _, partition = name.removesuffix("]").rpartition("[")
            metrics.restore_left.labels(topic, partition).set(at.end - at.position)
            metrics.restore_rate.labels(topic, partition).set(at.rate)
        return shown

    def _told(self) -> list[Status]:
        """Whatever has stood still for a quarter of the limit, with since when."""
        now = self._from.monotonic()
        told = []
        for stall in self._stuck(self._from.stuck_after / 4):
            since = time.time() - (now - stall.began)
            told.append(
                {
                    "what": stall.what,
                    "at": stall.place,
                    "since": int(since * 1000),
                    "seconds": round(stall.seconds, 1),
                }
            )
        self._from.metrics.stuck.set(len(self._stuck(self._from.stuck_after)))
        return told
