"""What the demo runs: the embedded broker, two local providers, the workers; and the hands of the simulated
shop that publish into it. Everything is a process of its own on loopback ports chosen by the system; the
workers are those of ``carillon worker`` and know nothing of a demo.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from console.demo.acts import Act, SmsDown, SmsUp
from console.demo.cast import Shop
from console.demo.driver import Positions, Status, StatusClient
from console.demo.ledgers import Ledgers
from console.demo.outside import OUTSIDE, Outside
from console.demo.processes import DemoError, Processes, read_ready, wait_until_ready
from console.demo.scenario import Published, Scenario
from console.service.people import EVERY, hash_password, new_token, token_hash
from deploy.fakes.sms import ACCOUNT, TOKEN
from schemas.codec import Codec
from schemas.records import Change, Delivery, Role, Token, User
from schemas.registry import EmbeddedRegistry
from streams.clock import FileClock
from streams.kafka.embedded import EmbeddedBroker
from streams.kafka.offsets import Offsets
from streams.kafka.producer import BatchProducer
from streams.kafka.tail import Deliveries, Tail
from streams.kafka.topics import ENTITY_TOPICS, REFERENCE_TOPICS, partition_counts, topic_plan
from streams.settings import PREFIX, Settings

PARTITIONS = 4
CONSUMED = (
    *ENTITY_TOPICS,
    "customer-consents",
    "consents",
    "timers",
    "provider-events",
    *REFERENCE_TOPICS,
)
_SESSION_TIMEOUT = 6000
"""Milliseconds until the group notices that a worker was killed: short, so that the story goes on soon, and
longer than a busy machine keeps a worker from its heartbeat."""
_SOON, _LATE = 0.02, 1.0
_ANSWERED_SOON = 12
"""How the SMS provider answers while the worker is killed, in seconds: the first dozen soon, the others late.
So the kill lands among messages that the provider has been given and the worker has no answer to, also on
a quick machine, where the burst would be over before."""


@dataclass(frozen=True, slots=True)
class Entrance:
    """To the demo's console."""

    page: str
    api: str
    token: str
    user: str
    password: str


