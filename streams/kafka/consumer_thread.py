"""aiokafka's side of the transport: what runs in Faust's consumer thread (see ``transport``)."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import (
    ConsumerStoppedError,
    InvalidRequestError,
    NoOffsetForPartitionError,
    RebalanceInProgressError,
)
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest, SyncGroupRequest
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.kafka.batches import PartitionFlow, Record
from streams.kafka.membership import ReplacedError, refused

FETCH_EVERY = 0.025
"""Seconds from one fetch to the next, at least. A broker answers as soon as one record is there, and each
step costs about as much for one record as for ten: a record that comes alone is there at once, many that come
one by one are fetched together."""


class Drained(NamedTuple):
    """What the thread took out of aiokafka for one partition."""

    flow: PartitionFlow
    records: Sequence[Record]
    position: int


class Bounds(NamedTuple):
    committed: int | None
    low: int
    high: int


def elapsed() -> float:
    """A monotonic clock that goes on while the machine is suspended or the process is stopped."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _records(result: Any, tp: TP, max_records: int) -> list[Record]:
    """What ``FetchResult.getall`` does, without making a ``ConsumerRecord`` of each record (which costs more
    than to read it): the parsed records have all that ``Record`` asks for."""
    if not result.has_more() or not result.check_assignment(tp):
        return []
    parsed = result._partition_records
    parsed._consumer_record = _as_parsed
    records = list(islice(parsed._records_iterator, max_records))
    result._update_position()
    if len(records) < max_records:
        result._partition_records = None
    return records


def _as_parsed(_: TP, record: Record) -> Record:
    return record


