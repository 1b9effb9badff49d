"""One node: a broker and controller in a Java process of its own, on loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local_kafka.jars import LocalKafkaError, jars, java
from deploy.local_kafka.listeners import CONTROLLER, PLAIN

_READY = "Kafka Server started"  # kafka.server.KafkaRaftServer, INFO
_TAIL = 25  # lines of the log that an error shows

_LOG4J = """<Configuration status="warn">
  <Appenders>
    <Console name="out"><PatternLayout pattern="[%d] %p %m (%c)%n"/></Console>
  </Appenders>
  <Loggers>
    <Root level="info"><AppenderRef ref="out"/></Root>
  </Loggers>
</Configuration>
"""


@dataclass(frozen=True, slots=True)
class Address:
    """The loopback ports of a node, by listener."""

    number: int
    ports: Mapping[str, int]

    @property
    def bootstrap(self) -> str:
        """Of the listener without TLS."""
        return self.of(PLAIN)

    def of(self, listener: str) -> str:
        return f"127.0.0.1:{self.ports[listener]}"


def free_ports(count: int) -> list[int]:
    """Loopback ports that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def free_addresses(count: int, listeners: Sequence[str] = ()) -> list[Address]:
    """Addresses for ``count`` nodes, with ``listeners`` beside the plain one."""
    names = (PLAIN, CONTROLLER, *listeners)
    ports = iter(free_ports(count * len(names)))
    return [Address(number, {name: next(ports) for name in names}) for number in range(1, count + 1)]


class Node:
    """Its files are in ``folder``: ``server.properties``, ``data/``, ``kafka.log``. Restarting keeps them.

    ``properties`` are all of the broker's, see ``cluster.node_properties``. ``format_arguments`` go to
    ``kafka-storage format``, which the first start runs.
    """

    def __init__(
        self,
        folder: Path,
        address: Address,
        cluster_id: str,
        *,
        properties: Mapping[str, str],
        heap_mb: int,
        format_arguments: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.address = address
        self.log_file = folder / "kafka.log"
        self._cluster_id = cluster_id
        self._properties = dict(properties)
        self._heap_mb = heap_mb
        self._format_arguments = tuple(format_arguments)
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0  # byte of the log at which this start began

    @property
    def pid(self) -> int:
        """Of the running Java process; LocalKafkaError when it is not running."""
        if self._process is None or self._process.poll() is not None:
            raise LocalKafkaError(f"node {self.address.number} is not running")
        return self._process.pid

    def launch(self) -> None:
        """Starts the process and returns at once; formats the storage on the first start."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "server.properties"
        config.touch(mode=0o600)  # passwords of local users may be in it
        config.write_text("".join(f"{name}={value}\n" for name, value in self._properties.items()))
        (self.folder / "log4j2.xml").write_text(_LOG4J)
        if not (self.folder / "data" / "meta.properties").exists():
            self._format(config)
        self._started_at = self.log_file.stat().st_size if self.log_file.exists() else 0
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own Java and arguments
                self._command("kafka.Kafka", str(config)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,  # a Ctrl-C at the terminal is for the program that uses the broker
            )

    def wait_ready(self, deadline: float) -> None:
        """Blocks until the log says started and the port answers. ``deadline``: ``time.monotonic()``.

        Raises LocalKafkaError with the end of the log when the process ends or the time is up.
        """
        while not (self._says_started() and self._answers()):
            if self._process is None or self._process.poll() is not None:
                raise LocalKafkaError(f"node {self.address.number} did not start:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise LocalKafkaError(f"node {self.address.number} is not ready in time:\n{self.log_tail()}")
            time.sleep(0.1)

    def stop(self, timeout: float = 30.0) -> None:
        """Ends the process in good order (SIGTERM), or by force after ``timeout`` seconds. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """kill -9."""
        os.kill(self.pid, signal.SIGKILL)
        assert self._process is not None
        self._process.wait()
        self._process = None

    def log_tail(self) -> str:
        """The last lines of the log of this start."""
        return "\n".join(self._log().splitlines()[-_TAIL:])

    def _log(self) -> str:
        if not self.log_file.exists():
            return ""
        with self.log_file.open("rb") as file:
            file.seek(self._started_at)
            return file.read().decode(errors="replace")

    def _says_started(self) -> bool:
        return _READY in self._log()

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.address.ports[PLAIN]), timeout=1).close()
        except OSError:
            return False
        return True

    def _format(self, config: Path) -> None:
        arguments = ["format", "--cluster-id", self._cluster_id, "--config", str(config)]
        arguments += self._format_arguments
        done = subprocess.run(  # noqa: S603 - our own Java and arguments
            self._command("kafka.tools.StorageTool", *arguments), capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise LocalKafkaError(f"the storage can't be formatted:\n{done.stdout}{done.stderr}")

    def _command(self, main: str, *arguments: str) -> list[str]:
        return [
            java(),
            f"-Xmx{self._heap_mb}m",
            "-XX:+UseSerialGC",  # a small heap on a small machine: fewer threads, less memory
            "-XX:TieredStopAtLevel=1",  # starts sooner; a broker for tests is not there for its throughput
            f"-Dlog4j2.configurationFile={self.folder / 'log4j2.xml'}",
            "-cp",
            f"{jars()}/*",
            main,
            *arguments,
        ]
