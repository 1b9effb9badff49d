from __future__ import annotations

import asyncio
import logging

import pytest
from mode import Service
from mode.utils.logging import flight_recorder

from streams.kafka.calm import REPEAT_AFTER, FlightRecorder, Once


class App(Service):
    """Faust's app is one: it has a prefix of its own."""

    logger = logging.getLogger("test.calm")


async def slow_step() -> None:
    """What Faust does around a rebalance."""
    with flight_recorder(App().log, timeout=0.01) as on_timeout:
        on_timeout.info("+ revoking %r", "partitions")
        recorder = on_timeout._fut
        assert recorder is not None
        async with asyncio.timeout(30):
            await recorder


async def test_a_slow_rebalance_is_one_line_and_its_stack_is_for_those_who_look(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = logging.getLogger("test.calm")
    calm = FlightRecorder()
    caplog.set_level(logging.INFO, "test.calm")
    await slow_step()
    assert len(caplog.records) > 5  # what it would be
    caplog.clear()
    logger.addFilter(calm)
    try:
        await slow_step()
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "a rebalance takes longer than the session time-out" in caplog.text
        logger.error("something else: %s", "trouble")
        logger.warning("Task timed out, says somebody else")
        assert len(caplog.records) == 3
        caplog.clear()
        caplog.set_level(logging.DEBUG, "test.calm")
        await slow_step()
        assert "+ revoking 'partitions'" in caplog.text
        assert "slow_step" in caplog.text  # the stack
    finally:
        logger.removeFilter(calm)


def test_the_same_line_of_every_partition_is_told_once_and_again_after_a_while() -> None:
    now = [0.0]
    once = Once(lambda: now[0])

    def shown(text: str, *values: object) -> bool:
        return bool(once.filter(logging.LogRecord("aiokafka", logging.ERROR, "", 0, text, values, None)))

    assert [shown("OffsetCommit failed for group %s", "g") for _ in range(12)] == [True] + [False] * 11
    assert shown("OffsetCommit failed for group %s", "h")
    now[0] = REPEAT_AFTER
    assert shown("OffsetCommit failed for group %s", "g")
    assert not shown("OffsetCommit failed for group %s", "g")
    for number in range(1000):
        assert shown("line %d", number)
    assert len(once._told) <= 64