class BatchConsumerThread(driver.AIOKafkaConsumerThread):
    """aiokafka's side. ``flows`` and ``open`` are the only things both threads touch."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.flows: dict[TP, PartitionFlow] = {}
        """Replaced as a whole, in this thread, together with the seeks."""
        self.open: set[TP] = set()
        """Partitions with room. The app's loop adds and discards (atomic under the GIL), this one looks."""
        self._held: dict[TP, Drained] = {}
        """What has been taken out of aiokafka for partitions that have no room yet: aiokafka asks a broker
        for nothing of a partition of which it holds records, and for the others again only when the broker
        has answered, so that a record could wait for ``fetch_max_wait``."""
        self._unreadable: Exception | None = None
        """What came of reading what a broker sent."""
        self._fetch_from = -math.inf
        """When the next fetch may begin (``time.monotonic``)."""
        self.replaced = False
        """Somebody else has this worker's place in the group."""
        self.confirmed = -math.inf
        """When the last request was sent with which the coordinator confirmed the membership (see
        ``elapsed``)."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        batching = self.app.batching  # type: ignore[attr-defined]  # BatchApp, see Hooks
        consumer._fetch_max_wait_ms = int(batching.fetch_max_wait * 1000)
        consumer._max_partition_fetch_bytes = batching.max_bytes
        # A position that the log does not have must come up as an error, not be moved in silence.
        consumer._auto_offset_reset = "none"
        return consumer

    async def on_start(self) -> None:
        await super().on_start()
        # While one partition's fetched records wait, aiokafka would ask its broker nothing for 100 ms,
        # which holds up the partitions that have room.
        self._ensure_consumer()._fetcher._prefetch_backoff = 0.0
        self._pace_fetches()
        self._meet_the_mock_broker()
        self._note_confirmations()

    def _pace_fetches(self) -> None:
        """Fetches begin ``FETCH_EVERY`` apart, and ask for all partitions: aiokafka would leave out those of
        which it still has records, until the brokers have answered for the others."""
        fetcher = self._ensure_consumer()._fetcher
        actions = fetcher._get_actions_per_node

        def paced(assignment: Any) -> Any:
            wait = self._fetch_from - time.monotonic()
            if wait > 0:
                return [], {}, wait, False, []
            try:
                self._hold_all(fetcher, self.app.batching.max_records)  # type: ignore[attr-defined]  # BatchApp
            except Exception as error:  # noqa: BLE001 - whoever drains is told, whatever it is
                self._unreadable = error
            found = actions(assignment)
            if found[0]:
                self._fetch_from = time.monotonic() + FETCH_EVERY
            return found

        fetcher._get_actions_per_node = paced

    def _note_confirmations(self) -> None:
        """Keeps the time of the last heartbeat (or join) that the coordinator answered with yes. aiokafka
        keeps it to itself, and on a clock that stands still while the machine sleeps. A static member whom
        the coordinator no longer knows does not join again: what is raised ends aiokafka's coordination, and
        that the worker."""
        coordinator = self._ensure_consumer()._coordinator
        send = coordinator._send_req

        async def send_req(request: Any) -> Any:
            if self.replaced and isinstance(request, JoinGroupRequest):
                raise ReplacedError(coordinator._group_instance_id)
            sent, member = elapsed(), coordinator.member_id
            response = await send(request)
            if isinstance(request, HeartbeatRequest | SyncGroupRequest) and response.error_code == 0:
                self.confirmed = sent
            elif coordinator._group_instance_id and refused(request, response, member):
                self.replaced = True
            return response

        coordinator._send_req = send_req

    def _meet_the_mock_broker(self) -> None:
        """librdkafka's mock broker finishes a rebalance with the leader's SyncGroup and answers a member's
        that comes later with INVALID_REQUEST, on which aiokafka's coordinator gives up for good. A real
        broker has no such answer to a SyncGroup. So the leader lets the others go first, and a member that
        was late joins again."""
        coordinator = self._ensure_consumer()._coordinator
        delay = self.app.batching.leader_delay  # type: ignore[attr-defined]  # BatchApp, see Hooks
        send = coordinator._send_req

        async def send_req(request: Any) -> Any:
            if not isinstance(request, SyncGroupRequest):
                return await send(request)
            if request._group_assignment:
                await asyncio.sleep(delay)
            response = await send(request)
            if response.error_code == InvalidRequestError.errno:
                raise RebalanceInProgressError
            return response

        coordinator._send_req = send_req

    async def check(self) -> None:
        """Raises what ended aiokafka's group membership, of which nothing else speaks."""
        if self._consumer is not None and self._consumer._coordinator is not None:
            self._consumer._coordinator.check_errors()

    async def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Runs in this thread what the app's loop awaits, beside Faust's queue of calls.

        That queue has two workers; a drain that waits for records would hold one of them.
        """
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self.thread_loop))

    async def drain(self, timeout: float, max_records: int) -> list[Drained]:
        """The records at hand of every open partition, at most ``max_records`` of each: also of those that
        have come since its last ones were handed out.

        Waits up to ``timeout`` seconds for some; returns early, maybe with nothing, after an out-of-range
        position. Raises what aiokafka reports of a partition otherwise (authorisation, corrupt records).
        """
        consumer = self._ensure_consumer()
        fetcher = consumer._fetcher
        deadline = time.monotonic() + timeout
        with fetcher._subscriptions.fetch_context():
            while True:
                if consumer._closed or fetcher._closed:
                    raise ConsumerStoppedError
                if fetcher._subscriptions.reassignment_in_progress:
                    await fetcher._subscriptions.wait_for_assignment()
                drained = self._take(fetcher, max_records)
                remaining = deadline - time.monotonic()
                if drained or remaining <= 0:
                    return drained
                waiter = fetcher._create_fetch_waiter()
                done, _ = await asyncio.wait([waiter], timeout=remaining)
                if not done:
                    waiter.cancel()
                elif not waiter.cancelled():
                    waiter.result()

    def _take(self, fetcher: Any, max_records: int) -> list[Drained]:
        failed = self._hold_all(fetcher, max_records)
        if self._unreadable is not None:
            raise self._unreadable
        drained = [self._held.pop(tp) for tp in list(self._held) if tp in self.open]
        for tp in failed:
            if drained or tp not in self.open or tp not in self.flows:
                continue
            result = fetcher._records.pop(tp)
            fetcher._notify(fetcher._wait_consume_future)
            # Of no interest: it was looking for a committed offset, before the seek.
            with contextlib.suppress(NoOffsetForPartitionError):
                result.check_raise()
        return drained

    def _hold_all(self, fetcher: Any, max_records: int) -> list[TP]:
        """Takes what aiokafka has; the partitions of which it has an error."""
        for tp in list(self._held):
            if self._held[tp].flow is not self.flows.get(tp):
                del self._held[tp]  # it begins elsewhere
        failed: list[TP] = []
        for tp in list(fetcher._records):
            if not fetcher._subscriptions.is_assigned(tp):
                del fetcher._records[tp]
            elif not isinstance(fetcher._records[tp], FetchResult):
                failed.append(tp)
            elif tp in self.flows:
                self._hold(fetcher, tp, self.flows[tp], max_records)
        return failed

    def _hold(self, fetcher: Any, tp: TP, flow: PartitionFlow, max_records: int) -> None:
        """Takes what aiokafka has of a partition, as long as no more than ``max_records`` are held."""
        before = self._held.get(tp)
        room = max_records - (len(before.records) if before is not None else 0)
        if room <= 0:
            return
        result = fetcher._records[tp]
        state = result._assignment.state_value(tp)
        records = _records(result, tp, room)
        if not result.has_more():
            del fetcher._records[tp]
            fetcher._notify(fetcher._wait_consume_future)
        # The position is past the records and past anything unreadable after them.
        position = before.position if before is not None else flow.next_offset
        if state is not None and state.has_valid_position and state.position > position:
            if before is not None:
                records = [*before.records, *records]
            self._held[tp] = Drained(flow, records, state.position)

    def waits(self, tp: TP) -> bool:
        """Is there anything of a partition to be handed out, or to be told? Called from the app's loop."""
        fetcher = self._consumer._fetcher if self._consumer is not None else None
        return tp in self._held or (fetcher is not None and tp in fetcher._records)

    def wake(self) -> None:
        """Makes a waiting ``drain`` look again. Called from the app's loop."""
        self.thread_loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if self._consumer is not None and self._consumer._fetcher is not None:
            fetcher = self._consumer._fetcher
            for waiter in list(fetcher._fetch_waiters):
                fetcher._notify(waiter)

    async def bounds(self, tps: Iterable[TP]) -> dict[TP, Bounds]:
        """Committed offset (None without one), first and next offset of each partition."""
        consumer = self._ensure_consumer()
        places = list(tps)
        low, high, committed = await asyncio.gather(
            consumer.beginning_offsets(places),
            consumer.end_offsets(places),
            consumer._coordinator.fetch_committed_offsets(places),
        )
        found = {}
        for tp in places:
            offset = committed[tp].offset if tp in committed else -1
            found[tp] = Bounds(None if offset < 0 else offset, low[tp], high[tp])
        return found

    async def committed(self, tps: Iterable[TP]) -> dict[TP, int | None]:
        """What the group has committed for any partitions, also those of other members."""
        coordinator = self._ensure_consumer()._coordinator
        found = await coordinator.fetch_committed_offsets([driver.ensure_aiokafka_TP(tp) for tp in tps])
        offsets = {TP(*place): metadata.offset for place, metadata in found.items()}
        return {tp: offset if offset >= 0 else None for tp, offset in offsets.items()}

    async def place(self, flows: Mapping[TP, PartitionFlow]) -> None:
        """Seeks every live flow to its ``next_offset`` and makes it the one that records are paired with.

        No await inside: a drain sees all of it or nothing. A flow that was retired meanwhile is left alone,
        so that the rewind of an older assignment can't undo the seek of a newer one.
        """
        consumer = self._ensure_consumer()
        live = {tp: flow for tp, flow in flows.items() if flow.live}
        for tp, flow in live.items():
            consumer.seek(driver.ensure_aiokafka_TP(tp), flow.next_offset)
            self._held.pop(tp, None)
        self.flows = {**self.flows, **live}
        self._wake()
