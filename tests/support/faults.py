"""Orders that keep coming while something breaks, and the judgement of what became of each message.

What must happen is written down here when an order is published: of each a text and an e-mail at once, of
some a text when they are ready, and a reminder seconds later (or one that is cancelled). It is held against
the delivery log and the providers' ledgers, which also say when a message was accepted, in milliseconds.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email import message_from_string
from itertools import count
from pathlib import Path
from random import Random
from smtplib import SMTP
from typing import Any, Protocol

import msgspec
from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions, admin

from schemas.records import (
    Change,
    Channel,
    Company,
    Delivery,
    DeliveryState,
    EntityKind,
    Template,
    TemplateText,
    Trigger,
)
from streams.clock import FileClock
from streams.domain.catalog import Reference
from streams.kafka.offsets import SILENT, Offsets
from streams.kafka.tail import Tail
from streams.kafka.topics import INPUT_TOPICS
from tests.support.cluster import DEADLINE, Cluster, Worker, kafka_cluster
from tests.support.shop import HOUR, MINUTE, C, ann, change, facts, notification, reminder, shop

SETTINGS = {"sms_timeout": "5000", "smtp_timeout": "5000", "session_timeout": "3000"}
"""The broker must allow so short a session (``tests.support.local_kafka.PROPERTIES``)."""
TABLE = "CARILLON_FAULT_TABLE"
"""Environment variable: a file to which each judged run adds a line of JSON (``Row``)."""
SEEDS = "CARILLON_FAULT_SEEDS"
"""Environment variable: seeds of the random runs, ``1,2,3``."""

_PATIENCE = 120.0
"""Seconds for what takes ten on a quiet machine."""
_STEPS = 90
_CANCELLED_EVERY = 5
_READY_EVERY = 3
_RULES = ("new-sms", "new-mail", "ready", "soon")
_CONSUMED = (*INPUT_TOPICS, "timers", "consents")

_admin: Any = admin  # the library does not declare what this module re-exports
Name = tuple[str, str, str]
"""Company, entity, rule."""


def seeds() -> list[int]:
    return [int(word) for word in os.environ.get(SEEDS, "1").split(",")]


class Clock(Protocol):
    @property
    def stands(self) -> bool:
        """It moves by jumps only."""

    def now(self) -> int: ...

    def jump(self, millis: int) -> None:
        """Later by so much. A clock that nobody can move only goes on."""


class WallClock:
    """The machine's own."""

    stands = False

    def now(self) -> int:
        return time.time_ns() // 1_000_000

    def jump(self, millis: int) -> None:
        time.sleep(1)


class DrivenClock:
    """A file that workers and providers read the time from. It stands still, or runs with the real time, and
    jumps; it never goes faster than real time on its own, because time-outs are measured in real time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = FileClock(path, start=time.time_ns() // 1_000_000)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._over = threading.Event()

    @property
    def stands(self) -> bool:
        return self._thread is None

    def now(self) -> int:
        return self._file.now()

    def jump(self, millis: int) -> None:
        with self._lock:
            self._file.set(self._file.now() + millis)

    def run(self) -> None:
        self._thread = threading.Thread(target=self._tick, name="clock", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _tick(self) -> None:
        seen = time.monotonic_ns() // 1_000_000
        while not self._over.wait(0.01):
            now = time.monotonic_ns() // 1_000_000
            self.jump(now - seen)
            seen = now


@dataclass(frozen=True, slots=True)
class Due:
    """What must become of one message: it goes at ``at`` or later, or is cancelled."""

    channel: Channel
    at: int
    cancelled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a run came to. ``duplicated``: accepted more often than P2 allows; ``resent``: e-mails accepted
    twice under one Message-ID, as it does; ``closed``: texts of which nobody could say whether they went."""

    fault: str
    runs: int = 1
    messages: int
    lost: int
    duplicated: int
    resent: int
    closed: int
    early: int
    worst_lateness_ms: int


