"""Two owners of one changelog, on the embedded broker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from agents.host import Host, Place
from agents.lookout import Lookout
from agents.partition import FOLLOWED, LONGEST_AWAY, Followed, PartitionStore, RocksDisk
from agents.unread import Spot
from streams.kafka.offsets import Offsets
from streams.stages.fencing import Fenced
from streams.stages.firing import Options
from streams.stages.slots import FAMILIES, LAYOUT, SLOT_TAG, restored, snapshot
from streams.state.rocks import RocksStore
from tests.agents.test_partitions import World, world

__all__ = ["world"]
pytestmark = pytest.mark.embedded

META = b"\x00m"


def owner(world: World) -> PartitionStore:
    """Each has a disk of its own."""
    return PartitionStore(
        world.on_another_machine(), "timers-changelog", 0, FAMILIES, restored, snapshot, LAYOUT
    )


async def write(part: PartitionStore, value: bytes, key: bytes = META) -> None:
    await part.commit([(key, value)], [("meta", key, value)])


async def log_of(world: World) -> list[tuple[bytes, bytes | None]]:
    """What a reader that knows nothing of epochs makes of the log: the newest record of each key."""
    found: dict[bytes, bytes | None] = {}

    def keep(records: list[tuple[int, bytes, bytes | None, int | None]]) -> None:
        found.update((key, value) for _, key, value, _ in records)

    await world.shared.read_log("timers-changelog", 0, None, keep)
    return [(key, value) for key, value in found.items() if key == META or key.startswith(SLOT_TAG)]


async def test_a_former_owner_is_fenced(world: World) -> None:
    first, second = owner(world), owner(world)
    await first.restore()
    await write(first, b"1")
    await second.restore()
    assert second.store.get("meta", META) == b"1"
    await write(second, b"2")
    with pytest.raises(Fenced):
        await write(first, b"late")
    assert first.store.get("meta", META) == b"1", "what does not count must not be kept"
    with pytest.raises(Fenced):
        await first.commit([], [])


async def test_the_owner_writes_over_what_came_late(world: World, caplog: pytest.LogCaptureFixture) -> None:
    first, second = owner(world), owner(world)
    await first.restore()
    await second.restore()
    await write(second, b"2")
    with pytest.raises(Fenced):
        await write(first, b"late")
    assert await log_of(world) == [(META, b"late")]
    with caplog.at_level(logging.WARNING):
        await write(second, b"x", b"\x00other")
    assert "1 records of a former owner came late" in caplog.text
    assert await log_of(world) == [(META, b"2")]


async def test_what_the_owner_does_not_know_is_deleted(world: World) -> None:
    first, second = owner(world), owner(world)
    await first.restore()
    await second.restore()
    key = SLOT_TAG + b"acme\x00order\x001\x00c\x00r\x00"
    with pytest.raises(Fenced):
        await first.commit([(key, b"\x90")], [])
    await write(second, b"2")
    assert await log_of(world) == [(key, None), (META, b"2")]


async def test_an_idle_owner_finds_it_when_it_looks(world: World) -> None:
    first, second = owner(world), owner(world)
    await first.restore()
    await second.restore()
    await write(second, b"2")
    with pytest.raises(Fenced):
        await write(first, b"late")
    await second.look(second.position)  # nothing is known to be there
    assert await log_of(world) == [(META, b"late")]
    await second.look(second.position + 1)
    assert await log_of(world) == [(META, b"2")]


async def test_the_next_owner_writes_over_what_the_last_one_did_not_see(world: World) -> None:
    first, second, third = owner(world), owner(world), owner(world)
    await first.restore()
    await second.restore()
    await write(second, b"2")
    with pytest.raises(Fenced):
        await write(first, b"late")
    await third.restore()
    assert third.store.get("meta", META) == b"2"
    assert await log_of(world) == [(META, b"2")]
    with pytest.raises(Fenced):
        await write(second, b"3")


async def test_a_claim_on_an_old_position_is_made_again(world: World) -> None:
    first, second = owner(world), owner(world)
    await first.restore()
    await write(first, b"1")
    original = second._read

    async def read() -> None:
        await original()
        second._read = original  # type: ignore[method-assign]  # once
        await write(first, b"2")  # after the second has read to the end, and before its claim

    second._read = read  # type: ignore[method-assign]  # as above
    await second.restore()
    assert second.store.get("meta", META) == b"2"
    with pytest.raises(Fenced):
        await write(first, b"3")
    await write(second, b"4")


async def test_a_store_that_was_away_too_long_is_rebuilt(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    part = owner(world)
    await part.restore()
    await write(part, b"1")
    raw = part.store.get("meta", FOLLOWED)
    assert raw is not None
    followed = msgspec.msgpack.decode(raw, type=Followed)
    followed.caught_up -= LONGEST_AWAY + 60_000
    part.store.write([("meta", FOLLOWED, msgspec.msgpack.encode(followed)), ("meta", b"\x00gone", b"x")])
    await part.restore()
    assert "it was away for 3.5 days" in caplog.text
    assert (part.store.get("meta", META), part.store.get("meta", b"\x00gone")) == (b"1", None)


async def test_a_store_of_another_layout_is_rebuilt_before_anything_of_it_is_read(
    world: World, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    shared = replace(world.shared, disk=RocksDisk(tmp_path))
    arguments = (shared, "timers-changelog", 0, FAMILIES, restored, snapshot)
    part = PartitionStore(*arguments, layout=LAYOUT)
    await part.restore()
    await write(part, b"1")
    part.store.write([("meta", b"\x00gone", b"x")])
    part.close()
    newer = PartitionStore(*arguments, layout=LAYOUT + 1)
    assert f"it has layout {LAYOUT}, this release writes {LAYOUT + 1}" in caplog.text
    assert newer.store.get("meta", b"\x00gone") is None
    await newer.restore()
    assert newer.store.get("meta", META) == b"1"
    newer.close()
    again = PartitionStore(*arguments, layout=LAYOUT + 1)
    assert again.store.get("meta", META) == b"1"
    again.close()


async def test_a_store_of_another_topic_of_this_name_is_rebuilt(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.ids["timers-changelog"] = "one"
    part = owner(world)
    await part.restore()
    part.store.write([("meta", b"\x00gone", b"x")])
    await part.restore()
    assert part.store.get("meta", b"\x00gone") == b"x"
    world.ids["timers-changelog"] = "two"
    await part.restore()
    assert "another topic of this name" in caplog.text
    assert part.store.get("meta", b"\x00gone") is None


async def test_a_worker_looks_at_partitions_in_which_nothing_happens(world: World) -> None:
    """A former owner writes late, and is found before anything is committed."""
    shared = world.on_another_machine()
    host = Host(shared, {}, {}, Options(), world.gate)
    former = owner(world)
    await former.restore()
    await host.resume([Place("timers", 0), Place("consents", 0)])
    with pytest.raises(Fenced):
        await write(former, b"late")
    offsets = Offsets(world.broker.bootstrap, {})

    async def ends(topics: Iterable[str]) -> dict[Spot, int]:
        found = await asyncio.to_thread(offsets.ends, list(topics))
        return {Spot(topic, n): end for topic, parts in found.items() for n, end in parts.items()}

    lookout = Lookout(host, ends=ends, topic=str, disagreement=lambda: 0)
    await lookout.look()
    assert await log_of(world) == [(META, None)]
    taken = owner(world)
    await taken.restore()
    with pytest.raises(Fenced):
        await lookout.look()
    await host.close()


async def test_clocks_that_differ_are_compared_again(world: World) -> None:
    """Nothing is sent meanwhile, so nothing else would be written that brings a broker's time."""
    host = Host(world.on_another_machine(), {}, {}, Options(), world.gate)
    await host.resume([Place("timers", 0), Place("consents", 0)])
    offsets = Offsets(world.broker.bootstrap, {})

    async def ends(topics: Iterable[str]) -> dict[Spot, int]:
        return {}

    before = offsets.ends(["timers-changelog"])["timers-changelog"][0]
    await Lookout(host, ends=ends, topic=str, disagreement=lambda: 0).look()
    assert offsets.ends(["timers-changelog"])["timers-changelog"][0] == before
    await Lookout(host, ends=ends, topic=str, disagreement=lambda: 9_000).look()
    assert offsets.ends(["timers-changelog"])["timers-changelog"][0] == before + 1
    await host.close()


