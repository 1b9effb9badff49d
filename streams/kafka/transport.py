"""A Faust transport that carries batches: one Faust message is all that a fetch returned for a partition.

Faust's cost is per message, so its agents, assignment, rebalancing and command line are kept and the path
of a record is replaced: ``BatchConsumer`` overrides how messages are drained, acked and committed, and where
reading starts after an assignment. Registered as the scheme ``batch://host:port``.

Read together with faust-streaming 0.15.3 ``transport/consumer.py``, ``transport/drivers/aiokafka.py``,
``tables/recovery.py`` (``_resume_streams`` drives the start after a rebalance) and aiokafka 0.12-0.14
``consumer/fetcher.py``, whose private parts Faust uses as well.

Where things run: aiokafka lives in Faust's consumer thread, everything else in the app's event loop. A
``PartitionFlow`` stands for one assignment of one partition. The thread pairs every drained record with the
flow that was seeked to, in one step of its loop, so that records of an older position can never be taken
for records of the newer one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aiokafka.errors import (
    ConsumerStoppedError,
    IllegalStateError,
    KafkaError,
    OffsetOutOfRangeError,
)
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode import Service

from streams.kafka.batches import PartitionFlow, Progress, Record
from streams.kafka.consumer_thread import BatchConsumerThread, Bounds, elapsed

logger = logging.getLogger(__name__)

SCHEME = "batch"
TRANSPORTS.aliases[SCHEME] = "streams.kafka.transport:BatchTransport"


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """How much is read at a time."""

    max_records: int = 1000
    """Of one batch."""
    max_bytes: int = 1024 * 1024
    """Asked for per partition and fetch, as stored (compressed). One producer batch above it still comes."""
    max_in_flight: int = 1
    """Batches of one partition that are handed out and not acked. What comes meanwhile is one batch
    afterwards, up to ``max_records``; beyond that this partition alone is not read. A second one handed out
    would be worked on no sooner, and smaller: of single records, a batch costs more than what is in it."""
    fetch_max_wait: float = 0.05
    """Seconds that a broker may hold an empty fetch. aiokafka asks a broker nothing else meanwhile, so a
    partition that was full waits up to this long: Faust's 1.5 s would be its stall."""
    drain_timeout: float = 10.0
    """Seconds that a revoke or a stop waits for batches in work. Must stay well under the broker's
    rebalance time-out; what is not acked by then is read again by the next owner."""
    leader_delay: float = 0.0
    """Seconds that the group's leader holds back the assignment it made. 0.1 with the embedded broker
    when several workers run, see ``_meet_the_mock_broker``; nothing else needs it."""


class TakenAway(Exception):  # noqa: N818 - says what is the matter
    """The partition is not to be read: its assignment is over already, and another one follows."""


class Hooks(Protocol):
    """What the transport asks of the app (``BatchApp`` has it)."""

    batching: BatchSettings
    start_offset: Callable[[TP], int | None] | None
    """Where reading must begin, whatever was committed; None: where it was committed. Raises TakenAway."""
    on_offset_gap: Callable[[TP, int, int, int], None] | None


