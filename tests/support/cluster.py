"""A small installation for tests: real workers as processes, local providers as processes, on a broker that
somebody else started (embedded or Apache Kafka).

Everything is waited for by looking until it is so, with a deadline; a worker that ends unasked fails the wait
at once with the end of its output. ``check`` judges what P1 and P2 promise, from the delivery log on one side
and the providers' ledgers on the other.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email import message_from_string
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from agents.connections import RECORDS
from console.demo.processes import Child, DemoError, Processes, read_ready
from deploy.fakes.sms import ACCOUNT, TOKEN
from schemas.codec import Codec, encode_json
from schemas.contracts import TOPICS
from schemas.records import (
    FINAL_STATES,
    Change,
    Channel,
    Company,
    Customer,
    DeadLetter,
    Delivery,
    DeliveryState,
    EntityKind,
    Suppression,
)
from schemas.registry import EmbeddedRegistry, HttpRegistry, RegistryConfig
from streams.domain.catalog import Reference
from streams.domain.ids import (
    address_hash,
    customer_key,
    entity_key,
    message_id,
    reference_key,
    suppression_key,
)
from streams.domain.reasons import Reason
from streams.kafka.embedded import EmbeddedBroker
from streams.kafka.offsets import SILENT
from streams.kafka.tail import Deliveries, Tail, TailError
from streams.kafka.topics import create, partition_counts, topic_plan
from streams.settings import PREFIX, Settings, environment_name
from tests.support.lives import Lives

TOPIC_OF = {
    EntityKind.ORDER: "orders",
    EntityKind.LEAD: "leads",
    EntityKind.APPOINTMENT: "appointments",
}
_TABLE_OF = {record: topic for topic, record in RECORDS.items()}
HASH_KEY = b"carillon"
"""Default of the setting ``hash_key``."""
DEADLINE = 60.0
"""Seconds for what takes one or two on a quiet machine."""
PARTITIONS = "4"
_LOOK = 0.05
_LAG = re.compile(r"^carillon_lag_records\{.*\} [1-9].*", re.MULTILINE)

Ledger = list[dict[str, Any]]


@dataclass(slots=True)
class Worker:
    """One ``carillon worker``. Its number names its data folder: the next one of that number inherits it."""

    number: int
    child: Child
    data: Path

    @property
    def name(self) -> str:
        return self.child.name

    def get(self, path: str) -> tuple[int, str]:
        """(HTTP status, body) of a page of the worker; OSError while it does not listen."""
        where = json.loads((self.data / "web.json").read_text())
        if where["pid"] != self.child.pid:
            raise OSError("the file is still that of its predecessor")
        url = f"http://{where['host']}:{where['port']}{path}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.get("/status")[1])
        return found

    def ready(self) -> bool:
        try:
            return bool(self.status()["ready"])
        except (OSError, ValueError):
            return False


class Cluster:
    """``settings`` are those of every worker, without prefix (``{"session_timeout": "2000"}``).

    ``clock``: file of a clock that the test drives; the workers and the SMS provider follow it.
    """

    def __init__(
        self,
        bootstrap: str,
        folder: Path,
        settings: Mapping[str, str] | None = None,
        *,
        clock: Path | None = None,
    ) -> None:
        self.bootstrap = bootstrap
        self.folder = folder
        self.settings = dict(settings or {})
        self.prefix = self.settings.get("topic_prefix", "")
        self._clock = clock
        self._processes = Processes(folder / "logs")
        self._workers: dict[int, Worker] = {}
        self._starts: Counter[int] = Counter()
        self._supervised = False
        self.sms_url = ""
        self.mail_port = 0
        self.patience = DEADLINE
        """Seconds in which the brokers acknowledge a record: more, where they are away for a while."""
        self.own: dict[int, dict[str, str]] = {}
        """Environment variables of single workers, by number."""
        url = self.settings.get("registry")
        registry = HttpRegistry(RegistryConfig(url)) if url else EmbeddedRegistry()
        asyncio.run(registry.register_all({self.prefix + topic: name for topic, name in TOPICS.items()}))
        self.codec = Codec(registry)
        # murmur2 of the key, as Java's clients do; its own retries, because brokers are restarted under it.
        self._producer: Any = Producer(
            {
                "bootstrap.servers": bootstrap,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "message.max.bytes": 2
                * 1024
                * 1024,  # a publisher may be allowed more than we are by default
            },
            logger=SILENT,
        )
        self.log: list[Delivery] = []
        """What ``read`` has found, without repeats, in the order of each partition."""
        self._tail: Deliveries | None = None

    # --- processes

    def start_fakes(self) -> None:
        """The SMS provider and the mail relay, each with a ledger on disk."""
        found: dict[str, dict[str, Any]] = {}
        for name in ("sms", "mail"):
            ready = self.folder / f"{name}.ready"
            command = ["-m", f"deploy.fakes.{name}", "--ready-file", str(ready)]
            command += ["--ledger", str(self.folder / name)]
            if self._clock is not None:
                command += ["--clock", str(self._clock)]
            found[name] = {"child": self._processes.start(name, command, {}), "ready": ready}
        for entry in found.values():
            entry.update(read_ready(entry["ready"], entry["child"], deadline=DEADLINE))
        self.sms_url = f"http://127.0.0.1:{found['sms']['port']}"
        self.mail_port = int(found["mail"]["port"])

    def environment(self, data: Path) -> dict[str, str | None]:
        """Of a worker: nothing of this process's own settings gets through."""
        given: dict[str, str | None] = {name: None for name in os.environ if name.startswith(PREFIX)}
        settings = {
            "broker": self.bootstrap,
            "partitions": PARTITIONS,
            "data": str(data),
            "web_port": "0",
            "sms_account": ACCOUNT,
            "sms_token": "env:TEST_SMS_TOKEN",
            "sms_api": self.sms_url,
            "smtp_host": "127.0.0.1",
            "smtp_port": str(self.mail_port or 25),
            "smtp_tls": "none",
        }
        if self._clock is not None:
            settings["clock"] = f"file:{self._clock}"
        given["TEST_SMS_TOKEN"] = TOKEN
        for name, value in (settings | self.settings).items():
            given[environment_name(name)] = value
        return given

    def launch(self, number: int = 1) -> Worker:
        """Starts a worker on the data folder of its number and returns at once."""
        self._starts[number] += 1
        data = self.folder / f"worker-{number}"
        name = f"worker-{number}.{self._starts[number]}"
        environment = self.environment(data) | self.own.get(number, {})
        child = self._processes.start(name, ["-m", "console", "worker"], environment)
        worker = self._workers[number] = Worker(number, child, data)
        return worker

    def start(self, *numbers: int) -> list[Worker]:
        """Starts workers (default: number 1) and waits until each is at work."""
        workers = [self.launch(number) for number in numbers or (1,)]
        for worker in workers:
            self.until(worker.ready, f"{worker.name} to be ready")
        return workers

    def kill(self, worker: Worker) -> None:
        """kill -9."""
        self._workers.pop(worker.number, None)
        self._processes.kill(worker.name)

    def terminate(self, worker: Worker) -> int:
        """SIGTERM; waits and returns the exit code."""
        self._workers.pop(worker.number, None)
        worker.child.popen.terminate()
        return worker.child.popen.wait(DEADLINE)

    def let_go(self, worker: Worker) -> None:
        """From now on it may end when and how it likes; it is ended at the latest with the rest."""
        self._workers.pop(worker.number, None)

    def supervise(self) -> None:
        """The broker is about to be restarted: from now on a worker that gives up (exit code not 0) is
        started again, as an orchestrator would."""
        self._supervised = True

    def lose_disk(self, number: int = 1) -> None:
        shutil.rmtree(self.folder / f"worker-{number}")

    def stop(self) -> None:
        self._workers.clear()
        self._processes.stop_all(patience=15.0)
        self._producer = None
        if self._tail is not None:
            self._tail.close()

    def output(self, worker: Worker) -> str:
        return worker.child.log.read_text(errors="replace")

    def logs(self, number: int) -> list[str]:
        """What each worker of this number has said so far, the oldest first."""
        names = [f"worker-{number}.{start}.log" for start in range(1, self._starts[number] + 1)]
        return [(self.folder / "logs" / name).read_text(errors="replace") for name in names]

    # --- records in

    def send(self, topic: str, records: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Raw records; returns when they are acknowledged."""
        failed: list[Any] = []

        def delivered(error: Any, _: Any) -> None:
            if error is not None:
                failed.append(error)

        for key, value in records:
            self._producer.produce(self.prefix + topic, value, key, on_delivery=delivered)
            self._producer.poll(0)
        left = self._producer.flush(self.patience)
        assert not failed, failed[0]
        assert not left, f"{left} records were not acknowledged"

    def publish(self, references: Iterable[Reference]) -> None:
        for reference in references:
            self.send(_TABLE_OF[type(reference)], [(_key_of(reference), self.codec.encode(reference))])

    def customers(self, customers: Iterable[Customer]) -> None:
        self.send(
            "customer-consents",
            [(customer_key(one.company, one.customer_id), self.codec.encode(one)) for one in customers],
        )

    def changes(self, kind: EntityKind, changes: Iterable[Change], *, as_json: bool = False) -> None:
        self.send(
            TOPIC_OF[kind],
            [
                (
                    entity_key(one.company, one.entity_id),
                    encode_json(one) if as_json else self.codec.encode_change(kind, one),
                )
                for one in changes
            ],
        )

    # --- records out

    def read(self) -> list[Delivery]:
        """Brings ``log`` up to date."""
        if self._tail is None:
            tail = Tail(self.bootstrap, {}, self.prefix + "delivery-log")
            self._tail = Deliveries(tail, lambda raw: self.codec.decode(Delivery, raw))
        try:
            self.log += self._tail.read_to_end(deadline=DEADLINE)
        except (KafkaException, TailError):
            if not self._supervised:
                raise
            self._reconnect()  # the broker was restarted; a client of before may be refused for ever
        return self.log

    def _reconnect(self) -> None:
        if self._tail is not None:
            self._tail.close()
        self._tail, self.log = None, []

    def finals(self) -> list[Delivery]:
        return [record for record in self.read() if record.state in FINAL_STATES]

    def of(self, entity_id: str) -> list[Delivery]:
        """The delivery log of one entity, as far as read."""
        return [record for record in self.log if record.entity_id == entity_id]

    def dead_letters(self) -> list[DeadLetter]:
        tail = Tail(self.bootstrap, {}, self.prefix + "dead-letters")
        try:
            return [self.codec.decode(DeadLetter, record.value) for record in tail.read_to_end()]
        finally:
            tail.close()

    def texts(self) -> Ledger:
        """SMS that the provider accepted: ``to``, ``body``, ``sid``."""
        return _lines(self.folder / "sms" / "sms.jsonl")

    def mails(self) -> Ledger:
        """E-mails that the relay accepted: ``to``, ``data``; ``id`` is the Message-ID."""
        found = _lines(self.folder / "mail" / "mail.jsonl")
        for entry in found:
            headers = message_from_string(entry["data"])
            entry["id"] = re.sub(r"\s", "", str(headers["Message-ID"]))
        return found

    def script_sms(self, **wish: Any) -> int:
        """``behaviours=[{"fault": "delay", "times": 0, "seconds": 0.1}]``, ``clear=True``, ... Returns how
        many requests are being held."""
        request = urllib.request.Request(
            f"{self.sms_url}/_control",
            data=json.dumps(wish).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200
            return int(json.load(answer)["held"])

    # --- waiting and judging

    def until(self, true: Callable[[], object], what: str, *, deadline: float = DEADLINE) -> None:
        """Looks again and again. AssertionError at the deadline, or when a worker has ended."""
        end = time.monotonic() + deadline
        while not true():
            for worker in list(self._workers.values()):
                if self._supervised and worker.child.popen.poll():
                    self.launch(worker.number)
                    continue
                try:
                    worker.child.check()
                except DemoError as error:
                    raise AssertionError(f"while waiting for {what}: {error}") from None
            assert time.monotonic() < end, f"{what}: not within {deadline:.0f} s\n{self._summary()}"
            time.sleep(_LOOK)

    def finished(self, count: int, *, deadline: float = DEADLINE) -> None:
        """Waits for ``count`` deliveries in a final state."""

        def enough() -> bool:
            return len({record.delivery_id for record in self.finals()}) >= count

        self.until(enough, f"{count} final states", deadline=deadline)

    def caught_up(self, *workers: Worker) -> None:
        """Waits until these workers (default: all) have all partitions between them, and nothing left to
        read, to sweep or to write down."""
        count = int(self.settings.get("partitions", PARTITIONS))
        timers = self.prefix + "timers"

        def idle() -> bool:
            owned: list[str] = []
            for worker in workers or list(self._workers.values()):
                try:
                    status, metrics = worker.status(), worker.get("/metrics")[1]
                except (OSError, ValueError):
                    return False
                due = status["next_due"]
                late = due is not None and due <= status["now"]
                if late or status["in_flight"] or status["queued"] or status["sweeping"]:
                    return False
                if not status["ready"] or _LAG.search(metrics):
                    return False
                owned += status["positions"].get(timers, ())
            return sorted(owned) == [str(number) for number in range(count)]

        self.until(idle, "the workers to have caught up")

    def check(self, *, open_: int = 0) -> None:
        """P1 and P2 at rest: each delivery has one final state and came there by known steps, nothing was
        accepted twice, log and ledgers agree. ``open_``: how many are still pending, as the test wants it."""
        log = self.read()
        by_id: dict[str, list[Delivery]] = {}
        for record in log:
            by_id.setdefault(record.delivery_id, []).append(record)
        finals = {
            name: [record for record in records if record.state in FINAL_STATES]
            for name, records in by_id.items()
        }
        twice = {name: found for name, found in finals.items() if len(found) > 1}
        assert not twice, f"more than one final state: {_told(by_id, twice)}"
        missing = {name for name, found in finals.items() if not found}
        assert len(missing) == open_, f"without a final state: {_told(by_id, missing)}"
        strange = Lives(log).strange
        assert not strange, f"steps that are not in docs/delivery-states.md: {strange[:5]}"
        sent = [record for found in finals.values() for record in found if record.state == DeliveryState.SENT]
        closed = [
            record
            for found in finals.values()
            for record in found
            if record.state == DeliveryState.UNKNOWN_CLOSED
        ]
        self._check_texts(
            [record for record in sent if record.channel == Channel.SMS],
            Counter(record.address_hash for name in by_id for record in _closed_sends(by_id[name], closed)),
        )
        self._check_mails(sent, closed, log)

    def _check_texts(self, sent: Sequence[Delivery], open_hashes: Counter[str]) -> None:
        texts = self.texts()
        copies = Counter((entry["to"], entry["body"]) for entry in texts)
        assert not [pair for pair, count in copies.items() if count > 1], "the same SMS twice: " + str(
            [pair for pair, count in copies.items() if count > 1][:5]
        )
        by_sid = {entry["sid"]: entry for entry in texts}
        for record in sent:
            entry = by_sid.pop(record.provider_id, None)
            assert entry is not None, f"sent, but not at the provider: {record}"
            # What was found by asking the provider says nothing of the address.
            hashed = address_hash(HASH_KEY, record.company, entry["to"])
            assert record.address_hash in {hashed, "" if record.reason == Reason.FOUND else hashed}, record
        for entry in by_sid.values():
            hashes = {
                address_hash(HASH_KEY, company, entry["to"]) for company in {r.company for r in self.log}
            }
            match = next((one for one in hashes if open_hashes[one] > 0), None)
            assert match is not None, f"accepted by the provider, and the log does not know it: {entry}"
            open_hashes[match] -= 1

    def _check_mails(
        self, sent: Sequence[Delivery], closed: Sequence[Delivery], log: Sequence[Delivery]
    ) -> None:
        # An e-mail of which nobody knows is sent once more, by policy, under the same Message-ID.
        again = {record.delivery_id for record in log if record.reason == "resent"}
        domain = self.settings.get("email_domain", "carillon.invalid")
        mails = Counter(entry["id"] for entry in self.mails())
        known = {message_id(record.delivery_id, domain): record for record in (*sent, *closed)}
        for name, count in mails.items():
            assert name in known, f"accepted by the relay, and the log does not know it: {name}"
            allowed = 2 if known[name].delivery_id in again else 1
            assert count <= allowed, f"the same e-mail {count} times: {name}"
        for record in sent:
            if record.channel == Channel.EMAIL:
                name = message_id(record.delivery_id, domain)
                assert mails[name], f"sent, but not at the relay: {record}"

    def _summary(self) -> str:
        lines = [f"log: {dict(Counter(f'{r.state}.{r.reason}' for r in self.log))}"]
        if self.sms_url:
            lines.append(f"SMS accepted: {len(self.texts())}, e-mails: {len(self.mails())}")
        for worker in self._workers.values():
            try:
                lines.append(f"{worker.name}: {worker.status()}")
            except (OSError, ValueError) as error:
                lines.append(f"{worker.name}: no status ({error})")
            lags = _LAG.findall(worker.get("/metrics")[1]) if worker.ready() else []
            lines.append(f"    lag: {lags}")
            lines += [f"    {line}" for line in self.output(worker).splitlines()[-15:]]
        return "\n".join(lines)


@contextmanager
def embedded_cluster(
    folder: Path, settings: Mapping[str, str] | None = None, *, clock: Path | None = None
) -> Iterator[Cluster]:
    """A broker of its own, whose input topics have other partition counts than the internal ones."""
    given = {"session_timeout": "2000", "leader_delay": "100", **(settings or {})}
    plan = topic_plan(Settings(partitions=int(given.get("partitions", PARTITIONS))))
    counts = partition_counts(plan) | {"orders": 3, "orders-state": 3, "customer-consents": 2}
    with EmbeddedBroker(counts) as broker:
        cluster = Cluster(broker.bootstrap, folder, given, clock=clock)
        try:
            cluster.start_fakes()
            yield cluster
        finally:
            cluster.stop()


@contextmanager
def kafka_cluster(
    bootstrap: str,
    folder: Path,
    prefix: str,
    settings: Mapping[str, str] | None = None,
    *,
    clock: Path | None = None,
    topics: bool = True,
) -> Iterator[Cluster]:
    """Topics (made here if ``topics``) and a consumer group of its own on a broker that others may use."""
    # The broker refuses session time-outs below group.min.session.timeout.ms, 6 s.
    given = {"session_timeout": "6000", "topic_prefix": prefix, "group": f"{prefix}carillon"}
    given |= settings or {}
    plan = topic_plan(
        Settings(
            partitions=int(given.get("partitions", PARTITIONS)),
            replication=int(given.get("replication", "1")),
            topic_prefix=prefix,
        )
    )
    if topics:
        asyncio.run(create(bootstrap, {}, plan))
    cluster = Cluster(bootstrap, folder, given, clock=clock)
    try:
        cluster.start_fakes()
        yield cluster
    finally:
        cluster.stop()
        if topics:
            _delete(bootstrap, [topic.name for topic in plan])


def _delete(bootstrap: str, topics: list[str]) -> None:
    """So that the broker does not look after them for the rest of the tests."""
    admin: Any = AdminClient({"bootstrap.servers": bootstrap}, logger=SILENT)
    for deleted in admin.delete_topics(topics, request_timeout=10).values():
        with suppress(KafkaException):  # a broker that is away takes them with it
            deleted.result(10)


def _key_of(reference: Reference) -> bytes:
    if isinstance(reference, Company):
        return reference.id.encode()
    if isinstance(reference, Suppression):
        return suppression_key(reference.company, reference.channel, reference.address)
    return reference_key(reference.company, reference.id)


def _lines(file: Path) -> Ledger:
    """A line without its end is still being written."""
    if not file.exists():
        return []
    data = file.read_bytes()
    return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]


def _closed_sends(records: Sequence[Delivery], closed: Sequence[Delivery]) -> list[Delivery]:
    """The last ``sending`` of a delivery that was closed as unknown: it says to which address."""
    names = {record.delivery_id for record in closed}
    sends = [r for r in records if r.delivery_id in names and r.state == DeliveryState.SENDING]
    return sends[-1:]


def _told(by_id: Mapping[str, Sequence[Delivery]], names: Iterable[str]) -> str:
    stories = []
    for name in list(names)[:3]:
        steps = " ".join(f"{r.transition}:{r.state}.{r.reason}" for r in by_id[name])
        stories.append(f"{name} ({by_id[name][0].rule_id}, {by_id[name][0].entity_id}): {steps}")
    return f"{len(list(names))}: " + "; ".join(stories)
