"""The Faust app that every worker runs: record batches, no tables, no topics created, no open port."""

from __future__ import annotations

import math
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import faust
from faust.auth import OAuthCredentials, SASLCredentials
from faust.tables import TableManager
from faust.types import TP
from faust.types.auth import CredentialsT
from mode import CrashingSupervisor

from streams.kafka.batches import Progress
from streams.kafka.calm import calm_logs
from streams.kafka.transport import SCHEME, BatchConsumer, BatchSettings


class NoTables(TableManager):
    """Faust waits for a second until all tables have been registered; there are none."""

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


class BatchApp(faust.App):
    """A Faust app on the batch transport. Set the hooks before it starts."""

    batching: BatchSettings = BatchSettings()

    start_offset: Callable[[TP], int | None] | None = None
    """Given a partition just assigned, the source offset that the app's own store has reached (the next one
    to read), or None. Called after every handler of ``on_rebalance_complete`` has returned. It wins over the
    committed offset: no record below it is handed out and none from it on is left out."""

    on_offset_gap: Callable[[TP, int, int, int], None] | None = None
    """(partition, offset wanted, first offset, next offset): the log does not have the offset; reading goes
    on at the first. Raising ends the worker."""

    def progress(self) -> dict[TP, Progress]:
        """Of every partition positioned since the last rebalance; empty before the first."""
        consumer = self._consumer
        return consumer.progress() if isinstance(consumer, BatchConsumer) else {}

    def membership_age(self) -> float:
        """Seconds since the group's coordinator last confirmed this worker, suspends counted; infinite
        before the first time. Above the session time-out its partitions may be somebody else's."""
        consumer = self._consumer
        return consumer.membership_age() if isinstance(consumer, BatchConsumer) else math.inf

    def thread_answers(self) -> int:
        """How often the consumer's thread has been heard of, about once a second; 0 before it runs."""
        consumer = self._consumer
        return consumer.thread_answers if isinstance(consumer, BatchConsumer) else 0

    async def committed(self, tps: Iterable[TP]) -> dict[TP, int | None]:
        """What the group has committed (None: nothing) for any partitions, also those of other members.
        Waits for a broker that is away; raises aiokafka's KafkaError if it refuses."""
        consumer = self._consumer
        return await consumer.committed(tps) if isinstance(consumer, BatchConsumer) else {}

    before_start: Callable[[], Awaitable[None]] | None = None
    """Awaited before the consumer joins its group; what it raises ends the start."""

    before_stop: Callable[[], None] | None = None
    """Called when the app begins to stop, before its agents are waited for."""

    after_stop: Callable[[], Awaitable[None]] | None = None
    """Awaited once the consumer has left."""

    async def on_start(self) -> None:
        await super().on_start()
        if self.before_start is not None:
            await self.before_start()

    async def on_stop(self) -> None:
        if self.before_stop is not None:
            self.before_stop()
        await super().on_stop()
        if self.after_stop is not None:
            await self.after_stop()

    def _create_directories(self) -> None:
        """Faust would make a data folder; there are no tables to fill it."""


def batch_app(
    name: str,
    brokers: Sequence[str],
    *,
    batching: BatchSettings | None = None,
    instance_id: str | None = None,
    session_timeout: float = 20.0,
    rebalance_timeout: float = 60.0,
    commit_interval: float = 1.0,
    ssl_context: ssl.SSLContext | None = None,
    credentials: CredentialsT | None = None,
    web_port: int | None = None,
    client_id: str = "carillon",
) -> BatchApp:
    """An app whose consumer group is ``name`` and whose brokers are ``host:port`` strings.

    ``instance_id`` makes a worker a static member: one that comes back under the same id within
    ``session_timeout`` seconds gets its partitions back without a rebalance. ``web_port`` opens Faust's own
    web server on the loopback interface; without it there is none. The event loop is the caller's choice
    (``faust.use_eventloop`` or a policy, before this is called).

    Raises ValueError for a setting that would silently be less safe or less correct than it looks.
    """
    batching = batching or BatchSettings()
    if not brokers:
        raise ValueError("no broker given")
    sasl = isinstance(credentials, SASLCredentials | OAuthCredentials)
    if sasl and credentials.ssl_context is None:  # type: ignore[union-attr]  # narrowed by sasl
        raise ValueError(
            "SASL credentials without an SSL context would go over the wire in clear: give the credentials "
            "an ssl_context"
        )
    if not batching.drain_timeout < rebalance_timeout / 2:
        raise ValueError(
            f"drain_timeout {batching.drain_timeout} must be under half of rebalance_timeout "
            f"{rebalance_timeout}, or the group goes on without the worker that is still finishing"
        )
    options: dict[str, Any] = {
        "broker": [f"{SCHEME}://{address}" for address in brokers],
        "broker_client_id": client_id,
        "broker_credentials": credentials,
        "ssl_context": ssl_context,
        "broker_session_timeout": session_timeout,
        # Three may be lost before the group gives the worker up.
        "broker_heartbeat_interval": min(3.0, session_timeout / 4),
        "broker_rebalance_timeout": rebalance_timeout,
        # Faust refuses a session time-out above the request time-out.
        "broker_request_timeout": max(30.0, session_timeout),
        "broker_commit_interval": commit_interval,
        "consumer_group_instance_id": instance_id,
        "key_serializer": "raw",
        "value_serializer": "raw",
        # No tables, but not 0 either: with 0 Faust takes a round-robin assignor, neither sticky nor
        # co-partitioned.
        "table_standby_replicas": 1,
        "store": "memory://",
        "TableManager": NoTables,
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "stream_wait_empty": True,
        "stream_recovery_delay": 0.0,
        "web_enabled": web_port is not None,
        "web_host": "127.0.0.1",
        "web_bind": "127.0.0.1",
        "web_port": web_port or 6066,
        "web_tables_enabled": False,
        # A member's URL goes into the assignment and must be the same when a static member comes back.
        "canonical_url": f"http://{instance_id or 'worker'}.invalid:6066",
        "worker_redirect_stdouts": False,
        # An agent that raised has broken a promise: the process ends, its successor reads again.
        "agent_supervisor": CrashingSupervisor,
    }
    app = BatchApp(name, **options)
    app.batching = batching
    return app


def batch_topic(app: faust.App, *names: str) -> Any:
    """The channel of an agent that gets a ``RecordBatch`` at a time from each of these topics."""
    return app.topic(*names, key_type=None, value_type=None, key_serializer="raw", value_serializer="raw")


def run_worker(app: faust.App) -> None:
    """Runs the app until SIGTERM, SIGINT or a crash, then ends the process with code 0 or not 0.

    Leaves logging and the standard streams as the caller set them up, but for what ``calm_logs`` does.
    """
    calm_logs()
    worker = faust.Worker(app, override_logging=False, redirect_stdouts=False, quiet=True)
    worker.spinner = None
    worker.execute_from_commandline()