class Load:
    """Not before ``set_up``; ``finish`` is the end of it."""

    def __init__(
        self, cluster: Cluster, clock: Clock, *, companies: Sequence[str] = (C,), seed: int = 1
    ) -> None:
        self.cluster = cluster
        self.clock = clock
        self.companies = companies
        self.due: dict[Name, Due] = {}
        self._random = Random(seed)
        self._numbers = count()
        self._thread: threading.Thread | None = None
        self._enough = threading.Event()
        self._failure: BaseException | None = None

    def set_up(self, customers: int = 40) -> None:
        """Companies that differ in nothing but their name, and their customers."""
        cluster = self.cluster
        records: list[Reference] = [
            *shop(),
            *(
                Template(
                    id=rule,
                    company=C,
                    texts={"en": TemplateText(sms=text, subject=text, body=text)},
                    version=1,
                )
                for rule in _RULES
                for text in [f"{rule} {{{{ entity.number }}}}"]
            ),
            notification(Trigger.CREATED, id_="new-sms", template_id="new-sms"),
            notification(Trigger.CREATED, id_="new-mail", template_id="new-mail", channel=Channel.EMAIL),
            notification(Trigger.STATUS_CHANGED_TO, id_="ready", template_id="ready", status_id="ready"),
            reminder(1, entity=EntityKind.ORDER, id_="soon", template_id="soon"),
        ]
        for number, company in enumerate(self.companies):
            cluster.publish(
                msgspec.structs.replace(record, **{_owner(record): company}) for record in records
            )
            cluster.customers(
                ann(
                    company=company,
                    customer_id=f"c{n}",
                    phone=f"+48{500 + number}{n:06}",
                    email=f"c{n}@{company}.example",
                )
                for n in range(customers)
            )
        self._customers = customers

    # --- orders

    def publish(self, orders: int, *, company: str = "", soon: tuple[int, int] = (1_000, 5_000)) -> None:
        """So many more orders (of this company; default: in turns), acknowledged when it returns.
        ``soon``: between how many milliseconds from now their reminders come due."""
        found: list[tuple[int, str, Change]] = []
        for _ in range(orders):
            n = next(self._numbers)
            found += self._order(n, company or self.companies[n % len(self.companies)], soon)
        found.sort(key=lambda one: one[0])
        self.cluster.changes(EntityKind.ORDER, [one[2] for one in found], as_json=True)

    def _order(self, n: int, company: str, soon: tuple[int, int]) -> list[tuple[int, str, Change]]:
        now, entity = self.clock.now(), f"o{n}"
        customer = self.customer_of(entity)
        cancelled = n % _CANCELLED_EVERY == 0
        ready = not cancelled and n % _READY_EVERY == 0
        wait = 10 * MINUTE if cancelled else self._random.randint(*soon)
        states = [facts("new", now + HOUR + wait, customer)]
        if cancelled or ready:
            states.append(facts("gone" if cancelled else "ready", now + HOUR + wait, customer))
        self.due[company, entity, "new-sms"] = Due(Channel.SMS, now, False)
        self.due[company, entity, "new-mail"] = Due(Channel.EMAIL, now, False)
        self.due[company, entity, "soon"] = Due(Channel.SMS, now + wait, cancelled)
        if ready:
            self.due[company, entity, "ready"] = Due(Channel.SMS, now, False)
        return [
            (
                version,
                company,
                msgspec.structs.replace(
                    change(
                        version,
                        after,
                        now,
                        before=states[version - 2] if version > 1 else None,
                        entity_id=entity,
                    ),
                    company=company,
                ),
            )
            for version, after in enumerate(states, 1)
        ]

    def start(self, per_second: int = 8) -> None:
        """Publishes from now on until ``stop`` (or ``finish``)."""

        def work() -> None:
            try:
                while not self._enough.wait(0.25):
                    self.publish(max(1, per_second // 4))
            except BaseException as error:  # noqa: BLE001 - told by ``stop``
                self._failure = error

        self._enough.clear()
        self._thread = threading.Thread(target=work, name="load", daemon=True)
        self._thread.start()

    def give_up(self) -> None:
        """The end of a failed test: nothing more is published."""
        self._enough.set()

    def stop(self) -> None:
        self._enough.set()
        if self._thread is not None:
            self._thread.join()
        if self._failure is not None:
            raise self._failure

    # --- what came of them

    def accepted(self, company: str = "", rule: str = "") -> int:
        """Texts that the provider has (of this company; by this rule)."""
        return sum(
            (not company or name[0] == company) and (not rule or name[2] == rule) for name, _ in self._texts()
        )

    def accepted_texts(self) -> set[Name]:
        return {name for name, _ in self._texts()}

    def known(self, state: DeliveryState) -> int:
        """Messages of which the log says that they were in this state."""
        return len({record.delivery_id for record in self.cluster.read() if record.state == state})

    def ended(self, state: DeliveryState) -> set[Name]:
        """Messages whose final state is this one."""
        return {_name(record) for record in self.cluster.finals() if record.state == state}

    def customer_of(self, entity: str) -> str:
        return f"c{int(entity.removeprefix('o')) % self._customers}"

    def goes_on(self, count: int = 5) -> None:
        """Waits until so many more texts were accepted."""
        before = self.accepted()
        tell(f"{count} more texts than {before} are waited for")
        self.cluster.until(
            lambda: self.accepted() >= before + count, f"{count} more texts", deadline=_PATIENCE
        )

    def finish(self, fault: str, *workers: Worker, members: int) -> Row:
        """Waits, and moves the clock, until every message has come to its end; judges; waits until the group
        of ``members`` workers is stable and has nothing left to read."""
        tell("no more orders")
        self.stop()
        self.settle(*workers)
        tell("everything is final")
        row = self._judge(fault)
        tell(str(row))
        self.cluster.until(
            lambda: not unsettled(self.cluster, members),
            f"the group to be stable with {members} members (last: {unsettled(self.cluster, members)})",
            deadline=_PATIENCE,
        )
        tell("the group is stable")
        return row

    def settle(self, *workers: Worker) -> None:
        """Moves the clock on until each message so far has its final state."""
        cluster = self.cluster
        cluster.until(self.all_known, "every message to be in the log", deadline=_PATIENCE)
        if not self.clock.stands:
            last = max(due.at for due in self.due.values() if not due.cancelled)
            cluster.until(lambda: self.clock.now() > last, "the last reminder's moment")
        for _ in range(_STEPS):
            cluster.caught_up(*workers)
            if self._all_final():
                return
            tell("all quiet: a minute later")
            self.clock.jump(MINUTE)

    def all_known(self) -> bool:
        """The log speaks of every message."""
        return self.due.keys() <= self.heard_of()

    def heard_of(self) -> set[Name]:
        """What the log speaks of."""
        return {_name(record) for record in self.cluster.read()}

    def _all_final(self) -> bool:
        return self.due.keys() <= {_name(record) for record in self.cluster.finals()}

    def _texts(self) -> Iterator[tuple[Name, int]]:
        for entry in self.cluster.texts():
            rule, number = entry["body"].split()
            company = self.companies[int(entry["to"][3:6]) - 500]
            yield (company, number.removeprefix("N"), rule), entry["at"]

    def _mails(self) -> Iterator[tuple[Name, int]]:
        for entry in self.cluster.mails():
            rule, number = str(message_from_string(entry["data"])["Subject"]).split()
            company = entry["to"][0].partition("@")[2].removesuffix(".example")
            yield (company, number.removeprefix("N"), rule), entry["at"]

    def _judge(self, fault: str) -> Row:
        cluster = self.cluster
        cluster.read()
        finals = {_name(record): record for record in cluster.finals()}
        accepted: defaultdict[Name, list[int]] = defaultdict(list)
        for name, at in (*self._texts(), *self._mails()):
            accepted[name].append(at)
        unexpected = accepted.keys() - {name for name, due in self.due.items() if not due.cancelled}
        early = {
            name: due.at - min(accepted[name])
            for name, due in self.due.items()
            if accepted.get(name) and min(accepted[name]) < due.at
        }
        most = {
            name: 2 if due.channel is Channel.EMAIL and self._was_resent(name) else 1
            for name, due in self.due.items()
        }
        twice = {name for name, times in accepted.items() if len(times) > most.get(name, 0)}
        states = Counter(
            (name[2], str(finals[name].state) if name in finals else "none") for name in self.due
        )
        lost = {
            name
            for name, due in self.due.items()
            if name not in finals
            or (finals[name].state == DeliveryState.SENT and not accepted[name])
            or (finals[name].state not in self._ends(due))
        }
        row = Row(
            fault=fault,
            messages=len(self.due),
            lost=len(lost),
            duplicated=len(twice),
            resent=sum(len(times) == 2 for times in accepted.values()) - len(twice),
            closed=sum(count for (_, state), count in states.items() if state == "unknown_closed"),
            early=len(early),
            worst_lateness_ms=max(
                (min(times) - self.due[name].at for name, times in accepted.items() if times),
                default=0,
            ),
        )
        note(row)
        assert not unexpected, f"sent, although nobody asked for it or it was cancelled: {unexpected}"
        assert not early, f"sent too early: {early}"
        assert not twice, f"accepted twice: {[(name, accepted[name]) for name in twice]}"
        assert not lost, f"lost: {[(name, finals.get(name)) for name in list(lost)[:5]]}; {states}"
        cluster.check()
        contradictions = self._contradictions()
        assert not contradictions, f"two workers said different things: {contradictions[:5]}"
        return row

    def _ends(self, due: Due) -> set[DeliveryState]:
        if due.cancelled:
            return {DeliveryState.CANCELLED}
        return {DeliveryState.SENT, DeliveryState.UNKNOWN_CLOSED}

    def _was_resent(self, name: Name) -> bool:
        return any(_name(record) == name and record.reason == "resent" for record in self.cluster.log)

    def _contradictions(self) -> list[str]:
        """Transitions of which the log has two different records: readers drop one as a repeat."""
        cluster = self.cluster
        said: dict[tuple[str, int], str] = {}
        found = []
        tail = Tail(cluster.bootstrap, {}, cluster.prefix + "delivery-log")
        try:
            for raw in tail.read_to_end(deadline=DEADLINE):
                record = cluster.codec.decode(Delivery, raw.value)
                mark, what = (record.delivery_id, record.transition), f"{record.state}.{record.reason}"
                if said.setdefault(mark, what) != what:
                    found.append(f"{record.rule_id} {record.entity_id} {mark[1]}: {said[mark]} and {what}")
        finally:
            tail.close()
        return found


def _name(record: Delivery) -> Name:
    return record.company, record.entity_id, record.rule_id


def _owner(record: Reference) -> str:
    return "id" if isinstance(record, Company) else "company"


def tell(text: str) -> None:
    """For whoever has to find out why a run failed; pytest shows it then."""
    sys.stdout.write(f"{datetime.now(UTC):%H:%M:%S.%f} {text}\n")


def note(row: Row) -> None:
    """Adds the row to the table, if somebody wants one."""
    path = os.environ.get(TABLE)
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(row)) + "\n")


