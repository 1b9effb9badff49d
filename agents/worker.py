"""A worker: everything that one process runs, put together from the settings."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from functools import cache as once
from itertools import chain
from typing import Any

from faust.types import TP

from agents import appointments, consents, leads, orders, reseeding, timers
from agents.accounts import allowed_of, options_of, sender_settings
from agents.connections import BrokerError, broker_errors, registry_config
from agents.gate import Gate
from agents.hold import Ends, Hold
from agents.host import Host, Place
from agents.lookout import Lookout
from agents.outputs import Outputs
from agents.overview import Overview, Sources, Status
from agents.pacing import Pacing
from agents.partition import RocksDisk, Shared
from agents.patience import PatientRegistry
from agents.progress import RestoreProgress
from agents.quarantine import FileMarks, Quarantine
from agents.reference import ReferenceTables
from agents.web import WebServer
from schemas.codec import Codec
from schemas.contracts import TOPICS
from schemas.errors import DecodeError
from schemas.records import Channel, Delivery
from schemas.registry import open_registry
from senders.factory import build_senders
from senders.shares import Shares
from senders.usage import Usage
from streams.clock import SystemClock, clock_of
from streams.domain.catalog import Catalog
from streams.domain.ids import customer_key
from streams.kafka.app import BatchApp, batch_app, run_worker
from streams.kafka.changelog import ChangelogReader
from streams.kafka.credentials import broker_credentials
from streams.kafka.offsets import Committed, Offsets
from streams.kafka.partitioner import partition_for
from streams.kafka.producer import BatchProducer
from streams.kafka.security import librdkafka_config, ssl_context
from streams.kafka.tail import Tail
from streams.kafka.topic_ids import TopicIds
from streams.kafka.topics import CHANGELOGS, ENTITY_TOPICS, INPUT_TOPICS, check, topic_plan
from streams.kafka.transport import BatchSettings
from streams.metrics import Metrics
from streams.settings import Settings, SettingsError

log = logging.getLogger(__name__)

_CATCH_UP = 60.0
"""Seconds in which the reference tables must be read; the group waits as long for a member (rebalance)."""
_WATCH = 1.0
_STOP_WITHIN = 25
"""Seconds: the answers of providers are waited for eight, batches ten; an orchestrator kills after thirty."""
_PREFLIGHT = 10.0
"""Seconds for the brokers' first answer: a wrong address is told soon, a starting broker is met again."""