class World:
    """``out`` keeps what is to be looked at afterwards. ``aside`` is told what is being started."""

    def __init__(
        self, out: Path, shop: Shop, scenario: Scenario, *, workers: int, aside: Callable[[str], None]
    ) -> None:
        self.count = workers
        self._out = out
        self._setup = scenario.setup(shop)
        self._aside = aside
        self._scratch = Path(tempfile.mkdtemp(prefix="carillon-demo-"))
        self._clock_file = self._scratch / "clock"
        self.clock = FileClock(self._clock_file, start=scenario.start)
        self.clock_setting = f"file:{self._clock_file}"
        self.bootstrap = ""
        self.ledgers = Ledgers((out / "sms", out / "http_sms"), (out / "mail", out / "gmail"))
        self._processes = Processes(out / "logs")
        self._outside = (
            Outside(shop, self._scratch, self._processes, self.clock, self.ledgers, self._ask_sms)
            if scenario.outside
            else None
        )
        self._counts = partition_counts(topic_plan(Settings(partitions=PARTITIONS)))
        self._broker = EmbeddedBroker(self._counts)
        self._runner = asyncio.Runner()
        self._codec = Codec(EmbeddedRegistry())
        self._producer: BatchProducer | None = None
        self._log: Deliveries | None = None
        self._offsets: Offsets | None = None
        self._clients: dict[str, StatusClient] = {}

    # --- start and end

    def start(self) -> None:
        """Brings everything up, in order, with the shop's own records published before the workers start.

        Raises DemoError when something does not start.
        """
        self._aside("starting a Kafka broker in memory (librdkafka's mock cluster)")
        try:
            bootstrap = self._broker.start()
        except (RuntimeError, TimeoutError) as error:
            raise DemoError(f"{error}; its port may be blocked, or the machine very busy") from None
        self._offsets = Offsets(bootstrap, {})
        self._log = Deliveries(
            Tail(bootstrap, {}, "delivery-log"), lambda value: self._codec.decode(Delivery, value)
        )
        self._producer = BatchProducer(bootstrap, {}, partitions=self._counts.__getitem__, linger_ms=0)
        self._runner.run(self._producer.start())
        self._aside("starting an SMS provider and a mail server that keep what they get")
        for name in ("sms", "mail", *(OUTSIDE if self._outside else ())):
            self._provider(name)
        sms, mail = (self._ready(name) for name in ("sms", "mail"))
        self.bootstrap = bootstrap
        self._environment = {
            "CARILLON_BROKER": bootstrap,
            "CARILLON_CLOCK": self.clock_setting,
            "CARILLON_PARTITIONS": str(PARTITIONS),
            "CARILLON_SESSION_TIMEOUT": str(_SESSION_TIMEOUT),
            "CARILLON_SMS_ACCOUNT": ACCOUNT,
            "CARILLON_SMS_TOKEN": "env:DEMO_SMS_TOKEN",
            "DEMO_SMS_TOKEN": TOKEN,
            "CARILLON_SMS_API": f"http://{sms['host']}:{sms['port']}",
            "CARILLON_SMTP_HOST": str(mail["host"]),
            "CARILLON_SMTP_PORT": str(mail["port"]),
            "CARILLON_SMTP_TLS": "none",
            "CARILLON_EMAIL_DOMAIN": "carillon.example",
            "CARILLON_WEB_PORT": "0",
        }
        self._sms_url = self._environment["CARILLON_SMS_API"]
        if self._outside is not None:
            self._environment |= self._outside.settings(*(self._ready(name) for name in OUTSIDE))
        self.publish(self._setup)
        names = [f"worker-{number}" for number in range(1, self.count + 1)]
        self._aside(f"starting {self.count} worker{'s' if self.count > 1 else ''}: carillon worker")
        for name in names:
            self._worker(name)
        for name in names:
            self._connect(name)
        if self._outside is not None:
            self._aside("starting the gateway: carillon gateway")
            self._outside.start_gateway(self._clean())

    def start_console(self) -> Entrance:
        """With a user who may do everything, whom it has read. Raises DemoError."""
        assert self._producer is not None
        token, password = new_token(), secrets.token_hex(6)
        user = User(
            id="demo",
            roles={EVERY: Role.ADMIN},
            password=hash_password(password),
            tokens=(Token(id="demo", hash=token_hash(token), created_at=0),),
            version=1,
        )
        self._runner.run(self._producer.send("users", [(user.id.encode(), self._codec.encode(user))]))
        self._aside("starting the console: carillon console")
        data = self._scratch / "console"
        own = {"CARILLON_DATA": str(data), "CARILLON_CONSOLE_PORT": "0"}
        child = self._processes.start("console", ["-m", "console", "console"], {**self._clean(), **own})
        where = read_ready(data / "console.json", child, deadline=60)
        wait_until_ready(f"http://127.0.0.1:{where['web_port']}/ready", child, deadline=60)
        page = f"http://{where['host']}:{where['port']}/"
        return Entrance(page, f"{page}api/v1", token, user.id, password)

    def close(self) -> None:
        """Ends every process and removes what nobody looks at afterwards. Idempotent."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        self._processes.stop_all()
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._producer is not None:
            self._runner.run(self._producer.stop())
            self._producer = None
        self._broker.stop()
        self._runner.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    # --- the shop's hands

    def publish(self, records: Iterable[Published]) -> int:
        """Returns when the broker has acknowledged all of them; how many they were."""
        assert self._producer is not None
        by_topic: defaultdict[str, list[tuple[bytes, bytes | None]]] = defaultdict(list)
        for item in records:
            by_topic[item.topic].append((item.key, self._encoded(item)))
        for topic, pairs in by_topic.items():
            self._runner.run(self._producer.send(topic, pairs))
        return sum(map(len, by_topic.values()))

    def _encoded(self, item: Published) -> bytes:
        if item.kind is not None:
            assert isinstance(item.record, Change)
            return self._codec.encode_change(item.kind, item.record)
        return self._codec.encode(item.record)

    # --- what can be seen

    def read_log(self) -> list[Delivery]:
        assert self._log is not None
        return self._log.read_to_end()

    def ends(self) -> Positions:
        assert self._offsets is not None
        return self._offsets.ends(CONSUMED)

    def statuses(self) -> list[Status]:
        read = (client.read() for client in self._clients.values())
        return [status for status in read if status is not None]

    def check(self) -> None:
        self._processes.check()

    # --- what others do

    def act(self, act: Act) -> None:
        """Raises DemoError where it does not work out."""
        assert self._outside is not None
        match act:
            case SmsDown():
                self._processes.kill("sms")
            case SmsUp():
                self._provider("sms", port=int(self._sms_url.rpartition(":")[2]))
                self._ready("sms")
                self._outside.lead_sms_to_gateway()
            case _:
                self._outside.act(act)

    # --- a worker is killed

    def kill_while_sending(self, move: Callable[[], None], burst: int) -> None:
        """Calls ``move``, which makes ``burst`` SMS due, and kills the first worker (SIGKILL) when all of
        them are at the provider and most of them unanswered."""
        self._script_sms(
            {"fault": "delay", "seconds": _SOON, "times": _ANSWERED_SOON},
            {"fault": "delay", "seconds": _LATE, "times": burst - _ANSWERED_SOON},
        )
        move()
        before = self.ledgers.read()
        until = time.monotonic() + 30
        # A behaviour is gone once it has been used up: none is left when the last request has come.
        while self._ask_sms({})["behaviours"] and time.monotonic() < until:
            self.check()
            time.sleep(0.005)
        name = "worker-1"
        pid = self._processes.kill(name)
        self._clients.pop(name).close()
        answered = self.ledgers.read() - before
        self._aside(f"kill -9 {pid} ({name}): of {burst} messages at the provider {answered} were answered")
        self._script_sms()

    def restart(self) -> None:
        """Starts the killed worker again, with what is left of its disk."""
        self._aside("starting worker-1 again")
        (self._data("worker-1") / "web.json").unlink(missing_ok=True)
        self._worker("worker-1")
        self._connect("worker-1")

    def _script_sms(self, *behaviours: Mapping[str, object]) -> None:
        """How the provider behaves from now on; nothing: as usual."""
        self._ask_sms({"clear": True, "behaviours": behaviours})

    def _ask_sms(self, wish: Mapping[str, object]) -> Mapping[str, Any]:
        """The provider's answer: ``behaviours``, how many it has left, and more (``deploy.fakes.sms``)."""
        request = urllib.request.Request(  # noqa: S310 - our own provider on loopback
            f"{self._sms_url}/_control", json.dumps(wish).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - likewise
            said: Mapping[str, Any] = json.load(answer)
            return said

    # --- processes

    def _provider(self, name: str, port: int = 0) -> None:
        ready, folder = self._scratch / f"{name}.json", self._out / name
        ready.unlink(missing_ok=True)
        arguments = ["-m", f"deploy.fakes.{name}", "--port", str(port), "--ready-file", str(ready)]
        arguments += ["--ledger", str(folder), "--clock", str(self._clock_file)]
        self._processes.start(name, arguments, {})

    def _ready(self, name: str) -> Mapping[str, object]:
        return read_ready(self._scratch / f"{name}.json", self._processes.get(name))

    def _data(self, name: str) -> Path:
        return self._scratch / name

    def _worker(self, name: str) -> None:
        environment = {**self._clean(), "CARILLON_DATA": str(self._data(name))}
        self._processes.start(name, ["-m", "console", "worker"], environment)

    def _clean(self) -> dict[str, str | None]:
        """What the user has set for their own workers is not for these."""
        return {**{key: None for key in os.environ if key.startswith(PREFIX)}, **self._environment}

    def _connect(self, name: str) -> None:
        web = read_ready(self._data(name) / "web.json", self._processes.get(name), deadline=60)
        self._clients[name] = StatusClient(str(web["host"]), int(web["port"]))
