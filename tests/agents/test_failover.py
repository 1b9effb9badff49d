"""A second SMS provider steps in for the first, at the socket, and never sends what the first may have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import msgspec
import pytest

from agents import sender_partition
from agents.capacity import Capacity
from agents.sender_partition import SenderPartition
from deploy.fakes.http_sms import DESCRIPTION, HttpSmsFake
from deploy.fakes.sms import Fault, SmsFake
from schemas.codec import encode_json
from schemas.records import FINAL_STATES, Channel, ClearScope, Delivery, EntityKind, Timer, TimerOp, Trigger
from senders.breaker import FAILURES
from senders.http_sms import HttpSms
from senders.http_sms_settings import read_description
from senders.sender import Sender
from senders.twilio_sms import TwilioSms
from streams.clock import SystemClock
from streams.domain.ids import customer_key
from streams.domain.reasons import Reason
from streams.kafka.batches import RecordBatch
from streams.kafka.embedded import EmbeddedBroker
from streams.kafka.topics import partition_counts, topic_plan
from streams.secret import Secret
from streams.settings import Settings
from streams.stages.fencing import LogRecord
from streams.stages.firing import Options
from tests.agents.test_partitions import Raw, World
from tests.senders.samples import twilio_settings
from tests.support.shop import C, ann, change, facts, notification

pytestmark = pytest.mark.embedded

MINUTE = 60_000


class Forward(SystemClock):
    """The system's, which a test puts forward."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0

    def now(self) -> int:
        return super().now() + self.ahead


class Service:
    """One partition, sending by two providers."""

    def __init__(self, world: World, limit: int = 1, ahead: int = 0) -> None:
        self._limit, self._ahead = limit, ahead
        self.clock = Forward()
        self.first = SmsFake(now=self.clock.now)
        self.second = HttpSmsFake(now=self.clock.now)
        self._world = world
        self._offset = 0

    async def start(self) -> None:
        await self.first.start()
        await self.second.start()
        described = read_description(DESCRIPTION.format(url=self.second.url), Secret(self.second.token))
        self.ways: list[Sender] = [
            TwilioSms(twilio_settings(self.first), self.clock),
            HttpSms(described, self.clock),
        ]
        limits, ahead = {Channel.SMS: self._limit}, {Channel.SMS: self._ahead}
        self.capacity = Capacity({Channel.SMS: self.ways}, limits, ahead=ahead)
        shared = replace(self._world.shared, clock=self.clock)
        self.part = SenderPartition(shared, 0, self.capacity, Options(inherited_after=0), self._world.gate)
        await self.open()

    async def open(self) -> None:
        await self.part.open()
        raw = Raw(0, customer_key(C, "ann"), self._world.codec.encode(ann()))
        await self.part.consents(RecordBatch("consents", 0, [raw], 0, 1))

    async def stop(self) -> None:
        await self.part.close()
        for way in self.ways:
            await way.close()
        await self.first.stop()
        await self.second.stop()

    async def order(self, *names: str, op: TimerOp = TimerOp.ARM) -> None:
        """``op`` CLEAR: it is deleted."""
        raws = []
        for name in names:
            now = self.clock.now()
            version = 1 if op is TimerOp.ARM else 2
            made = change(version, facts(), now, entity_id=name)
            timer = Timer(
                op=op,
                company=C,
                kind=EntityKind.ORDER,
                entity_id=name,
                customer_id="ann",
                entity_version=version,
                rule_id="r",
                rule_version=1,
                anchor=name,
                event_id=name,
                occurred_at=now,
                status_id="new",
                change=encode_json(made),
            )
            if op is TimerOp.CLEAR:
                gone = {"rule_id": "", "rule_version": 0, "anchor": "", "event_id": ""}
                timer = msgspec.structs.replace(
                    timer, scope=ClearScope.ALL, reason=str(Reason.ENTITY_DELETED), **gone
                )
            raws.append(Raw(self._offset, customer_key(C, "ann"), self._world.codec.encode(timer)))
            self._offset += 1
        await self.part.timers(RecordBatch("timers", 0, raws, raws[0].offset, self._offset))

    def forward(self, millis: int) -> None:
        self.clock.ahead += millis
        self.part._wake.set()

    async def log(self) -> list[Delivery]:
        found: list[Delivery] = []

        def apply(records: list[LogRecord]) -> None:
            found.extend(self._world.codec.decode(Delivery, value) for _, _, value, _ in records if value)

        await self._world.shared.read_log("delivery-log", 0, None, apply)
        return found


@pytest.fixture
async def service(request: pytest.FixtureRequest) -> AsyncIterator[Service]:
    plan = topic_plan(Settings(partitions=1))
    async with EmbeddedBroker(partition_counts(plan)) as broker:
        world = World(broker)
        world.catalog.apply(notification(Trigger.CREATED))
        await world.registry.register_all()
        await world.producer.start()
        service = Service(world, *getattr(request, "param", ()))
        await service.start()
        yield service
        await service.stop()
        await world.producer.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - rounds have no event
            await asyncio.sleep(0.01)


