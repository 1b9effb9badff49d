"""Carries out the faults of a story."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from schemas.records import Channel
from tests.simulation import awaits
from tests.simulation.items import ANY, Fault
from tests.simulation.provider import Provider
from tests.simulation.worker import SESSION, SimWorker

if TYPE_CHECKING:
    from tests.simulation.world import World

_CALM_LOOKS = 120
"""Seconds that somebody waits for a topic to be read before deleting it."""


@dataclass(slots=True, eq=False)
class Trap:
    """``spring`` when a task of a worker reaches the await (any, if none is named), after ``skip`` times."""

    site: str
    skip: int
    spring: Callable[[SimWorker, list[str]], None]
    armed: Callable[[], bool] = lambda: True


class Harm:
    def __init__(self, world: World) -> None:
        self._world = world
        self._for_any: list[Trap] = []
        self._traps: dict[SimWorker, list[Trap]] = {}

    def happen(self, fault: Fault) -> None:
        world = self._world
        machine = world.machines.get(fault.to)
        worker = machine.worker if machine is not None else None
        end = world.loop.seconds + fault.seconds
        match fault.what:
            case "kill" | "freeze":
                how, _, site = fault.how.partition("@")
                if fault.to == ANY:
                    self._set(None, self._trap(fault, how, site))
                elif worker is not None and fault.what == "freeze" and not site:
                    self._freeze(worker, fault.seconds)
                elif worker is not None:
                    self._set(worker, self._trap(fault, how, site))
            case "wake":
                self._set(None, self._alarm(fault))
            case "stop" if worker is not None:
                world.group.leave(worker)
                world.loop.at(end, world.start_again, machine)
            case "provider":
                provider = world.providers[Channel(fault.to)]
                provider.mode = fault.how
                world.loop.at(end, self._provider_calm, provider, fault.how)
            case "broker":
                world.broker.trouble = {"trouble": 0.3, "away": 2.0}.get(fault.to, 0.0)
                world.broker.slow = 50.0 if fault.to == "slow" else 1.0
                world.loop.at(end, self._broker_calm)
            case "compact":
                world.broker.compact()
            case "tables" if worker is not None:
                worker.tables.slow = fault.seconds
                world.loop.at(end, self._tables_fast, worker)
            case "silent" if worker is not None and worker.lapsed is None:
                worker.lapsed = world.loop.seconds
                world.loop.at(end, self._heard, worker)
            case "clock" if worker is not None and not worker.clock.stepped:
                worker.clock.stepped = 3_600_000
                world.out.stepped.append((worker, world.loop.seconds, end))
                world.loop.at(end, self._clock_right, worker)
            case "rewind":
                world.broker.committed.clear()
            case "recreate":
                self._recreate(fault.to, _CALM_LOOKS)

    def began(self, worker: SimWorker) -> None:
        """Traps for whoever comes wait for this one too."""
        self._watch(worker)

    def heal(self) -> None:
        world = self._world
        self._broker_calm()
        if not world.setting.later:
            self._for_any.clear()
        self._traps.clear()
        for provider in world.providers.values():
            provider.mode = "ok"
        for machine in world.machines.values():
            worker = machine.worker
            if worker is not None:
                self._watch(worker)
                worker.tables.slow = 0.0
                worker.clock.stepped = 0
                self._thaw(worker)

    # --- at awaits

    def _trap(self, fault: Fault, how: str, site: str) -> Trap:
        if fault.what == "freeze":

            def freeze(worker: SimWorker, at: list[str]) -> None:
                self._world.out.froze.update(at)
                self._freeze(worker, fault.seconds)

            return Trap(site, fault.skip, freeze)

        def kill(worker: SimWorker, at: list[str]) -> None:
            self._world.out.hit.update(at)
            self._world.kill(worker, how, fault.seconds)

        return Trap(site, fault.skip, kill)

    def _alarm(self, fault: Fault) -> Trap:
        """Whoever sleeps wakes when another worker gets there."""
        world = self._world

        def sleepers() -> list[SimWorker]:
            return [worker for worker in world.workers if worker.frozen and worker.alive and worker.expired]

        def wake(worker: SimWorker, at: list[str]) -> None:
            for one in sleepers():
                self._thaw(one)

        return Trap(fault.how.removeprefix("@"), fault.skip, wake, lambda: bool(sleepers()))

    def _set(self, worker: SimWorker | None, trap: Trap) -> None:
        if worker is not None:
            self._traps.setdefault(worker, []).append(trap)
            self._watch(worker)
            return
        self._for_any.append(trap)
        for machine in self._world.machines.values():
            if machine.worker is not None:
                self._watch(machine.worker)

    def _watch(self, worker: SimWorker) -> None:
        traps = self._traps.get(worker, [])
        if not traps and not self._for_any:
            worker.watch = None
            return

        def watch(task: asyncio.Task[Any]) -> None:
            at = awaits.where(task)
            if not at:
                return
            for held in (self._traps.get(worker, []), self._for_any):
                for trap in held:
                    if (not trap.site or trap.site in at) and trap.armed():
                        trap.skip -= 1
                        if trap.skip < 0:
                            held.remove(trap)
                            self._watch(worker)
                            trap.spring(worker, at)
                            return

        worker.watch = watch

    # --- frozen

    def _freeze(self, worker: SimWorker, seconds: float) -> None:
        if worker.frozen or not worker.alive:
            return
        loop = self._world.loop
        worker.frozen = True
        worker.lapsed = loop.seconds
        worker.producer.freeze()
        self._world.out.frozen += 1
        loop.at(loop.seconds + SESSION, self._expire, worker)
        loop.at(loop.seconds + seconds, self._thaw, worker)

    def _expire(self, worker: SimWorker) -> None:
        if worker.frozen and worker.alive:
            worker.expired = True
            self._world.group.remove(worker)

    def _thaw(self, worker: SimWorker) -> None:
        if not worker.frozen or not worker.alive:
            return
        loop = self._world.loop
        loop.thaw(worker)
        worker.producer.thaw()
        loop.at(loop.seconds + self._world.random.random(), self._confirm, worker)

    def _confirm(self, worker: SimWorker) -> None:
        """The first heartbeat after waking: still a member, or told to join again."""
        if not worker.alive or worker.frozen:
            return
        if worker not in self._world.group.members:
            worker.order("revoke", -1)
            self._world.group.join(worker)  # confirmed once it has given up what it had
        else:
            worker.lapsed = None

    # --- the rest

    def _recreate(self, topic: str, looks: int) -> None:
        """The topic is deleted and made anew, once all of it has been worked on."""
        world = self._world
        flows = {
            place.partition: flow
            for machine in world.machines.values()
            if machine.worker is not None and not machine.worker.frozen
            for place, flow in machine.worker.flows.items()
            if place.topic == topic
        }
        logs = world.broker.topics[topic]
        if all(n in flows and flows[n].acked_offset >= log.end for n, log in enumerate(logs)):
            world.broker.recreate(topic)
            world.out.recreated.add(topic)
        elif looks:
            world.loop.at(world.loop.seconds + 1.0, self._recreate, topic, looks - 1)

    def _provider_calm(self, provider: Provider, mode: str) -> None:
        if provider.mode == mode:
            provider.mode = "ok"

    def _broker_calm(self) -> None:
        self._world.broker.trouble, self._world.broker.slow = 0.0, 1.0

    def _tables_fast(self, worker: SimWorker) -> None:
        worker.tables.slow = 0.0

    def _heard(self, worker: SimWorker) -> None:
        if not worker.frozen:
            worker.lapsed = None

    def _clock_right(self, worker: SimWorker) -> None:
        worker.clock.stepped = 0
