"""The systems that do the order join, each started, held back and let go in the way that is its own."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from deploy.fakes.sms import ACCOUNT, TOKEN
from deploy.local_kafka.jars import java
from schemas import wire
from schemas.codec import Codec
from schemas.contracts import CONTRACTS
from schemas.records import Delivery, DeliveryState, Timer, TimerOp
from schemas.registry import EmbeddedRegistry
from streams.kafka.offsets import Offsets
from streams.kafka.topics import TopicPlan, create, topic_plan
from streams.settings import PREFIX, Settings, environment_name
from tests.benchmarks.builds import JVM_FLAGS, STREAMS_VERSION, built_streams, quix_python
from tests.benchmarks.load import Load
from tests.benchmarks.measure import BenchError, cpu

ROOT = Path(__file__).parents[2]
PEERS = Path(__file__).parent / "peers"
SCHEMAS = ROOT / "schemas" / "avro"
DEADLINE = 180.0
"""Seconds without any progress after which a system is given up."""

_SEND_SCHEMA = {
    "type": "record",
    "name": "Send",
    "namespace": "bench",
    "fields": [
        {"name": name, "type": "string"}
        for name in ("company", "customer_id", "entity_id", "rule_id", "event_id", "phone")
    ],
}
_SEND_ID = 4242
_SEND = wire.WriterSchema(json.dumps(_SEND_SCHEMA))
_TIMER = wire.WriterSchema((SCHEMAS / "timer.avsc").read_text())


@dataclass(frozen=True, slots=True)
class Place:
    """Where one run of one system happens. ``partitions`` are those of all topics."""

    bootstrap: str
    prefix: str
    folder: Path
    partitions: int
    form: str
    threads: int
    """Of Kafka Streams."""
    in_flight: int = 1_000
    """The workers' ``sms_in_flight``."""
    workers: int = 1
    """Of Carillon."""