async def test_what_the_first_refused_and_what_it_never_got_goes_by_the_second(service: Service) -> None:
    for _ in range(2):
        service.first.script(Fault.REFUSE, method="POST", status=401, code=20003)
    await service.order("a", "b", "c")
    await until(lambda: service.part.pending == 0)
    assert (len(service.first.messages), len(service.second.messages)) == (0, 3)
    service.forward(2 * MINUTE)
    await service.order("d")  # the probe: refused once more, and not left to wait for the next one
    await until(lambda: service.part.pending == 0)
    assert (len(service.first.messages), len(service.second.messages)) == (0, 4)
    service.forward(10 * MINUTE)
    await service.order("e")
    await until(lambda: service.part.pending == 0)
    assert (len(service.first.messages), len(service.second.messages)) == (1, 4), "it works again"
    log = await service.log()
    ways = {(record.entity_id, record.state, record.provider) for record in log}
    assert {("a", "retrying", "twilio"), ("a", "sent", "local"), ("b", "sent", "local")} <= ways
    assert {("d", "retrying", "twilio"), ("d", "sent", "local"), ("e", "sent", "twilio")} <= ways
    assert sorted(record.entity_id for record in log if record.state == "sent") == list("abcde")
    attempts = {record.entity_id: record.attempt for record in log if record.state == "sent"}
    assert (attempts["b"], attempts["c"]) == (1, 1), "waiting for a provider that is out costs no attempt"


async def test_what_the_first_may_have_is_asked_there_and_never_sent_by_the_second(service: Service) -> None:
    for _ in range(FAILURES):
        service.first.script(Fault.ACCEPT_RESET, method="POST")
    lost = [f"lost {number}" for number in range(FAILURES)]
    await service.order(*lost, "next")
    await until(lambda: len(service.second.messages) == 1)
    assert len(service.first.messages) == FAILURES
    service.forward(1 * MINUTE)
    await until(lambda: service.part.pending == 0)
    assert (len(service.first.messages), len(service.second.messages)) == (FAILURES, 1)
    ends = {(r.entity_id, r.state, r.provider) for r in await service.log() if r.state == "sent"}
    assert ends == {*((name, "sent", "twilio") for name in lost), ("next", "sent", "local")}


@pytest.mark.parametrize("service", [(1, 2)], indirect=True)
async def test_what_has_begun_is_handed_over_one_by_one_and_checked_just_before(service: Service) -> None:
    service.first.script(Fault.HOLD, method="POST", times=0)
    await service.order("a", "b", "c")
    await until(lambda: service.first.held == 1)
    assert service.capacity.in_flight() == {Channel.SMS: 3}, "the two behind it have begun"
    await service.order("b", op=TimerOp.CLEAR)
    service.first.control({"clear": True, "release": True})
    await until(lambda: service.part.pending == 0)
    ends = {(r.entity_id, r.state) for r in await service.log() if r.state in FINAL_STATES}
    assert ends == {("a", "sent"), ("b", "cancelled"), ("c", "sent")}
    assert len(service.first.messages) == 2


@pytest.mark.parametrize("service", [(1, 2)], indirect=True)
async def test_what_has_begun_is_not_handed_to_an_account_that_has_failed_meanwhile(service: Service) -> None:
    service.first.script(Fault.HOLD, method="POST")
    service.first.script(Fault.REFUSE, method="POST", status=401, code=20003, times=0)
    await service.order("a", "b", "c")
    await until(lambda: service.first.held == 1)
    assert service.capacity.in_flight() == {Channel.SMS: 3}
    service.first.control({"release": True})
    await until(lambda: service.part.pending == 0)
    assert service.first.requests == 2, "the one that was held, and the one that was refused"
    assert (len(service.first.messages), len(service.second.messages)) == (1, 2)
    log = [(r.entity_id, r.state, r.reason) for r in await service.log() if r.state == "retrying"]
    assert log == [("b", "retrying", "account"), ("c", "retrying", "provider_busy")]


@pytest.mark.parametrize("service", [(1, 4)], indirect=True)
async def test_what_has_begun_and_was_not_handed_over_is_the_next_owners(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody need ask the provider about it."""
    monkeypatch.setattr(sender_partition, "_DRAIN", 0.05)
    service.first.script(Fault.HOLD, method="POST")
    await service.order("a", "b", "c")
    await until(lambda: service.first.held == 1)
    await service.part.pause()
    ends = {r.entity_id: r.state for r in await service.log()}
    assert ends == {"a": "sending", "b": "retrying", "c": "retrying"}
    assert service.capacity.in_flight() == {Channel.SMS: 0}
    await service.open()
    await until(lambda: service.part.pending == 1)
    ends = {r.entity_id: r.state for r in await service.log()}
    assert ends == {"a": "unknown", "b": "sent", "c": "sent"}
    service.first.control({"release": True})


@pytest.mark.parametrize("service", [(3, 0)], indirect=True)
async def test_an_answer_is_written_down_though_others_are_still_awaited(service: Service) -> None:
    service.first.script(Fault.HOLD, method="POST")
    await service.order("a", "b", "c")
    await until(lambda: service.part.pending == 1)
    assert service.first.held == 1
    service.first.control({"release": True})
    await until(lambda: service.part.pending == 0)