class BatchConsumer(driver.Consumer):
    """Hands out ``RecordBatch`` messages; commits what ``RecordBatch.ack`` said and nothing else."""

    _thread: BatchConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._hooks: Hooks = self.app  # type: ignore[assignment]  # BatchApp; Faust knows its base class
        self._flows: dict[TP, PartitionFlow] = {}
        self._settled = asyncio.Event()
        self._revocations = 0
        self.thread_answers = 0
        """How often the thread has been heard of; it stands still when the thread does."""

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # -- where reading starts

    async def perform_seek(self) -> None:
        """Positions every assigned partition. Faust calls it after ``on_rebalance_complete``'s handlers.

        The stored source offset, where the app has one, wins over the committed offset; without either,
        reading starts at the earliest record. An offset that the log does not have (recreated or truncated
        topic, expired records) is reported, and reading starts at the earliest record. If the partitions are
        taken away meanwhile none is read: Faust calls again when it knows the next assignment.
        """
        # Faust cancels this after broker_request_timeout and goes on as if it had happened.
        limit = self.app.conf.broker_request_timeout * 0.8
        self._retire(self._flows)
        try:
            async with asyncio.timeout(limit):
                await self._start(self.assignment())
        except TimeoutError as error:
            await self.crash(error)
            raise

    async def _start(self, tps: Iterable[TP]) -> None:
        revocations = self._revocations
        bounds = await self._thread.run(self._thread.bounds(tps))
        flows = {}
        for tp, found in bounds.items():
            try:
                start = self._hooks.start_offset(tp) if self._hooks.start_offset is not None else None
            except TakenAway:
                logger.info("%s/%d has been taken away before it was read", tp.topic, tp.partition)
                continue
            if start is None:
                start = found.low if found.committed is None else found.committed
            if not found.low <= start <= found.high:
                self._report_gap(tp, start, found.low, found.high)
                start = found.low
            flows[tp] = self._new_flow(tp, start, found)
        await self._begin(flows, revocations)

    def _new_flow(self, tp: TP, start: int, bounds: Bounds) -> PartitionFlow:
        committed = bounds.committed
        if committed is not None and committed > bounds.high:
            committed = None  # of a topic that is gone: the next commit must replace it, although lower
        return PartitionFlow(
            *(tp.topic, tp.partition, start),
            committed_offset=committed,
            end_at_start=bounds.high,
            on_settled=self._on_settled,
        )

    async def _begin(self, flows: Mapping[TP, PartitionFlow], revocations: int) -> None:
        if self._revocations == revocations:
            await self._thread.run(self._thread.place(flows))
        if self._revocations != revocations:
            return
        self._flows.update(flows)
        for tp, flow in flows.items():
            self._committed_offset[tp] = flow.committed_offset
            self._sync(tp)

    def _report_gap(self, tp: TP, wanted: int, low: int, high: int) -> None:
        logger.error(
            "%s/%d: offset %d is not in the log, which has %d to %d: the topic was recreated, truncated, or "
            "its records expired. Reading from %d",
            *(tp.topic, tp.partition, wanted, low, high, low),
        )
        if self._hooks.on_offset_gap is not None:
            self._hooks.on_offset_gap(tp, wanted, low, high)

    async def _restart_lost(self, error: OffsetOutOfRangeError) -> None:
        """A position fell out of the log while it was being read."""
        for place, wanted in error.args[0].items():
            tp = TP(place.topic, place.partition)
            flow = self._flows.get(tp)
            if flow is None or not flow.live or wanted != flow.next_offset:
                continue  # from an older position
            self._retire([tp])
            revocations = self._revocations
            bounds = (await self._thread.run(self._thread.bounds([tp])))[tp]
            if self._revocations == revocations:
                self._report_gap(tp, wanted, bounds.low, bounds.high)
                await self._begin({tp: self._new_flow(tp, bounds.low, bounds)}, revocations)

    # -- reading

    @Service.task
    async def _watch_membership(self) -> None:
        """A coordinator that has given up leaves a worker that reads nothing and says nothing: end it."""
        async for _ in self.itertimer(1.0, name="membership"):
            await self._thread.run(self._thread.check())
            self.thread_answers += 1

    async def _drain_messages(self, fetcher: Any) -> None:
        """The fetcher's loop: drain, hand out, again. Ends with the consumer; raising ends the worker."""
        batching = self._hooks.batching
        try:
            # A fetcher that was restarted may have lost what its predecessor had drained.
            await self._rewind({tp: flow for tp, flow in self._flows.items() if flow.live})
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):
                if not self.flow_active:
                    await self.wait(self.can_resume_flow)  # type: ignore[arg-type]  # an asyncio.Event does
                    continue
                try:
                    drained = await self._thread.run(self._thread.drain(1.0, batching.max_records))
                except OffsetOutOfRangeError as error:
                    await self._restart_lost(error)
                    continue
                for flow, records, position in drained:
                    await self._hand_out(flow, records, position)
                await asyncio.sleep(0)
        except ConsumerStoppedError:
            if not self.app.should_stop:
                raise
        except asyncio.CancelledError:
            if not self.app.should_stop:
                raise

    async def _hand_out(self, flow: PartitionFlow, records: Sequence[Record], position: int) -> None:
        if not flow.live:
            return  # positioned again, or about to be
        tp = TP(flow.topic, flow.partition)
        if not self.flow_active or tp not in self._active_partitions:
            await self._rewind({tp: flow})
            return
        batch = flow.take(records, position)
        if batch is not None:
            message = ConsumerMessage(
                topic=flow.topic,
                partition=flow.partition,
                offset=position - 1,
                timestamp=batch.records[-1].timestamp / 1000.0,
                timestamp_type=0,
                headers=None,
                key=None,
                value=batch,  # type: ignore[arg-type]  # the raw codec passes it on as it is
                checksum=None,
                serialized_key_size=0,
                serialized_value_size=0,
                tp=tp,
                generation_id=self.app.consumer_generation_id,
            )
            assert batch._span is not None
            batch._span.message = message
            # Does not block: a partition has few batches in flight, a stream's buffer has room for thousands.
            await self.callback(message)
            self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
        self._sync(tp)

    async def _rewind(self, flows: Mapping[TP, PartitionFlow]) -> None:
        """What was drained and not handed out is read again."""
        try:
            await self._thread.run(self._thread.place(flows))
        except IllegalStateError:
            logger.debug("not rewound, the assignment has changed: %s", list(flows))

    def _sync(self, tp: TP) -> None:
        flow = self._flows.get(tp)
        room = (
            flow is not None
            and flow.live
            and flow.in_flight < self._hooks.batching.max_in_flight
            and tp in self._active_partitions
        )
        was_open = tp in self._thread.open
        if room and not was_open:
            self._thread.open.add(tp)
            # After that: what comes from here on finds it open.
            if self._thread.waits(tp):
                self._thread.wake()
        elif was_open and not room:
            self._thread.open.discard(tp)

    def pause_partitions(self, tps: Iterable[TP]) -> None:
        super().pause_partitions(tps)
        for tp in tps:
            self._sync(tp)

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        super().resume_partitions(tps)
        for tp in tps:
            self._sync(tp)

    def on_buffer_full(self, tp: TP) -> None:
        """A full stream buffer can't be: see ``_hand_out``."""

    def on_buffer_drop(self, tp: TP) -> None:
        """Likewise."""

    def _retire(self, tps: Iterable[TP]) -> None:
        for tp in list(tps):
            flow = self._flows.pop(tp, None)
            if flow is not None:
                flow.retire()
                self._thread.open.discard(tp)
        self._settled.set()

    # -- acks and commits

    def ack(self, message: Any) -> bool:
        """Faust's ack, given when an agent goes to its next message or raises, says nothing here."""
        message.acked = True
        return True

    def _on_settled(self, flow: PartitionFlow) -> None:
        self._settled.set()
        self._sync(TP(flow.topic, flow.partition))

    async def _commit_tps(self, tps: Iterable[TP], start_new_transaction: bool) -> bool:
        # Faust's streams keep books of their own in these; nobody else reads or empties them.
        self._acked.clear()
        self._acked_index.clear()
        self._unacked_messages.clear()
        due = {tp: offset for tp, flow in self._flows.items() if (offset := flow.commit_due) is not None}
        flows = dict(self._flows)
        if not due or not await self._commit(due):
            return False
        for tp, offset in due.items():
            flows[tp].committed_offset = offset
        self._committed_offset.update(due)
        self.app.monitor.on_tp_commit(due)
        return True

    async def wait_empty(self) -> None:
        """Waits for the batches that agents work on, at most ``drain_timeout`` seconds, and commits.

        Faust calls it on a revoke and when stopping, with the flow stopped and the queues of the streams
        cleared. Afterwards the partitions are no longer ours: their batches are not ``live``.
        """
        limit = self._hooks.batching.drain_timeout
        try:
            async with asyncio.timeout(limit):
                while not self._ends_badly() and any(flow.started() for flow in self._flows.values()):
                    self._settled.clear()
                    await self._settled.wait()
        except TimeoutError:
            late = sorted(f"{tp.topic}/{tp.partition}" for tp, flow in self._flows.items() if flow.started())
            logger.warning(
                "batches still in work after %g s, their next owner reads them again: %s", limit, late
            )
        await self.commit_and_end_transactions()
        if not self.flow_active:
            self._retire(self._flows)

    def _ends_badly(self) -> bool:
        return bool(
            self.crashed or self.app.crashed
        )  # whoever works on those batches may be the one that died

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        self._revocations += 1
        await super().on_partitions_revoked(revoked)
        self._retire(revoked)

    async def committed(self, tps: Iterable[TP]) -> dict[TP, int | None]:
        """What the group has committed (None: nothing) for any partitions, also those of other members.
        Waits for a broker that is away; raises KafkaError if it refuses."""
        return await self._thread.run(self._thread.committed(tps))  # type: ignore[no-any-return]  # run has no type

    def membership_age(self) -> float:
        """Seconds since the coordinator last confirmed that this worker is a member; infinite before."""
        return elapsed() - self._thread.confirmed

    def progress(self) -> dict[TP, Progress]:
        """Of every partition that has been positioned since the last rebalance."""
        return {
            tp: Progress(
                start=flow.start_offset,
                end_at_start=flow.end_at_start,
                read=flow.next_offset,
                acked=flow.acked_offset,
                committed=flow.committed_offset,
                end=self._end(tp),
                in_flight=flow.in_flight,
            )
            for tp, flow in self._flows.items()
        }

    def _end(self, tp: TP) -> int | None:
        try:
            return self.highwater(tp)
        # No longer assigned, as a rebalance on the consumer's thread has it: aiokafka asserts that it is, or
        # finds nothing in the midst of the change.
        except (KafkaError, AssertionError, AttributeError):
            return None


class BatchTransport(driver.Transport):
    """``broker="batch://host:port"``."""

    Consumer = BatchConsumer
    driver_version = f"batch over {driver.Transport.driver_version}"
