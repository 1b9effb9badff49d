"""What workers tell each other of what waits, and operators tell them, over a broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import msgspec
import pytest

from agents.outputs import Outputs
from agents.pacing import Pacing
from schemas.codec import Codec
from schemas.records import Channel
from schemas.registry import EmbeddedRegistry
from senders.pauses import Pause, Pauses, pause_key
from senders.shares import WINDOW, SharedBucket, Shares
from senders.usage import Usage
from streams.clock import SystemClock
from streams.kafka.embedded import EmbeddedBroker
from streams.kafka.producer import BatchProducer

pytestmark = pytest.mark.embedded

ACCOUNT = "sms/twilio"


@dataclass
class One:
    """A worker, of which only this is there."""

    shares: Shares
    pacing: Pacing
    pauses: Pauses
    usage: Usage
    backlog: dict[str, int]
    bucket: SharedBucket
    woken: asyncio.Event


@pytest.fixture
async def outputs() -> AsyncIterator[tuple[str, Outputs]]:
    async with EmbeddedBroker({"backlogs": 1, "pauses": 1}) as broker:
        producer = BatchProducer(broker.bootstrap, {}, partitions=lambda _: 1)
        await producer.start()
        yield broker.bootstrap, Outputs(producer, Codec(EmbeddedRegistry()), "")
        await producer.stop()


async def worker(name: str, bootstrap: str, outputs: Outputs, backlog: int) -> One:
    shares, pauses, usage, woken = Shares(name), Pauses(), Usage(name), asyncio.Event()
    told = {ACCOUNT: backlog}
    pacing = Pacing(
        bootstrap, {}, outputs, shares, usage, pauses, lambda: dict(told), woken.set, SystemClock().now
    )
    one = One(shares, pacing, pauses, usage, told, SharedBucket(shares, ACCOUNT, 50.0), woken)
    await pacing.start()
    await pacing.caught_up(60)
    return one


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - windows come with the time
            await asyncio.sleep(0.02)


async def test_two_workers_share_an_account_by_what_waits(outputs: tuple[str, Outputs]) -> None:
    clock = SystemClock()
    busy = await worker("busy", *outputs, backlog=98)
    idle = await worker("idle", *outputs, backlog=0)
    sums: list[float] = []

    def shared(part: float) -> bool:
        window = clock.now() // WINDOW
        mine = busy.shares.of(ACCOUNT, window)
        sums.append(mine + idle.shares.of(ACCOUNT, window))
        return mine == part

    await until(lambda: shared(0.99))
    idle.backlog[ACCOUNT], busy.backlog[ACCOUNT] = 98, 0  # the messages are elsewhere now
    await until(lambda: shared(0.01))
    await until(lambda: idle.bucket.take(clock.now()) == 0)
    await idle.pacing.stop()  # it is gone, and frees its share
    await until(lambda: shared(1.0))
    assert max(sums) <= 1 + 1e-9
    assert busy.pacing.failure is None
    await busy.pacing.stop()


async def test_nothing_is_told_where_no_account_has_a_rate(outputs: tuple[str, Outputs]) -> None:
    one = await worker("one", *outputs, backlog=0)
    one.backlog.clear()
    two = await worker("two", *outputs, backlog=0)
    clock = SystemClock()
    await until(lambda: two.shares.of(ACCOUNT, clock.now() // WINDOW) == 1.0)
    await one.pacing.stop()
    await two.pacing.stop()


async def test_what_is_sent_of_a_mailbox_is_known_to_others_and_to_whoever_starts_later(
    outputs: tuple[str, Outputs],
) -> None:
    """Also when no account has a rate, and when the one who sent it is gone."""
    one = await worker("one", *outputs, backlog=0)
    one.backlog.clear()
    hours: dict[str, dict[int, int]] = {}
    one.usage.counted_by(hours.copy)
    two = await worker("two", *outputs, backlog=0)
    two.backlog.clear()
    hours["acme/box"] = {490_000: 7}
    await until(lambda: two.usage.elsewhere("acme/box") == {490_000: 7})
    await one.pacing.stop()
    three = await worker("three", *outputs, backlog=0)
    assert three.usage.elsewhere("acme/box") == {490_000: 7}
    assert one.usage.elsewhere("acme/box") == {}
    await two.pacing.stop()
    await three.pacing.stop()


async def test_a_pause_reaches_every_worker_and_one_that_starts_later(outputs: tuple[str, Outputs]) -> None:
    bootstrap, out = outputs
    one = await worker("one", bootstrap, out, backlog=0)
    pause = msgspec.json.encode(Pause(since=1))
    junk = (b"fax", pause)
    await out.send("pauses", [junk, (pause_key(Channel.SMS), pause)], partition=0)
    await until(one.woken.is_set)
    assert one.pauses.paused(Channel.SMS)
    two = await worker("two", bootstrap, out, backlog=0)
    assert two.pauses.paused(Channel.SMS)
    await out.send("pauses", [(pause_key(Channel.SMS), None)], partition=0)
    await until(lambda: not (one.pauses.paused(Channel.SMS) or two.pauses.paused(Channel.SMS)))
    await one.pacing.stop()
    await two.pacing.stop()


async def test_a_report_of_another_time_is_left_out(outputs: tuple[str, Outputs]) -> None:
    bootstrap, out = outputs
    await out.send("backlogs", [(b"mad", b'["mad", 99999999999, {}]'), (b"odd", b"junk")], partition=0)
    one = await worker("one", bootstrap, out, backlog=0)
    clock = SystemClock()
    await until(lambda: one.shares.of(ACCOUNT, clock.now() // WINDOW) == 1.0)
    await one.pacing.stop()
