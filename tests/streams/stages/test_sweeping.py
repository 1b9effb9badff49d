from __future__ import annotations

import pytest

from streams.domain.catalog import Catalog
from streams.stages.slots import FAMILIES
from streams.stages.sweeping import ALL, Sweeper
from streams.state.memory import MemoryStore


@pytest.mark.timeout(60)  # a second at most; a look through all that wait for each of them took minutes
def test_a_start_with_a_hundred_thousand_names_to_apply_is_no_standstill() -> None:
    sweeper = Sweeper(MemoryStore(FAMILIES), Catalog())
    names = [(f"c{number}", ALL) for number in range(100_000)]
    sweeper.notice(names)
    sweeper.notice(names)
    assert len(sweeper) == 100_000
