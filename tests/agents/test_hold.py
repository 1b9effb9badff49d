from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping

import pytest
from confluent_kafka import KafkaError, KafkaException
from faust.types import TP

from agents.hold import Hold
from agents.unread import Spot
from streams.kafka.batches import Progress

MINE, THEIRS, TIMERS = TP("orders", 0), TP("orders", 1), TP("timers", 0)


class Brokers:
    """What they answer, and what this worker has read. A test changes it while the hold asks."""

    def __init__(self) -> None:
        self.ends = {Spot(*MINE): 5, Spot(*THEIRS): 7, Spot(*TIMERS): 3}
        self.group: dict[TP, int | None] = {THEIRS: 7}
        self.acked = {MINE: 5, TIMERS: 3}
        self.away = False
        self.questions: list[str] = []

    async def ends_of(self, topics: Iterable[str]) -> dict[Spot, int]:
        self._ask(f"ends of {' '.join(topics)}")
        return {spot: end for spot, end in self.ends.items() if spot.topic in topics}

    async def committed(self, tps: Collection[TP]) -> Mapping[TP, int | None]:
        self._ask(f"commits of {' '.join(str(Spot(*tp)) for tp in tps)}")
        return {tp: self.group.get(tp) for tp in tps}

    def progress(self) -> dict[TP, Progress]:
        return {tp: Progress(0, 0, acked, acked, acked, None, 0) for tp, acked in self.acked.items()}

    def _ask(self, question: str) -> None:
        self.questions.append(question)
        if self.away:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not true():  # noqa: ASYNC110 - anything may be waited for
                await asyncio.sleep(0.001)

    async def several_questions(self) -> None:
        count = len(self.questions) + 5
        await self.until(lambda: len(self.questions) >= count)


@pytest.fixture
def brokers() -> Brokers:
    return Brokers()


def hold(brokers: Brokers, longest: float = math.inf, *, confirmed: bool = True) -> Hold:
    return Hold(
        ["orders"],
        ["timers"],
        ends=brokers.ends_of,
        committed=brokers.committed,
        progress=brokers.progress,
        confirmed=lambda: confirmed,
        longest=longest,
        look=0.001,
    )


async def test_a_group_that_is_up_to_date_is_held_for_three_questions(brokers: Brokers) -> None:
    waiting = hold(brokers)
    assert waiting.unread
    waiting.assigned({MINE, TIMERS})
    await brokers.until(lambda: not waiting.unread)
    assert brokers.questions == ["ends of orders", "commits of orders[1]", "ends of timers"]
    assert str(waiting) == ""


async def test_what_another_worker_must_still_read_is_waited_for_and_then_what_it_caused(
    brokers: Brokers,
) -> None:
    brokers.group[THEIRS] = 6
    waiting = hold(brokers)
    waiting.assigned({MINE, TIMERS})
    await brokers.several_questions()
    assert waiting.unread
    assert str(waiting) == "orders[1] at 6 of 7"
    assert "ends of timers" not in brokers.questions
    brokers.ends[Spot(*TIMERS)] = 4  # the other worker has read the cancellation, and sent a command
    brokers.group[THEIRS] = 7
    await brokers.until(lambda: str(waiting) == "timers[0] at 3 of 4")
    assert waiting.unread
    brokers.acked[TIMERS] = 4
    await brokers.until(lambda: not waiting.unread)


async def test_ones_own_partitions_need_no_commit(brokers: Brokers) -> None:
    brokers.acked[MINE] = 4
    waiting = hold(brokers)
    waiting.assigned({MINE, THEIRS, TIMERS})
    brokers.acked[THEIRS] = 7
    await brokers.until(lambda: str(waiting) == "orders[0] at 4 of 5")
    brokers.acked[MINE] = 5
    await brokers.until(lambda: not waiting.unread)
    assert not [question for question in brokers.questions if "commits" in question]


async def test_a_stuck_input_holds_no_longer_than_agreed_and_the_log_says_which(
    brokers: Brokers, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    brokers.group[THEIRS] = None
    waiting = hold(brokers, longest=0.01)
    waiting.assigned({MINE, TIMERS})
    await brokers.until(lambda: not waiting.unread)
    (line,) = caplog.messages
    assert line.startswith("sending goes on after 0.01 s although")
    assert line.endswith("orders[1] at an unknown offset of 7")
    waiting.revoked()
    assert waiting.unread


async def test_an_outage_is_no_time_in_which_anything_could_be_read(brokers: Brokers) -> None:
    brokers.away = True
    waiting = hold(brokers, longest=0.001, confirmed=False)
    waiting.assigned({MINE, TIMERS})
    await brokers.several_questions()
    assert waiting.unread
    brokers.away = False
    await brokers.until(lambda: not waiting.unread)
    assert waiting.failure is None


async def test_a_revocation_begins_it_anew(brokers: Brokers) -> None:
    waiting = hold(brokers)
    waiting.assigned({MINE, TIMERS})
    await brokers.until(lambda: not waiting.unread)
    waiting.revoked()
    assert waiting.unread
    count = len(brokers.questions)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(brokers.questions) == count