class System(ABC):
    """One run: ``set_up``, (consents and warm-up are published), ``start``, ``settled`` until true, ``hold``,
    (the measured orders are published), ``go``, ``finished`` until true, ``outputs``, ``end``."""

    name: str
    forms: tuple[str, ...] = ("json", "avro")
    sends = True
    """False: only the first half, up to the timers topic."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @abstractmethod
    def version(self) -> str:
        """What it is, for the table. May build it first."""

    def plan(self, place: Place) -> Sequence[TopicPlan]:
        """The topics that it needs."""
        names = ("orders", "customer-consents", "timers", "sends")
        return [
            TopicPlan(place.prefix + name, place.partitions, "delete", 1, {"cleanup.policy": "delete"})
            for name in names
        ]

    async def set_up(self, place: Place, load: Load) -> None:
        self.place = place
        self.load = load
        self._ends = Offsets(place.bootstrap, {})
        place.folder.mkdir(parents=True)
        (place.folder / "rules.csv").write_text("\n".join(load.rule_lines()) + "\n")
        await create(place.bootstrap, {}, self.plan(place))

    @abstractmethod
    def start(self) -> None: ...

    def knows_customers(self) -> bool:
        """Whether orders may come: a join that meets a customer too early drops the hit."""
        return True

    @abstractmethod
    def hold(self) -> None:
        """Reads nothing until ``go``."""

    @abstractmethod
    def go(self) -> None: ...

    def settled(self, hits: int, sends: int) -> bool:
        """Everything published so far has been worked on: so many hits and sends, in all."""
        return self.count("timers") >= hits and (not self.sends or self.count("sends") >= sends)

    def progress(self) -> float:
        """What grows as long as it works."""
        return self.count("timers") + (self.count("sends") if self.sends else 0)

    def count(self, topic: str) -> int:
        """Records in it; 0 while there is no such topic, or it is just being made."""
        name = self.place.prefix + topic
        try:
            return sum(self._ends.ends([name]).get(name, {}).values())
        except KafkaException:
            return 0

    def outputs(self) -> tuple[list[str], list[str]]:
        """(hits, sends) with repeats, as ``Load.outputs`` names them."""

        def name(raw: bytes) -> str:
            one = self._peer_record(raw)
            return f"{one['company']}/{one['customer_id']}/{one['entity_id']}/{one['rule_id']}"

        sends = [name(raw) for raw in self.read("sends")] if self.sends else []
        return [name(raw) for raw in self.read("timers")], sends

    def became(self) -> str:
        """What it says itself of the messages, for an error; empty where it says nothing."""
        return ""

    def _peer_record(self, raw: bytes) -> Mapping[str, Any]:
        return msgspec.json.decode(raw, type=dict[str, Any])

    def ends(self, topic: str) -> dict[int, int]:
        """Where each partition of a topic ends."""
        name = self.place.prefix + topic
        return self._ends.ends([name])[name]

    def read(self, topic: str, begin: Mapping[int, int] = {}) -> list[bytes]:
        """All values of a topic, from these offsets on."""
        name = self.place.prefix + topic
        ends = self.ends(topic)
        consumer: Any = Consumer(
            {"bootstrap.servers": self.place.bootstrap, "group.id": "-", "enable.auto.commit": False}
        )
        consumer.assign([TopicPartition(name, number, begin.get(number, 0)) for number in ends])
        found: list[bytes] = []
        left = sum(end - begin.get(number, 0) for number, end in ends.items())
        while len(found) < left:
            for message in consumer.consume(10_000, 1.0):
                if message.error() is None:
                    found.append(message.value())
                elif message.error().code() != KafkaError._PARTITION_EOF:
                    raise BenchError(f"{name}: {message.error()}")
        consumer.close()
        return found

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def cpu(self) -> float:
        return cpu(self.pid)

    def check(self) -> None:
        """Raises BenchError if it has ended unasked."""
        if self._process is not None and self._process.poll() is not None:
            lines = self._log_file().read_text(errors="replace").splitlines()
            if len(lines) > 60:  # why it ended stands at the beginning of what it said, or at its end
                lines = [*lines[:30], "...", *lines[-30:]]
            said = "\n".join(lines)
            raise BenchError(f"{self.name} ended with code {self._process.returncode}:\n{said}")

    def _log_file(self) -> Path:
        return self.place.folder / "output.log"

    def run(self, command: Sequence[str], environment: Mapping[str, str | None] = {}) -> None:
        self._log = self._log_file().open("ab")
        merged = {**os.environ, **environment}
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={name: value for name, value in merged.items() if value is not None},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )

    def end(self, patience: float = 30.0) -> None:
        """SIGTERM, and SIGKILL to what does not heed it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout, self._log):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


