"""One partition of the timers on this worker: commands and consents in, provider calls out.

The pump looks at what is due whenever something may have changed; rounds of one partition run one after the
other, provider calls side by side. What providers take now is shared by all partitions of the worker.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from agents.capacity import Capacity
from agents.gate import Gate
from agents.partition import MayClaim, PartitionStore, Shared, at_once, dead_letter
from agents.steps import StepLock
from schemas.errors import DecodeError, UnknownSchemaId
from schemas.records import Change, Channel, Customer, DeadLetter, EntityKind, ProviderEvent, Timer
from senders.lanes import Call
from streams.domain.messages import Inquiry, Outcome, RetryAt, Unknown
from streams.domain.reasons import Reason
from streams.kafka.batches import Record, RecordBatch
from streams.kafka.changelog import PositionAheadOfLog, PositionGone
from streams.stages.customers import consent_writes, forget_consents, overtaken
from streams.stages.delivery import DeliveryStage
from streams.stages.fencing import Fenced, LogRecord
from streams.stages.firing import Options, Withdrawn
from streams.stages.ready import Room
from streams.stages.round import EVENTS_SOURCE, SOURCE, DeliveryRound, InquiryOrder, SendOrder
from streams.stages.slots import FAMILIES, LAYOUT, restored, snapshot

log = logging.getLogger(__name__)

RecordT = TypeVar("RecordT", Timer, Customer, ProviderEvent)

_ANSWERS = 500
"""Answers written in one round."""
_MANY = 32
"""Answers that are worth a round of their own while others are on their way."""
_GATHER = 0.01
"""Seconds that fewer wait for others, or for a round that is made anyway: about as long as one takes."""
_LONGEST_SLEEP = 60.0
_GATE_LOOK = 0.05
"""Seconds between looks whether what lay unread at the assignment has been read."""
_DRAIN = 8.0
"""Seconds that a partition about to leave waits for its provider calls: well under the rebalance time-out."""


class SenderPartition:
    def __init__(
        self,
        shared: Shared,
        partition: int,
        capacity: Capacity,
        options: Options,
        gate: Gate,
    ) -> None:
        self._shared = shared
        self._gate = gate
        self._partition = partition
        self._capacity = capacity
        self._options = options
        self._lock = StepLock()
        self._wake = asyncio.Event()
        self._calls: set[asyncio.Future[None]] = set()
        self._sent: list[tuple[SendOrder, Outcome | Withdrawn]] = []
        self._asked: list[tuple[InquiryOrder, Inquiry]] = []
        self._gathering: asyncio.TimerHandle | None = None
        self._gathered = False
        """The first of ``_sent`` has waited long enough."""
        self._pump: asyncio.Task[None] | None = None
        self._state = PartitionStore(
            *(shared, "timers-changelog", partition, FAMILIES, restored, snapshot), layout=LAYOUT
        )
        self._stage = self._state.built(self._new_stage)
        self._state.renewed = self._renew

    # --- life

    async def open(self, may_claim: MayClaim = at_once) -> None:
        """Restores timers and consents, repeats log records that may be missing, and begins to send."""
        await self._state.restore(may_claim)
        await self._state.bind(SOURCE, "timers")
        await self._state.bind(EVENTS_SOURCE, "provider-events")
        self._stage = self._new_stage()
        again = await self._read_consents()
        self._stage = self._new_stage()
        self._sent.clear()
        self._asked.clear()
        self._written()
        outputs = self._shared.outputs
        await asyncio.gather(outputs.deliveries(self._stage.opened()), self._say_again(again))
        self._wake.set()
        self._pump = asyncio.create_task(self._run(), name=f"pump {self._partition}")

    async def pause(self) -> None:
        """Starts nothing more, waits some seconds for the providers' answers and writes them down."""
        pump, self._pump = self._pump, None
        if pump is None:
            return
        pump.cancel()
        await asyncio.gather(pump, return_exceptions=True)
        async with self._lock:
            pass  # the round under way is complete, and has started its calls
        if self._calls:
            await asyncio.wait(self._calls, timeout=_DRAIN)
        for call in list(self._calls):
            call.cancel()  # its intent is in the changelog: the next owner asks the provider
        await asyncio.gather(*self._calls, return_exceptions=True)
        async with self._lock:
            try:
                while await self._answers(self._shared.clock.now()):
                    pass
            except Fenced as error:  # the next owner asks the providers
                log.warning("answers of providers came too late to be written down: %s", error)

    async def close(self) -> None:
        await self.pause()
        self._state.close()

    def restart_at(self, offset: int) -> None:
        """The topic was made anew: its offsets begin again."""
        self._stage.source = offset

    def restart_events_at(self, offset: int) -> None:
        self._stage.events_source = offset

    def restart_consents_at(self, offset: int) -> None:
        self._stage.consents_source = offset

    async def look(self, end: int) -> None:
        """The changelog ends at ``end``; see ``PartitionStore.look``."""
        async with self._lock:
            if self._pump is not None:
                await self._state.look(end)

    async def say_again(self) -> None:
        """Writes to the changelog what it says already."""
        async with self._lock:
            if self._pump is not None:
                await self._state.commit(snapshot(self._state.store, [SOURCE]), [])

    # --- what others see

    @property
    def source(self) -> int:
        return self._stage.source

    @property
    def consents_source(self) -> int:
        return self._stage.consents_source

    @property
    def events_source(self) -> int:
        return self._stage.events_source

    @property
    def pending(self) -> int:
        return self._stage.pending

    @property
    def queued(self) -> int:
        return self._stage.queued

    def waiting(self, channel: Channel) -> Mapping[str, int]:
        """By company, how many due messages wait until the channel takes them."""
        return self._stage.waiting(channel)

    @property
    def in_flight(self) -> int:
        """Messages at their provider, answers not yet written down, and the round that is being carried out
        (its rows are neither due nor in flight any more, and its log records not yet acknowledged)."""
        return self._stage.in_flight + len(self._sent) + len(self._asked) + self._lock.locked()

    @property
    def sweeping(self) -> int:
        return self._stage.sweeping

    def next_due(self) -> int | None:
        return self._stage.next_due()

    @property
    def step_began(self) -> float | None:
        """When the step under way began (``time.monotonic``)."""
        return self._lock.began

    @property
    def failure(self) -> BaseException | None:
        task = self._pump
        return task.exception() if task is not None and task.done() and not task.cancelled() else None

    # --- input

    async def timers(self, batch: RecordBatch) -> None:
        timers: list[tuple[int, Timer]] = []
        dead: list[DeadLetter] = []
        for record in batch.records:
            decoded = await self._decode(Timer, batch, record, dead)
            if decoded is not None:
                timers.append((record.offset, decoded))
        await self._shared.outputs.dead_letters(dead)
        async with self._lock:
            # What has come of others meanwhile goes with it: a round of its own would be as long as this one.
            sent = self._answered()
            await self._round(
                lambda now: self._stage.commands(timers, batch.next_offset, now, self._rooms(now), sent)
            )
            self._count(sent)
        self._shared.metrics.records.labels("timers").inc(len(batch.records))
        self._wake.set()

    async def consents(self, batch: RecordBatch) -> None:
        customers: list[tuple[bytes, Customer | None]] = []
        dead: list[DeadLetter] = []
        for record in batch.records:
            if record.offset < self._stage.consents_source or record.key is None:
                continue
            if record.value is None:
                customers.append((record.key, None))
                continue
            decoded = await self._decode(Customer, batch, record, dead)
            if decoded is not None:
                customers.append((record.key, decoded))
        again = overtaken(self._state.store, customers)
        await asyncio.gather(self._shared.outputs.dead_letters(dead), self._say_again(again))
        async with self._lock:
            self._state.store.write(consent_writes(self._state.store, customers, batch.next_offset))
            self._stage.consents_source = batch.next_offset
            self._stage.known(key for key, customer in customers if customer is not None)
        self._shared.metrics.records.labels("consents").inc(len(batch.records))
        self._wake.set()

    async def events(self, batch: RecordBatch) -> None:
        events: list[tuple[int, ProviderEvent]] = []
        dead: list[DeadLetter] = []
        for record in batch.records:
            decoded = await self._decode(ProviderEvent, batch, record, dead)
            if decoded is not None:
                events.append((record.offset, decoded))
        await self._shared.outputs.dead_letters(dead)
        async with self._lock:
            await self._round(lambda now: self._stage.events(events, batch.next_offset, now))
        self._shared.metrics.records.labels("provider-events").inc(len(batch.records))
        self._wake.set()

    def reference_changed(self, names: list[tuple[str, str]]) -> None:
        self._stage.reference_changed(names)
        self._wake.set()

    # --- the pump

    async def _run(self) -> None:
        clock = self._shared.clock
        while True:
            self._wake.clear()
            now = clock.now()
            worked = await asyncio.shield(self._once(now))
            if worked:
                await asyncio.sleep(0)
                continue
            due = self._stage.next_due()
            delay = clock.seconds_until(due) if due is not None else _LONGEST_SLEEP
            if self._gate.closed():
                delay = _GATE_LOOK
            if self._stage.queued:
                self._capacity.wait(self._wake, clock)
            try:
                async with asyncio.timeout(min(max(delay, 0.001), _LONGEST_SLEEP)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _once(self, now: int) -> bool:
        async with self._lock:
            # What goes next and what became of others are one round, unless nothing may go.
            answered = await self._answers(now, all_=bool(self._gate.closed()))
            swept = forgot = due = None
            if not self._gate.wrong_clock:
                swept = await self._round(self._stage.sweep)
                forgot = await self._round(self._stage.forget)
            if not self._gate.closed():
                sent = self._sent[:_ANSWERS]
                alone = self._gathered or not self._calls or len(sent) >= _MANY
                due = await self._round(lambda now: self._due(now, sent, alone=alone))
                if due is not None:
                    self._count(sent)
        return answered or any(round_ is not None for round_ in (swept, forgot, due))

    def _due(
        self, now: int, sent: Sequence[tuple[SendOrder, Outcome | Withdrawn]], *, alone: bool
    ) -> DeliveryRound | None:
        """What is due, and with it the answers ``sent``; they without it if they are to go ``alone``."""
        round_ = self._stage.due(now, self._rooms(now), answers=sent, alone=alone)
        if round_ is not None:
            self._answered()
        return round_

    def _written(self) -> None:
        """The answers that there were are in a round, or as many as one takes."""
        self._gathered = bool(self._sent)
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None

    def _rooms(self, now: int) -> Mapping[Channel, Room]:
        """What may go now; nothing while the partition is about to leave, or may not send yet."""
        if self._pump is None or self._gate.closed():
            return {}
        return self._capacity.rooms(now)

    async def _answers(self, now: int, *, all_: bool = True) -> bool:
        """Writes down what providers have answered; not ``all_``: only what was asked."""
        asked, self._asked = self._asked[:_ANSWERS], self._asked[_ANSWERS:]
        sent = self._answered() if all_ else []
        if sent:
            await self._round(lambda now: self._stage.outcomes(sent, now))
            self._count(sent)
        if asked:
            await self._round(lambda now: self._stage.inquired(asked, now))
        return bool(sent or asked)

    def _answered(self) -> Sequence[tuple[SendOrder, Outcome | Withdrawn]]:
        """Takes what is to be written down next of what providers have answered."""
        sent, self._sent = self._sent[:_ANSWERS], self._sent[_ANSWERS:]
        self._written()
        return sent

    def _count(self, sent: Iterable[tuple[SendOrder, Outcome | Withdrawn]]) -> None:
        kinds = Counter((str(order.channel), type(answer).__name__.lower()) for order, answer in sent)
        self._shared.metrics.outcomes_of(kinds)

    async def _round(
        self,
        step: Callable[[int], DeliveryRound | None],
    ) -> DeliveryRound | None:
        """Carries out one round in the order that its module says; the lock is held."""
        while True:
            try:
                round_ = step(self._shared.clock.now())
                break
            except UnknownSchemaId as unknown:
                await self._shared.registry.fetch(unknown.ids)
        if round_ is None:
            return None
        # Before anything is awaited: another partition looks at what is free meanwhile.
        now = self._shared.clock.now()
        sends = [(order, self._capacity.begin(order, now)) for order in round_.sends]
        for inquiry in round_.inquiries:
            self._capacity.ask(inquiry)
        outputs = self._shared.outputs
        try:
            await outputs.suppressions(round_.suppressions)
            await self._state.commit(round_.changelog, [*round_.writes, *round_.after(self._stage.pending)])
            self._stage.committed(round_)
            # Before the calls: if the changelog is deleted, the log is the witness of what may have gone.
            await outputs.deliveries(round_.log)
        except BaseException:
            self._not_called([call for _, call in sends], round_.inquiries)
            raise
        if writes := self._stage.logged(round_):
            self._state.store.write(writes)
        self._shared.metrics.transitions_of(round_.counts)
        for order, call in sends:
            self._call(self._send(order, call))
        for inquiry in round_.inquiries:
            self._call(self._inquire(inquiry))
        return round_

    def _not_called(self, calls: Iterable[Call], inquiries: Iterable[InquiryOrder]) -> None:
        """The round could not be carried out; others go on, and must not wait for these."""
        now = self._shared.clock.now()
        for call in calls:
            self._capacity.end(call, None, now)
        for inquiry in inquiries:
            self._capacity.asked(inquiry)

    def _call(self, call: Awaitable[None]) -> None:
        task = asyncio.ensure_future(call)
        self._calls.add(task)
        task.add_done_callback(self._called)

    def _called(self, task: asyncio.Future[None]) -> None:
        self._calls.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Only its type: the text may quote the message.
            log.error("a provider call failed in an unforeseen way: %s", type(error).__name__)
        if not self._calls or len(self._sent) >= _MANY or self._asked:
            self._wake.set()
        elif self._sent and self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(_GATHER, self._gather)

    def _gather(self) -> None:
        self._gathering = None
        self._gathered = True
        self._wake.set()

    async def _send(self, order: SendOrder, call: Call) -> None:
        sender = call.account.sender
        answer: Outcome | None = None
        called = False
        try:
            async with self._capacity.place(call.channel):
                await self._gate.until_owned()
                now = self._shared.clock.now()
                withdrawn = self._stage.final_check(order, now)
                why = self._capacity.held_back(call, now)
                called = withdrawn is None and not why
                if called:
                    try:
                        answer = await sender.send(order.message)
                    except Exception as error:
                        # A sender promises not to raise; if it does, nobody knows whether the message is out.
                        log.exception("sender %s raised", sender.name)
                        answer = Unknown(sender.name, str(Reason.NO_ANSWER), type(error).__name__)
        except asyncio.CancelledError:
            if not called:  # nobody need ask the provider
                self._sent.append((order, _again(sender.name, "its worker left before its turn")))
            raise
        finally:
            elsewhere = self._capacity.end(call, answer, self._shared.clock.now())
        if isinstance(answer, RetryAt) and elsewhere:
            answer = replace(answer, elsewhere=True)
        self._sent.append((order, withdrawn or answer or _again(sender.name, why)))
        late = max(0, self._shared.clock.now() - order.allowed)
        self._shared.metrics.lateness.observe(late / 1000)

    async def _inquire(self, order: InquiryOrder) -> None:
        sender = self._capacity.sender(order)
        try:
            answer: Inquiry
            try:
                async with self._capacity.place(order.channel):
                    answer = await sender.inquire(order.message, order.since, order.until)
            except Exception as error:
                log.exception("sender %s raised", sender.name)
                answer = Unknown(sender.name, str(Reason.NO_ANSWER), type(error).__name__)
            self._asked.append((order, answer))
        finally:
            self._capacity.asked(order)

    # --- within

    def _say_again(self, customers: Iterable[tuple[bytes, Customer]]) -> Awaitable[object]:
        """Writes to ``consents`` what an older record there has overtaken (``overtaken``)."""
        encode = self._shared.codec.encode
        records = [(key, encode(customer)) for key, customer in customers]
        return self._shared.outputs.send("consents", records, partition=self._partition)

    async def _read_consents(self) -> list[tuple[bytes, Customer]]:
        """``consents`` is its own changelog: the store is brought up to its end before anything is sent.
        Returns what must be written there once more."""
        store = self._state.store
        codec = self._shared.codec
        again: dict[bytes, Customer] = {}

        def apply(records: list[LogRecord]) -> None:
            customers: list[tuple[bytes, Customer | None]] = []
            for _, key, value, _ in records:
                try:
                    customers.append((key, codec.decode(Customer, value) if value is not None else None))
                except DecodeError as error:
                    log.warning("a record of consents was left out: %s", error)
            again.update(overtaken(store, customers))
            store.write(consent_writes(store, customers, records[-1][0] + 1))

        await self._shared.registry.preload([self._shared.outputs.topic("consents")])
        topic = self._shared.outputs.topic("consents")
        await self._state.follow("consents", lambda: forget_consents(store))
        while True:
            start = self._new_stage().consents_source or None
            try:
                await self._shared.read_log(topic, self._partition, start, apply)
                return list(again.items())
            except UnknownSchemaId as unknown:  # the publisher's own, perhaps under another subject
                await self._shared.registry.fetch(unknown.ids)
            except (PositionAheadOfLog, PositionGone) as error:
                if start is None:
                    raise
                log.warning("consents[%d] are read again from the beginning: %s", self._partition, error)
                forget_consents(store)

    async def _decode(
        self, kind: type[RecordT], batch: RecordBatch, record: Record, dead: list[DeadLetter]
    ) -> RecordT | None:
        """The record, or None after adding a dead letter."""
        value = record.value
        try:
            while True:
                try:
                    return self._shared.codec.decode(kind, value if value is not None else b"")
                except UnknownSchemaId as unknown:
                    await self._shared.registry.fetch(unknown.ids)
        except DecodeError as error:
            self._shared.metrics.dead_letters.labels(batch.topic).inc()
            dead.append(dead_letter(batch, record, error, self._shared.clock.now()))
            return None

    def _read_change(self, kind: EntityKind, raw: bytes) -> Change | None:
        """The change with its details; without them if only those can't be read."""
        codec = self._shared.codec
        for full in (True, False):
            try:
                return codec.decode_change_value(kind, raw, full=full)
            except DecodeError:
                continue
        return None

    def _renew(self) -> None:
        """Rules change, and people look, while a store is rebuilt: never at the one that is closed."""
        self._stage = self._new_stage()

    def _new_stage(self) -> DeliveryStage:
        return DeliveryStage(self._state.store, self._shared.catalog, self._options, self._read_change)


def _again(provider: str, why: str) -> RetryAt:
    """Of a message that has begun and was not handed to its provider: it waits for its turn once more."""
    return RetryAt(provider, Reason.PROVIDER_BUSY, why, elsewhere=True, called=False)
