"""The scenes of hand-over, on our own stores and on a store that does wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.benchmarks.handover import Slots, fill, table
from tests.benchmarks.peers.handover import Play, Scene, Timer, summary

SCENE = Scene("tiny", 300, 100, after=200)


def test_our_stores_hand_everything_over_once(tmp_path: Path) -> None:
    fill(tmp_path, 200)
    store = Slots(tmp_path)
    try:
        played = Play("slots", store, 200).scene(SCENE)
    finally:
        store.close()
    assert {line: found[0] for line, found in played.late.items()} == {
        "crowd": 300,
        "company": 15,
        "channel": 15,
    }
    assert "| slots | 200 | tiny | 300 |" in table([played], []).markdown()


class Plain:
    """A dict; ``due`` gives each timer ``times`` times, ``early`` milliseconds too soon."""

    def __init__(self, times: int = 1, early: int = 0) -> None:
        self._timers: dict[str, int] = {}
        self._times = times
        self._early = early

    def put(self, timers: Sequence[Timer]) -> None:
        self._timers.update(timers)

    reschedule = put

    def due(self, now: int) -> Iterator[list[Timer]]:
        found = [(name, due) for name, due in self._timers.items() if due <= now + self._early]
        for name, _ in found:
            del self._timers[name]
        for _ in range(self._times):
            if found:
                yield found


def test_a_store_that_gives_a_timer_twice_counts_for_nothing() -> None:
    with pytest.raises(ValueError, match="again"):
        Play("plain", Plain(times=2), 0).scene(SCENE)


def test_a_store_that_is_early_counts_for_nothing() -> None:
    with pytest.raises(ValueError, match="before its moment"):
        Play("plain", Plain(early=50), 0).scene(SCENE)


def test_a_summary_has_count_middle_last_of_a_hundred_and_most() -> None:
    assert summary([float(n) for n in range(200)]) == [200, 100.0, 198.0, 199.0]