class Carillon(System):
    """The shipped worker with everything on; ``sends`` False: without its sender agents."""

    def __init__(
        self, *, sends: bool = True, settings: Mapping[str, str] | None = None, shipped: bool = False
    ) -> None:
        """``shipped``: with the senders that the settings ask for, not one that answers at once."""
        super().__init__()
        self._shipped = shipped
        self.name = "carillon" if sends else "carillon, entity agents"
        self.sends = sends
        self._settings = dict(settings or {})
        self.patience = DEADLINE
        """Seconds to get ready in: it may have much to restore."""
        self.pending = 0
        """How many timers are left when it has settled."""
        self._seen: dict[str, Any] = {}
        """The status that was asked for last: to be asked costs a worker some milliseconds."""

    def version(self) -> str:
        found = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        return found.stdout.strip() or "this tree"

    def plan(self, place: Place) -> Sequence[TopicPlan]:
        return topic_plan(Settings(partitions=place.partitions, topic_prefix=place.prefix))

    def join(self, other: Carillon, place: Place) -> None:
        """Another worker of that one's group, instead of ``set_up``."""
        self.place = place
        self.load = other.load
        self._ends = Offsets(place.bootstrap, {})
        place.folder.mkdir(parents=True)

    def start(self) -> None:
        place = self.place
        settings = {
            "broker": place.bootstrap,
            "group": f"{place.prefix}group",
            "topic_prefix": place.prefix,
            "partitions": str(place.partitions),
            "data": str(place.folder / "data"),
            "web_port": "0",
            "session_timeout": "6000",
            "log_level": "WARNING",
            "sms_account": ACCOUNT,
            "sms_token": "env:BENCH_TOKEN",
            "sms_in_flight": str(place.in_flight),
            "environment": "production",  # everybody may be written to
            "hold": "0",  # as in steady state: what it reads while it works on a backlog goes out meanwhile
            **self._settings,
        }
        environment: dict[str, str | None] = {name: None for name in os.environ if name.startswith(PREFIX)}
        environment |= {environment_name(name): value for name, value in settings.items()}
        environment["BENCH_TOKEN"] = TOKEN
        for file in self._addresses():
            file.unlink(missing_ok=True)
        arguments = ["--workers", str(place.workers)] + ([] if self.sends else ["--entities"])
        program = ["tests.benchmarks.instant_worker", *arguments]
        if self._shipped:
            program = ["console", "worker"]
        self.run([sys.executable, "-m", *program], environment)

    def hold(self) -> None:
        self.end()

    def kill(self) -> None:
        """kill -9."""
        process, self._process = self._process, None
        assert process is not None
        process.kill()
        process.wait()

    def go(self) -> None:
        """Returns when it is at work: restored, and a member of the group."""
        self.start()
        end = time.monotonic() + self.patience
        while not self.status().get("ready"):
            self.check()
            if time.monotonic() > end:
                raise BenchError(f"{self.name} does not get ready: {self._log_file()}")
            time.sleep(0.02)

    def status(self) -> dict[str, Any]:
        """Of all workers together; empty while one of them does not answer."""
        found: dict[str, Any] = {"ready": True, "positions": {}, "next_due": None}
        for file in self._addresses():
            try:
                where = json.loads(file.read_text())
                with urllib.request.urlopen(f"http://127.0.0.1:{where['port']}/status", timeout=30) as answer:
                    one: dict[str, Any] = json.load(answer)
            except (OSError, ValueError):
                return {}
            found["ready"] &= one["ready"]
            for topic, offsets in one["positions"].items():
                found["positions"].setdefault(topic, {}).update(offsets)
            for what in ("pending", "in_flight", "queued", "sweeping"):
                found[what] = found.get(what, 0) + one[what]
            dues = [due for due in (found["next_due"], one["next_due"]) if due is not None]
            found["next_due"] = min(dues, default=None)
        return found

    def _addresses(self) -> list[Path]:
        """Where each worker says how it is reached."""
        data = self.place.folder / "data"
        workers = range(1, self.place.workers + 1)
        return (
            [data / f"worker-{n}" / "web.json" for n in workers] if len(workers) > 1 else [data / "web.json"]
        )

    def settled(self, hits: int, sends: int) -> bool:
        status = self._seen = self.status()
        if not status.get("ready"):
            return False
        topics = ["orders", "customer-consents", "timers", "consents"] if self.sends else ["orders"]
        names = [self.place.prefix + topic for topic in topics]
        ends = self._ends.ends(names)
        for name in names:
            read = status["positions"].get(name, {})
            if any(int(read.get(str(number), 0)) < end for number, end in ends[name].items()):
                return False
        busy = ("in_flight", "queued", "sweeping")
        return not self.sends or (status["pending"] <= self.pending and not any(status[n] for n in busy))

    def progress(self) -> float:
        status = self._seen
        read = sum(sum(offsets.values()) for offsets in status.get("positions", {}).values())
        return read - float(status.get("pending", 0))

    def outputs(self) -> tuple[list[str], list[str]]:
        codec = Codec(EmbeddedRegistry())
        timers = [codec.decode(Timer, raw) for raw in self.read("timers")]
        hits = [
            f"{t.company}/{t.customer_id}/{t.entity_id}/{t.rule_id}" for t in timers if t.op is TimerOp.ARM
        ]
        if not self.sends:
            return hits, []
        log = [codec.decode(Delivery, raw) for raw in self.read("delivery-log")]
        sends = [
            f"{d.company}/{d.customer_id}/{d.entity_id}/{d.rule_id}"
            for d in log
            if d.state == DeliveryState.SENT
        ]
        return hits, sends

    def became(self) -> str:
        decode = Codec(EmbeddedRegistry()).decode
        log = [decode(Delivery, raw) for raw in self.read("delivery-log")]
        return str(dict(Counter(f"{record.state} {record.reason}".strip() for record in log)))


