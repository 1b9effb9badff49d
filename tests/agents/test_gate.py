from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from agents.gate import CLOCK_TOLERANCE, LEASE, STALE_TABLES, Gate
from streams.kafka.batches import PartitionFlow, RecordBatch

SESSION = 20.0


@dataclass
class World:
    """What the gate asks about; all is well until a test says otherwise."""

    unread: bool = False
    membership: float = 0.0
    tables: float = 0.0
    clocks: int = 0

    def gate(self, longest_hold: float = 1_000.0) -> Gate:
        return Gate(
            unread=lambda: self.unread,
            membership_age=lambda: self.membership,
            tables_age=lambda: self.tables,
            disagreement=lambda: self.clocks,
            session_timeout=SESSION,
            longest_hold=longest_hold,
        )


def test_open_when_all_is_well_and_nothing_lies_unread() -> None:
    gate = World().gate()
    gate.assigned()
    assert not gate.closed()


def test_closed_until_what_lay_unread_has_been_read_and_not_again() -> None:
    world = World(unread=True)
    gate = world.gate()
    gate.assigned()
    assert any("unread" in reason for reason in gate.closed())
    world.unread = False
    assert not gate.closed()
    world.unread = True  # newer records are no reason
    assert not gate.closed()
    gate.assigned()
    assert gate.closed()


def test_a_stuck_input_holds_no_longer_than_agreed() -> None:
    gate = World(unread=True).gate(longest_hold=0.0)
    gate.assigned()
    assert not gate.closed()


def test_before_the_first_assignment_nothing_is_sent() -> None:
    assert World(unread=True).gate().closed()


@pytest.mark.parametrize(
    ("broken", "well", "word"),
    [
        (World(membership=SESSION * LEASE), World(membership=SESSION * LEASE - 0.1), "group"),
        (World(tables=STALE_TABLES + 0.1), World(tables=STALE_TABLES), "tables"),
        (World(clocks=CLOCK_TOLERANCE + 1), World(clocks=CLOCK_TOLERANCE), "clock"),
    ],
)
def test_each_doubt_closes_it_and_says_why(broken: World, well: World, word: str) -> None:
    reasons = broken.gate().closed()
    assert len(reasons) == 1
    assert word in reasons[0]
    assert not well.gate().closed()


def test_a_lost_lease_is_what_owned_says() -> None:
    assert World(membership=SESSION * LEASE - 0.1).gate().owned
    assert not World(membership=SESSION * LEASE).gate().owned
    assert not World(membership=float("inf")).gate().owned


async def test_a_send_waits_until_the_group_confirms_this_worker_again() -> None:
    world = World(membership=SESSION)
    waiting = asyncio.create_task(world.gate().until_owned())
    await asyncio.sleep(0)
    assert not waiting.done()
    world.membership = 0.0
    async with asyncio.timeout(10):
        await waiting


def test_a_restore_that_takes_longer_than_the_hold_is_no_reason_to_begin() -> None:
    gate = World(unread=True).gate(longest_hold=0.0)
    gate.assigned()
    assert not gate.closed()
    gate.paused()
    assert gate.closed()
    gate.assigned()
    assert not gate.closed()


async def test_what_is_decided_by_the_clock_waits_until_it_is_right() -> None:
    world = World(clocks=CLOCK_TOLERANCE + 1)
    gate = world.gate()
    done: list[int] = []

    async def handle(batch: RecordBatch) -> None:
        done.append(batch.first_offset)

    timely = gate.timely(handle)
    waits = asyncio.ensure_future(timely(RecordBatch("timers", 0, [], 7, 8)))
    done_then, _ = await asyncio.wait([waits], timeout=0.2)
    assert gate.wrong_clock
    assert not done_then
    assert not done
    world.clocks = CLOCK_TOLERANCE
    async with asyncio.timeout(60):
        await waits
        await gate.until_clock()
    assert done == [7]


async def test_a_batch_that_waits_for_the_clock_is_left_when_its_partition_goes() -> None:
    gate = World(clocks=CLOCK_TOLERANCE + 1).gate()
    flow = PartitionFlow("timers", 0, 0, committed_offset=None, end_at_start=0, on_settled=lambda _: None)
    batch = RecordBatch("timers", 0, [], 0, 1, flow)

    async def handle(_: RecordBatch) -> None:
        raise AssertionError

    waits = asyncio.ensure_future(gate.timely(handle)(batch))
    flow.retire()
    async with asyncio.timeout(60):
        await waits
