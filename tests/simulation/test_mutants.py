"""The simulation notices mistakes: each mutant breaks a promise within a bounded number of seeds."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.simulation.mutants import FOCUS, HOW, MUTANTS, broken
from tests.simulation.run import run_seed

MOST = 200


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mistake_is_noticed(name: str) -> None:
    focus, how = FOCUS.get(name, ()), HOW.get(name, {})
    with broken(name):
        noticed = any(run_seed(seed, focus=focus, **how).violations for seed in range(MOST))
    assert noticed, f"{name}: not noticed within {MOST} seeds"


def test_a_mistake_is_taken_back() -> None:
    for name in MUTANTS:
        with broken(name):
            pass
    assert not run_seed(0).violations


def test_a_focus_that_no_line_has_any_more_is_said() -> None:
    with pytest.raises(ValueError, match="no await in agents"):
        run_seed(0, focus=("await self.what_it_was_called(",))