class KafkaStreams(System):
    """Warmed up on orders of its own, then held while the measured ones are published."""

    def __init__(self, *, sends: bool = True) -> None:
        super().__init__()
        self.name = "kafka streams" if sends else "kafka streams, match"
        self.sends = sends

    def version(self) -> str:
        built_streams()
        said = subprocess.run([java(), "-version"], capture_output=True, text=True, check=True).stderr
        return f"{STREAMS_VERSION}, {said.splitlines()[1].strip()}, {' '.join(JVM_FLAGS)}"

    def start(self) -> None:
        place = self.place
        for name in ("order-change", "timer", "customer"):
            shutil.copy(SCHEMAS / f"{name}.avsc", place.folder)
        (place.folder / "send.avsc").write_text(json.dumps(_SEND_SCHEMA))
        with (place.folder / "ids.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("timer", CONTRACTS["timer"].fingerprint), ("send", _SEND_ID)])
        folder = built_streams()
        command = [java(), *JVM_FLAGS, "-cp", f"{folder}:{folder}/libs/*", "OrderJoin"]
        command += [place.bootstrap, place.prefix, place.form, "join" if self.sends else "match"]
        command += [str(place.threads), str(place.folder)]
        self.run(command)
        self._said("started")

    def hold(self) -> None:
        self._wish("pause")
        time.sleep(1.0)  # what its threads have fetched is still worked on

    def go(self) -> None:
        self._wish("resume")

    def _wish(self, what: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what}\n".encode())
        self._process.stdin.flush()
        self._said(what)

    def _said(self, what: str) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode().strip()
        if line != what:
            self._process.wait(10)
            self.check()
            raise BenchError(f"{self.name} said {line!r}, not {what!r}")

    def _peer_record(self, raw: bytes) -> Mapping[str, Any]:
        if self.place.form == "json":
            return super()._peer_record(raw)
        own = int.from_bytes(raw[1:5], "big") == _SEND_ID
        found: Mapping[str, Any] = wire.read(raw, _SEND.full if own else _TIMER.full)
        return found


class PythonPeer(System):
    """Quix Streams or stock Faust: started anew for the measured part."""

    forms = ("json",)
    program = ""

    def python(self) -> str:
        return sys.executable

    def start(self) -> None:
        place = self.place
        environment = {
            "BENCH_BROKER": place.bootstrap,
            "BENCH_PREFIX": place.prefix,
            "BENCH_FOLDER": str(place.folder),
            "BENCH_PARTITIONS": str(place.partitions),
        }
        self.run([self.python(), str(PEERS / self.program)], environment)

    def hold(self) -> None:
        self.end()

    def go(self) -> None:
        """Returns with the first output: start-up and recovery are not counted."""
        before = self.progress()
        self.start()
        end = time.monotonic() + DEADLINE
        while self.progress() <= before:
            self.check()
            if time.monotonic() > end:
                raise BenchError(f"{self.name} does nothing: {self._log_file()}")
            time.sleep(0.05)


class Quix(PythonPeer):
    name = "quix streams"
    program = "quix_join.py"

    def python(self) -> str:
        return str(quix_python())

    def version(self) -> str:
        code = "import importlib.metadata as m; print(m.version('quixstreams'))"
        said = subprocess.run([self.python(), "-c", code], capture_output=True, text=True, check=True)
        return said.stdout.strip()


class StockFaust(PythonPeer):
    name = "stock faust"
    program = "faust_join.py"

    def knows_customers(self) -> bool:
        return self._customers() >= self.load.customers

    def progress(self) -> float:
        return super().progress() + self._customers()

    def _customers(self) -> int:
        return self.count(f"join-{self.place.prefix}customers-changelog")

    def version(self) -> str:
        import importlib.metadata  # noqa: PLC0415

        return importlib.metadata.version("faust-streaming")