def unsettled(cluster: Cluster, members: int) -> str:
    """What keeps the consumer group from being stable with so many members and nothing left to read, as the
    broker tells it; empty: nothing."""
    client = _admin.AdminClient({"bootstrap.servers": cluster.bootstrap}, logger=SILENT)
    group = cluster.settings["group"]
    found = client.describe_consumer_groups([group], request_timeout=30)[group].result(30)
    if found.state != ConsumerGroupState.STABLE or len(found.members) != members:
        return f"{found.state} with {len(found.members)} members"
    asked = client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(30)
    committed = {(one.topic, one.partition): one.offset for one in asked.topic_partitions}
    ends = Offsets(cluster.bootstrap, {}).ends([cluster.prefix + topic for topic in _CONSUMED])
    lags = {
        f"{topic}[{partition}]": f"{committed.get((topic, partition))} of {end}"
        for topic, partitions in ends.items()
        for partition, end in partitions.items()
        if end > 0 and committed.get((topic, partition)) != end
    }
    return f"lag: {lags}" if lags else ""


class MailControl:
    """What the local mail relay is to do wrong. One connection, made before anything goes wrong."""

    def __init__(self, cluster: Cluster) -> None:
        self._smtp = SMTP("127.0.0.1", cluster.mail_port, timeout=30)

    def script(self, **wish: Any) -> int:
        """``behaviours=[{"at": "rcpt", "fault": "hold", "times": 8}]``, ``clear=True``, ``release=True``.
        Returns how many sessions are being held."""
        code, answer = self._smtp.docmd("XCONTROL", json.dumps(wish))
        assert code == 250, answer
        return int(json.loads(answer)["held"])

    def close(self) -> None:
        self._smtp.close()


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process that is stopped (SIGSTOP) within the block, and goes on after it, whatever happens."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def connections(pid: int, port: int) -> int:
    """Open connections of a process to a port of this machine (Linux, proc(5))."""
    inodes = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            inodes.add(os.readlink(file))
    lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    return sum(
        row[2].endswith(f":{port:04X}") and row[3] == "01" and f"socket:[{row[9]}]" in inodes for row in rows
    )


NewLoad = Callable[..., Load]
"""(broker, settings of the workers, companies=, seed=, running=) -> a load that is set up."""

_prefixes = count(1)


@contextmanager
def loads(folder: Path) -> Iterator[NewLoad]:
    """Makes loads, each on topics and with providers of its own, and ends their processes."""
    with ExitStack() as stack:

        def new(
            bootstrap: str,
            settings: Mapping[str, str] | None = None,
            *,
            companies: Sequence[str] = (C,),
            seed: int = 1,
            running: bool = True,
            real_time: bool = False,
        ) -> Load:
            number = next(_prefixes)
            own = folder / f"load-{number}"
            own.mkdir()
            clock: Clock = WallClock()
            file = None
            if not real_time:
                file = own / "clock"
                clock = stack.enter_context(closing(DrivenClock(file)))
                if running:
                    clock.run()
            prefix = f"faults{number}."
            cluster = kafka_cluster(bootstrap, own, prefix, SETTINGS | dict(settings or {}), clock=file)
            load = Load(stack.enter_context(cluster), clock, companies=companies, seed=seed)
            load.set_up()
            stack.callback(load.give_up)
            return load

        yield new