class Worker:
    """``start`` and ``stop`` belong to the event loop that ``app`` runs on."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._security = librdkafka_config(settings)
        self._prefix = settings.topic_prefix
        self._counts: dict[str, int] = {}
        self._registry = PatientRegistry(open_registry(registry_config(settings)))
        codec = Codec(self._registry)
        clock = clock_of(settings.clock)
        self._metrics = Metrics()
        self._producer = BatchProducer(
            settings.broker,
            self._security,
            partitions=lambda topic: self._counts[topic],
            # A clock that somebody drives has nothing to do with the brokers'.
            now=clock.now if isinstance(clock, SystemClock) else None,
        )
        self._catalog = Catalog()
        formats = {
            "orders": settings.order_format,
            "leads": settings.lead_format,
            "appointments": settings.appointment_format,
        }
        self._progress = RestoreProgress()
        self._outputs = Outputs(self._producer, codec, self._prefix)
        sources = (*ENTITY_TOPICS, "timers", "consents", "provider-events")
        bound = [self._prefix + name for name in (*CHANGELOGS, *sources)]
        shared = Shared(
            disk=RocksDisk(settings.data),
            read_log=self._progress.watching(ChangelogReader(settings.broker, self._security).read),
            outputs=self._outputs,
            codec=codec,
            registry=self._registry,
            catalog=self._catalog,
            clock=clock,
            metrics=self._metrics,
            formats=formats,
            topic_id=TopicIds(settings.broker, self._security, bound).of,
            committed=Committed(settings.broker, self._security, settings.group).of,
            name=f"{platform.node()}:{os.getpid()}:{time.time_ns()}",
        )
        self._shared = shared
        self._clock = clock
        usage = Usage(shared.name)
        self._senders = build_senders(sender_settings(settings), clock, usage)
        limits = {Channel.SMS: settings.sms_in_flight, Channel.EMAIL: settings.smtp_connections * 2}
        # A mail server takes a message in milliseconds, a round takes tens of them. An e-mail that has begun
        # and was not handed over when a worker is killed is sent after all; an SMS is not, so none begins
        # before there is a place for it.
        ahead = {Channel.EMAIL: settings.smtp_connections * 8}
        self._gate = Gate(
            unread=lambda: self._hold.unread,
            membership_age=self._membership_age,
            tables_age=self._tables_age,
            disagreement=lambda: max(clock.disagreement(), self._producer.disagreement),
            session_timeout=settings.session_timeout / 1000,
        )
        # A clock that somebody drives runs faster than workers can tell each other anything.
        shares = Shares(shared.name) if isinstance(clock, SystemClock) else None
        self._host = Host(shared, self._senders, limits, options_of(settings), self._gate, shares, ahead)
        capacity = self._host.capacity
        self._pacing = Pacing(
            settings.broker,
            self._security,
            self._outputs,
            shares or Shares(shared.name),
            usage,
            capacity.pauses,
            backlog=self._host.backlog if shares is not None else dict,
            on_pauses=capacity.wake,
            now=clock.now,
        )
        self._tables = ReferenceTables(
            settings.broker,
            self._security,
            self._prefix,
            codec,
            self._registry,
            self._catalog,
            self._host.reference_changed,
        )
        self.app = self._faust_app()
        self._lookout = Lookout(
            self._host,
            ends=Ends(settings.broker, self._security).of,
            topic=self._outputs.topic,
            disagreement=lambda: self._producer.disagreement,
        )
        self._hold = Hold(
            [self._prefix + name for name in INPUT_TOPICS],
            [self._prefix + name for name in ("timers", "consents")],
            ends=Ends(settings.broker, self._security).held,
            committed=self.app.committed,
            progress=self.app.progress,
            confirmed=lambda: self._gate.owned,
            longest=settings.hold / 1000,
        )
        self._host.opening_late = self._hold.revoked
        self._host.opened_late = lambda: self._hold.assigned(self.app.consumer.assignment())
        self._overview = self._new_overview()
        self._web = WebServer(
            settings.web_host,
            settings.web_port,
            settings.data,
            self._metrics,
            status=self.status,
            not_live=self._overview.not_live,
        )
        self._tasks: list[asyncio.Task[None]] = []
        quarantine = Quarantine(FileMarks(settings.data / "marks"), shared.outputs.dead_letters, clock.now)
        register = (orders.register, leads.register, appointments.register, timers.register)
        for agent in register:
            agent(self.app, self._host, quarantine, self._prefix)
        consents.register(self.app, shared, quarantine, self._prefix)

    async def start(self) -> None:
        """Before the first partition is assigned: schemas fetched, tables being read."""
        settings = self._settings
        await self._web.start()  # first of all: what follows may have to wait for others
        names = [topic.name for topic in topic_plan(settings)]
        ends, _ = await asyncio.gather(
            asyncio.to_thread(Offsets(settings.broker, self._security).ends, names), self._learn_schemas()
        )
        self._counts.update({topic: len(partitions) for topic, partitions in ends.items()})
        await self._producer.start()
        await self._tables.start()  # they are read while other things are looked at
        await reseeding.put_back(self._shared, self._told, self._timers_of, settings.data / "changelogs.json")
        await self._pacing.start()
        for channel in Channel:
            if channel not in self._senders:
                log.warning("no provider for %s is set: such messages wait in the store", channel)
        for channel in allowed_of(settings):
            log.warning("environment=test: %s goes to allowed_addresses only", channel)
        self._lookout.start()
        self._tasks = [
            asyncio.create_task(self._watch(), name="watch"),
            asyncio.create_task(self._overview.follow(), name="overview"),
        ]

    async def _learn_schemas(self) -> None:
        await self._registry.register_all(
            {self._prefix + topic: contract for topic, contract in TOPICS.items()}
        )
        names = (*INPUT_TOPICS, "delivery-log")
        await self._registry.preload([self._prefix + name for name in names])

    def _told(self, since: int) -> Iterator[Delivery]:
        """The delivery log since a moment (milliseconds), but for what can't be read. Blocks."""
        topic = self._outputs.topic("delivery-log")
        with closing(Tail(self._settings.broker, self._security, topic, since=since)) as tail:
            for record in tail.to_end():
                try:
                    yield self._shared.codec.decode(Delivery, record.value)
                except DecodeError as error:
                    log.warning("a record of %s was left out: %s", topic, error)

    def _timers_of(self, record: Delivery) -> int:
        key = customer_key(record.company, record.customer_id)
        return partition_for(key, self._counts[self._outputs.topic("timers")])

    def _begin_stop(self) -> None:
        """From here the process ends within a deadline, also when no broker answers any more: whatever is not
        done by then is found in the changelogs by the next owner, as after a kill."""
        self._overview.ending = True
        self._outputs.stop_retrying()

        def end() -> None:
            log.critical("not ended within %d s; ending the hard way", _STOP_WITHIN)
            os._exit(1)

        deadline = threading.Timer(_STOP_WITHIN, end)
        deadline.daemon = True
        deadline.start()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._hold.revoked()
        self._lookout.stop()
        await self._host.close()
        await self._tables.reader.stop()
        await self._pacing.stop()
        for sender in chain.from_iterable(self._senders.values()):
            await sender.close()
        await self._producer.stop()
        await self._web.stop()

    # --- partitions come and go

    async def _revoked(self, *_: Any, **__: Any) -> None:
        self._hold.revoked()
        await self._host.pause()

    async def _rebalanced(self, *_: Any, **__: Any) -> None:
        over = self._host.pauses
        await self._tables.caught_up(_CATCH_UP)
        await self._pacing.caught_up(_CATCH_UP)
        assigned = self.app.consumer.assignment()
        if self._host.pauses == over:  # else they were taken away meanwhile
            await self._host.resume([self._place(tp) for tp in assigned])
            _settle_heap()
        if self._host.pauses == over:
            self._hold.assigned(assigned)

    def _start_offset(self, tp: TP) -> int | None:
        return self._host.start_offset(self._place(tp))

    def _gap(self, tp: TP, wanted: int, low: int, high: int) -> None:
        log.error(
            "%s[%d]: offset %d is not in the log (%d to %d); going on at %d",
            tp.topic,
            tp.partition,
            wanted,
            low,
            high,
            low,
        )
        self._host.restart_at(self._place(tp), low)

    def _membership_age(self) -> float:
        return self.app.membership_age()

    def _tables_age(self) -> float:
        return self._tables.reader.last_confirmed()

    def _place(self, tp: TP) -> Place:
        return Place(tp.topic.removeprefix(self._prefix), tp.partition)

    def _failure(self) -> BaseException | None:
        """What ended a task that nobody awaits."""
        return (
            self._host.failure()
            or self._tables.reader.failure
            or self._pacing.failure
            or self._hold.failure
            or self._lookout.failure
            or self._producer.failure
        )

    async def _watch(self) -> None:
        """Ends the worker when a task that nobody awaits has failed."""
        said: list[str] = []
        while True:
            await asyncio.sleep(_WATCH)
            closed = list(self._gate.closed()) if self._host.ready else []
            for reason in closed:
                if reason not in said:
                    log.warning("nothing is sent: %s", reason)
            said = closed
            failure = self._failure()
            if failure is not None:
                log.critical("ending: %r", failure, exc_info=failure)
                await self.app.crash(failure)
                return

    # --- what can be seen

    def status(self) -> Status:
        """A snapshot for /status; brings the gauges up to date."""
        return self._overview.status()

    def _waiting_for(self) -> str:
        """What holds the work up that is none of this process."""
        if self._registry.waiting:
            return "the schema registry"
        if self._gate.wrong_clock:
            return "the clocks, which do not agree"
        return "the brokers, which could not take records" if self._outputs.refused else ""

    def _new_overview(self) -> Overview:
        return Overview(
            Sources(
                app=self.app,
                host=self._host,
                gate=self._gate,
                progress=self._progress,
                metrics=self._metrics,
                now=self._clock.now,
                table_positions=self._tables.positions,
                tables_age=self._tables_age,
                failure=self._failure,
                ends=Ends(self._settings.broker, self._security).of,
                waiting_for=self._waiting_for,
                unread=lambda: str(self._hold),
                prefix=self._prefix,
                session_timeout=self._settings.session_timeout / 1000,
                stuck_after=self._settings.stuck_after / 1000,
            )
        )

    # --- Faust

    def _faust_app(self) -> BatchApp:
        settings = self._settings
        context = ssl_context(settings)
        app = batch_app(
            settings.group,
            settings.broker.split(","),
            batching=BatchSettings(leader_delay=settings.leader_delay / 1000),
            instance_id=settings.instance_id or None,
            session_timeout=settings.session_timeout / 1000,
            ssl_context=context,
            credentials=broker_credentials(settings, context),
        )
        app.start_offset = self._start_offset
        app.on_offset_gap = self._gap
        app.on_partitions_revoked.connect(self._revoked, weak=False)
        app.on_rebalance_complete.connect(self._rebalanced, weak=False)
        app.before_start = self.start
        app.before_stop = self._begin_stop
        app.after_stop = self.stop
        return app


@once
def _settle_heap() -> None:
    """What is here by now (modules, rules, schemas) stays: the collector need not look through it again and
    again. Some 10 % of the CPU of both kinds of agents."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def preflight(settings: Settings) -> list[str]:
    """What keeps a worker from starting, each with what to do; empty: nothing does."""
    try:
        build_senders(sender_settings(settings), SystemClock())
    except (ValueError, OSError) as error:
        return [f"a provider account: {error}"]
    try:
        with broker_errors(settings):
            plan, security = topic_plan(settings), librdkafka_config(settings)
            problems = asyncio.run(check(settings.broker, security, plan, timeout=_PREFLIGHT))
    except BrokerError as error:
        return [str(error)]
    advice = ["see: carillon topics --help"] if problems else []
    return [str(problem) for problem in problems] + advice


def run(settings: Settings) -> None:
    """Runs a worker until SIGTERM, SIGINT or a crash; ends the process.

    Raises SettingsError when the topics are not as they must be.
    """
    problems = preflight(settings)
    if problems:
        raise SettingsError(problems)
    run_worker(Worker(settings).app)
