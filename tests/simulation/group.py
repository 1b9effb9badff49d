"""The group's coordinator: eager rebalances, sticky assignment, session time-outs."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from agents.host import Place

if TYPE_CHECKING:
    from tests.simulation.worker import SimWorker
    from tests.simulation.world import World


class Group:
    """Tells workers what to give up and what to take, in order."""

    def __init__(self, world: World, random: Random) -> None:
        self._world = world
        self._random = random
        self.members: list[SimWorker] = []
        self.generation = 0
        self._waiting: set[SimWorker] = set()
        self._held: dict[Place, str] = {}

    def join(self, worker: SimWorker) -> None:
        self.members.append(worker)
        self._rebalance()

    def leave(self, worker: SimWorker) -> None:
        """A graceful stop: the worker finishes and says goodbye."""
        worker.start(worker._guard(worker.leave), "leave")

    def left(self, worker: SimWorker) -> None:
        self.remove(worker)
        self._world.stopped(worker)

    def remove(self, worker: SimWorker) -> None:
        if worker in self.members:
            self.members.remove(worker)
            self._rebalance()

    def revoked(self, worker: SimWorker, generation: int) -> None:
        """The worker has stopped working on its partitions."""
        if generation == self.generation:
            self._waiting.discard(worker)
            if not self._waiting:
                self._assign()

    def _rebalance(self) -> None:
        self.generation += 1
        self._waiting = set(self.members)
        for worker in self.members:
            worker.order("revoke", self.generation)

    def _assign(self) -> None:
        """Sticky where it can be, ``timers`` and what lies beside them together."""
        members = list(self.members)
        if not members:
            return
        names = [worker.machine.name for worker in members]
        places = [
            Place(topic, partition)
            for topic in ("orders", "leads", "appointments", "customer-consents", "timers")
            for partition in range(len(self._world.broker.topics[topic]))
        ]
        most = -(-len(places) // len(members))
        given: dict[str, list[Place]] = {name: [] for name in names}
        left: list[Place] = []
        for place in places:
            owner = self._held.get(place)
            if owner in given and len(given[owner]) < most:
                given[owner].append(place)
            else:
                left.append(place)
        for place in left:
            name = min(names, key=lambda name: (len(given[name]), name))
            given[name].append(place)
        self._held = {place: name for name, some in given.items() for place in some}
        for worker in members:
            some = given[worker.machine.name]
            numbers = [place.partition for place in some if place.topic == "timers"]
            some += [Place(topic, n) for topic in ("consents", "provider-events") for n in numbers]
            worker.order("assign", self.generation, frozenset(some))
