from __future__ import annotations

import logging
import math

import pytest

from agents.progress import LINE_EVERY, RestoreProgress
from streams.kafka.changelog import ChangelogError


class Watch:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


NAME = "timers-changelog[3]"


def test_a_long_restore_says_how_far_it_is_every_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    watch = Watch()
    progress = RestoreProgress(watch)
    for second in range(61):  # 1,000 a second of 100,000, begun at 5,000
        watch.now = 1000.0 + second
        progress.update(NAME, 5_000 + 1_000 * second, 105_000)
    assert len(caplog.messages) == 60 / LINE_EVERY
    assert caplog.messages[0] == (f"restoring {NAME}: 10 %, 1000 records/s, 90 s left (15000 of 105000)")
    assert caplog.messages[-1].startswith(f"restoring {NAME}: 60 %, 1000 records/s, 40 s left")
    at = progress.now()[NAME]
    assert (at.start, at.position, at.end, at.percent, at.seconds_left) == (5_000, 65_000, 105_000, 60, 40)
    progress.done(NAME)
    assert progress.now() == {}
    progress.done(NAME)


def test_short_restores_are_silent_and_nothing_is_divided_by_zero(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    progress = RestoreProgress(Watch())
    progress.update(NAME, 7, 7)
    progress.update("orders-state[0]", 0, 10)
    done, begun = progress.now()[NAME], progress.now()["orders-state[0]"]
    assert (done.percent, done.rate, done.seconds_left) == (100, 0, 0)
    assert (begun.percent, begun.rate, begun.seconds_left) == (0, 0, math.inf)
    assert not caplog.messages


async def test_a_read_is_shown_while_it_lasts_however_it_ends() -> None:
    progress = RestoreProgress(Watch())
    seen: list[tuple[int, int]] = []

    async def read(topic: str, partition: int, start: int | None, on_records: object, **given: object) -> int:
        report = given["progress"]
        assert callable(report)
        report(4, 10)
        seen.extend((at.position, at.end) for at in progress.now().values())
        assert list(progress.now()) == [NAME]
        if start == 0:
            raise ChangelogError("nothing came")
        return 10

    watched = progress.watching(read)
    assert await watched("timers-changelog", 3, None, lambda _: None) == 10
    assert progress.now() == {}
    with pytest.raises(ChangelogError):
        await watched("timers-changelog", 3, 0, lambda _: None)
    assert progress.now() == {}
    assert seen == [(4, 10), (4, 10)]