@pytest.mark.parametrize("lost", [True, False])
async def test_a_worker_that_loses_a_partition_while_it_opens_it_is_not_ended_by_the_next_owner(
    world: World, lost: bool
) -> None:
    """The next owner claims it between our own claim and our next write. Without word of the group that it is
    not ours any more that is what a claim is for."""
    other = owner(world)

    async def topic_id(topic: str) -> str:
        if topic == "timers" and not other.position:  # asked for between claim and first write
            await other.restore()
            if lost:
                await host.pause()
        return "id"

    host = Host(replace(world.on_another_machine(), topic_id=topic_id), {}, {}, Options(), world.gate)
    resuming = host.resume([Place("timers", 0), Place("consents", 0)])
    if lost:
        await resuming
    else:
        with pytest.raises(ExceptionGroup) as caught:
            await resuming
        assert isinstance(caught.value.exceptions[0], Fenced)
    assert not host.ready
    await write(other, b"goes on")
    await host.close()


def test_a_store_whose_layout_an_older_release_does_not_know_lies_where_it_does_not_look(
    tmp_path: Path,
) -> None:
    disk = RocksDisk(tmp_path)
    RocksStore(tmp_path / "timers-changelog-0", FAMILIES).close()  # the older release's
    for name in ("timers-changelog-0", "orders-state-1"):
        disk.open(name, FAMILIES).close()
    folders = sorted(path.name for path in tmp_path.iterdir())
    assert folders == ["orders-state-1", f"timers-changelog-0.{LAYOUT}"]
    assert disk.names() == ["orders-state-1", "timers-changelog-0"]
    (tmp_path / f"timers-changelog-1.{LAYOUT - 1}").mkdir()
    assert disk.names() == ["orders-state-1", "timers-changelog-0"]
    disk.destroy("timers-changelog-0")
    assert disk.names() == ["orders-state-1"]
