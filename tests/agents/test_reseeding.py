"""A changelog that was deleted and made anew gets back what it held, or its partition waits for people."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents import host as hosts
from agents.host import Host, Place
from agents.partition import FOLLOWED, Followed, MadeAnew, PartitionStore, RocksDisk
from agents.reseeding import OldStore, put_back
from schemas.records import Delivery, DeliveryState, EntityKind
from streams.stages.fencing import Fenced, claim_record
from streams.stages.firing import Options
from streams.stages.round import SOURCE
from streams.stages.slots import (
    FAMILIES,
    LAYOUT,
    SLOT_TAG,
    Head,
    Row,
    Slot,
    SlotName,
    restored,
    slot_key,
    snapshot,
)
from tests.agents.test_partitions import World, world

__all__ = ["world"]
pytestmark = pytest.mark.embedded

CHANGELOGS = ("timers-changelog", "orders-state", "leads-state", "appointments-state")
NAME = SlotName("acme", EntityKind.ORDER, "1", "ann", "new-sms", "event")
KEY = slot_key(NAME)
_ROW = Row("ab" * 16, 1, 1, "event", 1, "", "scheduled", 9_000, 9_000, 9_000)
HELD = Slot(Head(1, 1, 3, [], -1, 9_000), _ROW)
_encode = msgspec.msgpack.encode


def transition(number: int) -> Delivery:
    return Delivery(
        delivery_id="ab" * 16,
        transition=number,
        state=DeliveryState.SENDING,
        company="acme",
        kind=EntityKind.ORDER,
        entity_id="1",
        entity_version=1,
        rule_id="new-sms",
        rule_version=1,
        customer_id="ann",
        anchor="event",
        at=1,
    )


class Anew:
    """A worker with one message pending, whose changelog was deleted and made anew since: the broker has none
    of this partition, and another id for it."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.folder = folder
        self.shared = replace(world.shared, disk=RocksDisk(folder / "stores"), name="had it")
        world.ids = dict.fromkeys(CHANGELOGS, "two")
        world.committed["timers"] = 7
        store = self.shared.disk.open("timers-changelog-0", FAMILIES)
        now = world.shared.clock.now()
        followed = Followed(LAYOUT, "one", now, 5, [], True, True)
        slot = [(SLOT_TAG + KEY, _encode(HELD)), (SOURCE, _encode(7)), (b"\x00source topic consents", b"c")]
        store.write([*restored(store, slot), ("meta", FOLLOWED, _encode(followed))])
        store.write([("meta", b"\x01position", _encode(1_000))])
        store.close()
        self.told: list[Delivery] = [transition(2), transition(3)]

    async def put_back(self) -> None:
        def told(since: int) -> Iterable[Delivery]:
            assert since < self.world.shared.clock.now() - 3_000_000
            return self.told

        await put_back(self.shared, told, lambda record: 0, self.folder / "changelogs.json")

    def elsewhere(self) -> PartitionStore:
        """The partition on a machine that never had it."""
        shared = self.world.on_another_machine()
        return PartitionStore(shared, "timers-changelog", 0, FAMILIES, restored, snapshot, LAYOUT)


@pytest.fixture
def anew(world: World, tmp_path: Path) -> Anew:
    return Anew(world, tmp_path)


def held(part: PartitionStore) -> bool:
    return snapshot(part.store, [SLOT_TAG + KEY]) == [(SLOT_TAG + KEY, _encode(HELD))]


async def test_a_worker_that_has_all_of_it_puts_it_back_for_whoever_gets_the_partition(
    anew: Anew, caplog: pytest.LogCaptureFixture
) -> None:
    await anew.put_back()
    assert "were put back from the store" in caplog.text
    part = anew.elsewhere()
    await part.restore()
    assert held(part)
    assert part.store.get("meta", SOURCE) == _encode(7)
    assert part.store.get("meta", b"\x00source topic consents") is None, "it has no copy of them"
    own = PartitionStore(anew.shared, "timers-changelog", 0, FAMILIES, restored, snapshot, LAYOUT)
    await own.restore()
    assert held(own)
    assert "rebuilt" not in caplog.text, "the store that had it all goes on with it"
    own.close()


async def test_it_is_looked_for_once(anew: Anew, caplog: pytest.LogCaptureFixture) -> None:
    await anew.put_back()
    caplog.clear()
    anew.told = [transition(9)]
    await anew.put_back()
    assert not caplog.text
    anew.world.ids["timers-changelog"] = "three"
    await anew.put_back()
    assert "has 1 records of which it knows nothing" in caplog.text


