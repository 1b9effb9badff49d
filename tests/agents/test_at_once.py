"""What is due when its command is read goes with that very round; but never what may not be sent."""

from __future__ import annotations

import asyncio

import pytest

from deploy.fakes.sms import Fault
from tests.agents.test_failover import Service, service, until

__all__ = ["service"]

pytestmark = pytest.mark.embedded


async def test_an_immediate_message_goes_with_the_round_of_its_command(service: Service) -> None:
    await service.order("a")
    assert service.part.in_flight or service.part.pending == 0
    await until(lambda: service.part.pending == 0)
    told = [(record.transition, record.state) for record in await service.log()]
    assert told == [(1, "scheduled"), (2, "sending"), (3, "sent")]


async def test_nothing_goes_while_what_lay_unread_is_read(service: Service) -> None:
    service._world.unread = True
    service._world.gate.assigned()
    await service.order("a")
    assert (service.part.in_flight, service.part.pending) == (0, 1)
    service._world.unread = False
    await until(lambda: service.part.pending == 0)
    assert len(service.first.messages) == 1


async def test_nothing_begins_once_the_partition_is_about_to_leave(service: Service) -> None:
    await service.part.pause()
    await service.order("a")
    assert (service.part.in_flight, service.part.pending) == (0, 1)
    assert not service.first.messages


async def test_what_came_of_a_message_goes_with_the_round_of_the_next_command(service: Service) -> None:
    part = service.part
    service.first.script(Fault.HOLD, method="POST")
    await service.order("a")
    await until(lambda: service.first.held == 1)
    async with part._lock:
        command = asyncio.create_task(service.order("b"))
        await until(lambda: bool(part._lock._waiters))  # it is in line before the pump
        service.first.control({"release": True})
        await until(lambda: bool(part._sent))
    await command
    await until(lambda: part.pending == 0)
    told = [(record.entity_id, record.state) for record in await service.log()]
    assert told[:2] == [("a", "scheduled"), ("a", "sending")]
    assert told[2:] == [("a", "sent"), ("b", "scheduled"), ("b", "sending"), ("b", "sent")]
