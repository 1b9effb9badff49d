"""The customers in the background: every kind of entity, moves, cancellations and deletions, from the seed.

Their lives run on a coarse grid of moments. Each moment at which anything happens or falls due is a step of
the demo's clock, and the whole pipeline is drained before the next: a crowd that kept its own minutes would
make the story take an hour instead of a minute.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from random import Random

from console.demo.cast import LISBON, NEW_YORK, WARSAW, People, Person, at
from console.demo.scenario import DAY, Entity, Owed, Published, Script
from schemas.records import EntityKind, StatusKind, Suppression

_FIRST_DAY = date(2026, 4, 2)
_DAYS = tuple(_FIRST_DAY + timedelta(days=n) for n in (0, 1, 5, 6, 7, 8, 12, 13, 14, 18, 19, 20, 22))
_WALK_INS = ("10:30", "16:30")
_SLOTS = ("11:00", "15:00")
_TITLES = {
    EntityKind.ORDER: ("Puncture", "New chain", "Brake pads", "Full service", "Lights", "Gear cables"),
    EntityKind.LEAD: ("Asks for a price", "Asks for a test ride", "Asks for a cargo bike"),
    EntityKind.APPOINTMENT: ("Bike fitting", "E-bike check", "Wheel truing", "Inspection"),
}


class Crowd:
    def __init__(self, script: Script, people: People, rng: Random, start: int) -> None:
        self._script = script
        self._shop = script.shop
        self._people = people
        self._rng = rng
        self._start = start
        self._changes: defaultdict[int, list[Published]] = defaultdict(list)

    def write(self, count: int, *, until: int) -> None:
        """Adds ``count`` customers, and their changes up to ``until``."""
        moments = [
            moment
            for day in _DAYS
            for local in _WALK_INS
            if self._start < (moment := at(WARSAW, f"{day} {local}")) <= until
        ]
        if len(moments) < 2:  # a scene of one morning: the crowd stays at home
            return
        for _ in range(count):
            zone = self._rng.choice((WARSAW, WARSAW, LISBON, NEW_YORK))
            person = self._people.meet(zone, sms=self._rng.random() < 0.85, email=self._rng.random() < 0.85)
            life = self._rng.choices((self._order, self._appointment, self._lead), (45, 40, 15))[0]
            life(person, moments)
            if self._rng.random() < 0.04:
                self._script.suppressions.append(self._left(person))
        for moment, changes in sorted(self._changes.items()):
            self._script.happens(moment, "crowd", "", WARSAW, changes)

    def _order(self, person: Person, moments: list[int]) -> None:
        kind, shop = EntityKind.ORDER, self._shop
        opened = shop.statuses(kind, StatusKind.OPEN)
        entity = self._entity(kind, person)
        first = self._rng.randrange(len(moments) - 1)
        self._changes[moments[first]].append(entity.create(moments[first]))
        self._owe(entity, shop.on_created(kind).id, moments[first] + 4 * DAY)
        path = [status.id for status in opened[1:]] + [shop.review.status_id]
        if self._rng.random() < 0.15:
            path = [path[0], shop.statuses(kind, StatusKind.CANCELLED)[0].id]
        for number, status_id in enumerate(path, first + 1):
            if number < len(moments):
                self._changes[moments[number]].append(entity.update(moments[number], status_id=status_id))
        last = first + len(path) + 1
        if last < len(moments) and self._rng.random() < 0.1:
            self._changes[moments[last]].append(entity.delete(moments[last]))

    def _appointment(self, person: Person, moments: list[int]) -> None:
        kind, shop = EntityKind.APPOINTMENT, self._shop
        booked = self._rng.choice(moments[: max(1, len(moments) * 2 // 3)])
        slots = self._slots(person, booked)
        if not slots:
            return
        slot = self._rng.choice(slots)
        entity = self._entity(kind, person, slot)
        self._changes[booked].append(entity.create(booked))
        later = [moment for moment in moments if booked < moment < slot - DAY]
        turn = self._rng.random()
        if later and turn < 0.25:
            when = self._rng.choice(later)
            chances = [other for other in self._slots(person, when) if other != slot]
            if chances:
                self._changes[when].append(entity.update(when, scheduled_at=self._rng.choice(chances)))
        elif later and turn < 0.45:
            when = self._rng.choice(later)
            gone = shop.cancelled.status_id
            self._changes[when].append(entity.update(when, status_id=gone))
        else:
            self._owe(entity, shop.reminder.id, slot)
            done = next((moment for moment in moments if moment > slot), None)
            if done is not None:
                closed = shop.statuses(kind, StatusKind.CLOSED)[0].id
                self._changes[done].append(entity.update(done, status_id=closed))

    def _lead(self, person: Person, moments: list[int]) -> None:
        kind, shop = EntityKind.LEAD, self._shop
        entity = self._entity(kind, person)
        first = self._rng.randrange(len(moments) - 1)
        self._changes[moments[first]].append(entity.create(moments[first]))
        self._owe(entity, shop.on_created(kind).id, moments[first] + 4 * DAY)
        when = moments[first + 1]
        closed = shop.statuses(kind, StatusKind.CLOSED)[0].id
        self._changes[when].append(entity.update(when, status_id=closed))

    def _slots(self, person: Person, booked: int) -> list[int]:
        """Free times at the person's location, far enough ahead for the reminder to be in time."""
        return [
            slot
            for day in _DAYS
            for local in _SLOTS
            if (slot := at(person.zone, f"{day} {local}")) > booked + 2 * DAY
        ]

    def _entity(self, kind: EntityKind, person: Person, scheduled_at: int | None = None) -> Entity:
        status = self._shop.statuses(kind, StatusKind.OPEN)[0]
        title = self._rng.choice(_TITLES[kind])
        amount = self._rng.randrange(20, 400) * 100 if kind is EntityKind.ORDER else None
        return self._script.entity(
            kind, person, title, status_id=status.id, scheduled_at=scheduled_at, amount_minor=amount
        )

    def _owe(self, entity: Entity, rule_id: str, by: int) -> None:
        self._script.owed.append(Owed(entity.kind, entity.id, rule_id, by))

    def _left(self, person: Person) -> Suppression:
        channel = self._shop.on_created(EntityKind.ORDER).channel
        address = person.customer.phone if channel == "sms" else person.customer.email
        return Suppression(
            company=self._shop.company.id,
            channel=channel,
            address=address,
            reason="unsubscribe",
            since=self._start - DAY,
            version=1,
        )