@pytest.mark.parametrize("how", ["told", "worked", "incomplete", "away"])
async def test_a_store_that_is_not_the_last_one_is_kept_and_not_believed(
    anew: Anew, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    if how == "told":
        anew.told.append(transition(4))
    elif how == "worked":
        anew.world.committed["timers"] = 8
    else:
        store = anew.shared.disk.open("timers-changelog-0", FAMILIES)
        raw = store.get("meta", FOLLOWED)
        assert raw is not None
        followed = msgspec.msgpack.decode(raw, type=Followed)
        followed.whole = how != "incomplete"
        followed.caught_up -= (how == "away") * 4 * 86_400_000
        store.write([("meta", FOLLOWED, _encode(followed))])
        store.close()
    await anew.put_back()
    assert "can't have back what the store here holds" in caplog.text
    for part in (
        anew.elsewhere(),
        PartitionStore(anew.shared, "timers-changelog", 0, FAMILIES, restored, snapshot, LAYOUT),
    ):
        with pytest.raises(MadeAnew, match="carillon topics give-up timers-changelog 0"):
            await part.restore()
    assert held(part)
    part.close()


async def test_what_is_half_put_back_is_nobody_s(anew: Anew) -> None:
    """The worker dies in the middle; when it comes again it does all of it."""

    class Killed(Exception):  # noqa: N818 - says what is the matter
        pass

    store = OldStore(anew.shared, "timers-changelog", 0)
    assert await store.is_old()
    commit = store.commit

    async def dies(*given: object) -> None:
        await commit(*given)  # type: ignore[arg-type]  # as they came
        raise Killed

    store.commit = dies  # type: ignore[method-assign,assignment]  # this one dies
    with pytest.raises(Killed):
        await store.put_back()
    store.close()
    with pytest.raises(MadeAnew):
        await anew.elsewhere().restore()
    await anew.put_back()
    part = anew.elsewhere()
    await part.restore()
    assert held(part)


async def test_of_two_that_put_it_back_one_is_fenced_and_nothing_is_mixed(anew: Anew, tmp_path: Path) -> None:
    other = Anew(anew.world, tmp_path / "other")
    first, second = (
        OldStore(anew.shared, "timers-changelog", 0),
        OldStore(other.shared, "timers-changelog", 0),
    )
    assert await first.is_old()
    assert await second.is_old()
    commit = first.commit

    async def overtaken(*given: object) -> None:
        await second.put_back()
        await commit(*given)  # type: ignore[arg-type]  # as they came

    first.commit = overtaken  # type: ignore[method-assign,assignment]  # between its claim and its records
    with pytest.raises(Fenced):
        await first.put_back()
    first.commit = commit  # type: ignore[method-assign]  # as before
    assert await first.put_back() == 0, "it is there already"
    part = anew.elsewhere()
    await part.restore()
    assert held(part)
    first.close()
    second.close()


async def test_what_running_workers_wrote_into_it_is_written_over(anew: Anew) -> None:
    """They noticed at their next write that it was another topic, which has that write all the same."""
    strange = SLOT_TAG + slot_key(replace_name("2"))
    records = [(SLOT_TAG + KEY, _encode(Slot(Head(9, 9, 9, [], -1, -1)))), (strange, _encode(HELD))]
    await anew.world.shared.outputs.changelog("timers-changelog", 0, records, 5)
    with pytest.raises(MadeAnew):
        await anew.elsewhere().restore()
    await anew.put_back()
    part = anew.elsewhere()
    await part.restore()
    assert held(part)
    assert part.store.get("slots", strange[1:]) is None


def replace_name(entity_id: str) -> SlotName:
    return SlotName(NAME.company, NAME.kind, entity_id, NAME.customer_id, NAME.rule_id, NAME.event_id)


async def test_a_first_start_needs_nothing_to_be_put_back(world: World, tmp_path: Path) -> None:
    """Nothing was committed yet."""
    world.ids = dict.fromkeys(CHANGELOGS, "one")
    part = PartitionStore(
        world.on_another_machine(), "timers-changelog", 0, FAMILIES, restored, snapshot, LAYOUT
    )
    await part.restore()
    await part.commit([(SOURCE, _encode(7))], [])
    world.committed["timers"] = 7
    again = PartitionStore(
        world.on_another_machine(), "timers-changelog", 0, FAMILIES, restored, snapshot, LAYOUT
    )
    await again.restore()


async def test_a_running_worker_notices_before_anything_is_due(world: World) -> None:
    world.ids = dict.fromkeys(CHANGELOGS, "one")
    part = PartitionStore(
        world.on_another_machine(), "timers-changelog", 0, FAMILIES, restored, snapshot, LAYOUT
    )
    await part.restore()
    await part.look(0)  # an older answer of the brokers
    world.ids["timers-changelog"] = "two"
    with pytest.raises(MadeAnew, match="while this worker used it"):
        await part.look(0)


async def test_a_partition_waits_and_the_others_go_on(
    anew: Anew, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until somebody puts it back; what lies unread is waited for then as after an assignment."""
    monkeypatch.setattr(hosts, "_AGAIN", 0.05)
    world = anew.world
    host = Host(world.on_another_machine(), {}, {}, Options(), world.gate)
    said: list[str] = []
    host.opening_late = lambda: said.append("opening")
    host.opened_late = lambda: said.append("opened")
    places = [Place("timers", 0), Place("consents", 0), Place("appointments", 0)]
    await host.resume(places)
    place = Place("timers", 0)
    assert host.ready
    assert list(host.halted) == [place]
    assert host.halts(Place("consents", 0))
    assert not host.halts(Place("appointments", 0))
    assert host.timers[0]._pump is None
    assert host.entities[Place("appointments", 0)]._sweeper is not None
    assert caplog.text.count("give-up timers-changelog 0") == 1
    done: list[str] = []

    class Batch:
        partition, live = 0, True

    async def handle(batch: object) -> None:
        done.append("batch")

    given: Any = Batch()
    await host.pause()
    await host.resume(places)
    batch = asyncio.ensure_future(host.when_open("timers", handle)(given))
    assert not done
    assert not said
    await anew.put_back()
    async with asyncio.timeout(60):
        await batch
        while host.halted:  # noqa: ASYNC110 - nobody would set the event
            await asyncio.sleep(0.01)
    assert done == ["batch"]
    assert said == ["opening", "opened"]
    assert host.timers[0].source == 7
    assert host.failure() is None
    await host.close()


async def test_what_is_given_up_is_lost_and_the_partition_goes_on(anew: Anew) -> None:
    """As ``carillon topics give-up`` does."""
    await anew.world.shared.outputs.changelog("timers-changelog", 0, [claim_record(1, 0, "a person")], 1)
    part = anew.elsewhere()
    await part.restore()
    assert not held(part)
    await anew.put_back()
    other = anew.elsewhere()
    await other.restore()
    assert not held(other), "what has an owner is left alone"
