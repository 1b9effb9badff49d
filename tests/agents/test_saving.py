"""How much of a changelog a worker that was killed reads again."""

from __future__ import annotations

import pytest

from agents import partition
from agents.partition import PartitionStore
from streams.state.memory import MemoryStore
from tests.agents.test_fencing import owner, write
from tests.agents.test_partitions import World, world

__all__ = ["world"]
pytestmark = pytest.mark.embedded

EVERY = 10


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[MemoryStore]:
    """The stores that were saved, as often as they were."""
    found: list[MemoryStore] = []

    def save(store: MemoryStore) -> None:
        found.append(store)

    monkeypatch.setattr(partition, "SAVED_EVERY", EVERY)
    monkeypatch.setattr(MemoryStore, "save", save)
    return found


async def until(part: PartitionStore, position: int) -> None:
    while part.position < position:
        await write(part, b"%d" % part.position)


async def test_a_store_is_saved_as_its_changelog_grows(world: World, saved: list[MemoryStore]) -> None:
    part = owner(world)
    await part.restore()
    await until(part, EVERY - 1)
    assert not saved
    await until(part, EVERY)
    assert len(saved) == 1
    await until(part, 2 * EVERY - 1)
    assert len(saved) == 1
    await until(part, 3 * EVERY)
    assert len(saved) == 3


async def test_what_was_restored_is_saved_once(world: World, saved: list[MemoryStore]) -> None:
    first = owner(world)
    await first.restore()
    await until(first, 5 * EVERY)
    saved.clear()
    second = owner(world)
    await second.restore()
    assert saved == [second.store]


async def test_a_little_that_was_restored_is_not_saved(world: World, saved: list[MemoryStore]) -> None:
    first = owner(world)
    await first.restore()
    await until(first, EVERY - 1)
    await owner(world).restore()
    assert not saved
