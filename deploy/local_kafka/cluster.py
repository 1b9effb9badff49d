"""A real Apache Kafka in KRaft mode, without Docker: for integration tests and for trying things."""

from __future__ import annotations

import base64
import shutil
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.local_kafka.jars import LocalKafkaError
from deploy.local_kafka.listeners import CONTROLLER, Listener, listener_properties, scram_arguments
from deploy.local_kafka.node import Address, Node, free_addresses

_ATTEMPTS = 3
"""Another process may take a free port in the moment before the broker does."""


def new_cluster_id() -> str:
    """A random id as Kafka writes them. One in 64 would begin with a dash, which Kafka's tools take for an
    option."""
    while True:
        found = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not found.startswith("-"):
            return found


class LocalKafka:
    """``nodes`` brokers (one or three), each of them a controller too, on loopback ports of their own.

    ``folder``: where everything is kept; None: a temporary one that ``stop`` removes. ``properties`` are
    added to those of every broker. ``listeners``: beside the plain one, which is always there; ``users`` are
    who may log in at them, password by name. Blocking; use it as a context manager. The broker does not end
    by itself when this process is killed.
    """

    def __init__(
        self,
        *,
        nodes: int = 1,
        folder: Path | None = None,
        properties: Mapping[str, str] | None = None,
        listeners: Sequence[Listener] = (),
        users: Mapping[str, str] | None = None,
        heap_mb: int = 512,
    ) -> None:
        self._count = nodes
        self._given_folder = folder
        self._folder: Path | None = None
        self._properties = dict(properties or {})
        self._listeners = tuple(listeners)
        self._users = dict(users or {})
        self._heap_mb = heap_mb
        self.nodes: list[Node] = []

    @property
    def bootstrap(self) -> str:
        """``host:port,...`` of all brokers once started, without TLS."""
        return ",".join(node.address.bootstrap for node in self.nodes)

    def bootstrap_of(self, listener: str) -> str:
        """The same of a listener by its name."""
        return ",".join(node.address.of(listener) for node in self.nodes)

    def start(self, timeout: float = 90.0) -> str:
        """Fetches the jars if need be, starts all nodes and blocks until they serve. Returns ``bootstrap``.

        Raises LocalKafkaError with the end of the log of a node that does not start.
        """
        if self.nodes:
            raise LocalKafkaError("it is running already")
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._start(time.monotonic() + timeout)
                break
            except LocalKafkaError as error:
                self.stop()
                if "Address already in use" not in str(error) or attempt == _ATTEMPTS:
                    raise
        return self.bootstrap

    def stop(self) -> None:
        """Ends all nodes and removes a temporary folder. Idempotent."""
        nodes, self.nodes = self.nodes, []
        for node in nodes:
            # The last of several waits for a quorum that has gone: give it little time to say good-bye.
            node.stop(timeout=30.0 if len(nodes) == 1 else 5.0)
        if self._folder is not None and self._given_folder is None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None

    def restart(self, number: int, timeout: float = 60.0) -> None:
        """Starts node ``number`` (from 1) again, on its ports and data, after its ``stop`` or ``kill``."""
        node = self.nodes[number - 1]
        node.launch()
        node.wait_ready(time.monotonic() + timeout)

    def _start(self, deadline: float) -> None:
        self._folder = self._given_folder or Path(tempfile.mkdtemp(prefix="carillon-kafka-"))
        addresses = free_addresses(self._count, [one.name for one in self._listeners])
        cluster_id = new_cluster_id()
        for address in addresses:
            folder = self._folder / f"node-{address.number}"
            own = node_properties(folder, address, addresses)
            own |= listener_properties(address.ports, self._listeners, self._users)
            node = Node(
                folder,
                address,
                cluster_id,
                properties=own | self._properties,
                heap_mb=self._heap_mb,
                format_arguments=scram_arguments(self._users),
            )
            self.nodes.append(node)
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_ready(deadline)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def node_properties(folder: Path, address: Address, cluster: Sequence[Address]) -> dict[str, str]:
    """Of a node with its data in ``folder``, without its listeners."""
    copies = str(min(3, len(cluster)))
    return {
        "process.roles": "broker,controller",
        "node.id": str(address.number),
        "controller.quorum.voters": ",".join(f"{one.number}@{one.of(CONTROLLER)}" for one in cluster),
        "log.dirs": str(folder / "data"),
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": copies,
        "offsets.topic.num.partitions": "4",  # default 50: files and start-up time for nothing
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.num.partitions": "4",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",  # default 3 s: a wait for members that tests don't have
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),  # default 128 MB of a 512 MB heap
    }
