"""After the story the shop stays open: three customers book, the shop's clock runs as ours does, and whoever
watches sets up rules on the page, moves appointments and sees what comes of it. ``carillon demo move`` and
``carillon demo forward`` find the shop by the file that is kept while it is open.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from console.demo.cast import LISBON, NEW_YORK, WARSAW, Shop
from console.demo.processes import DemoError
from console.demo.scenario import Entity, Published, reference
from console.demo.screen import Screen
from console.demo.show import Show
from console.demo.world import Entrance, World
from schemas.records import Customer, Details, EntityKind, Facts, StatusKind
from streams.domain.zones import zone_of

OPEN, FORWARD = "running.json", "forward"
"""Files in the demo's folder: where the shop is, and to when its clock is to be put (milliseconds)."""
_AHEAD = 6
"""Days: a reminder a day before, or two, is still to come."""
_TICK = 0.5
"""Seconds."""
_VISITORS = (
    (WARSAW, "Ewa Zając", "+48500009991", "pl", "Gear tuning"),
    (LISBON, "Rita Pinto", "+351910009992", "en", "Wheel truing"),
    (NEW_YORK, "Otis Reed", "+12125559993", "en", "Brake check"),
)


class OpenShop(msgspec.Struct, frozen=True):
    """What commands need to speak to it."""

    broker: str
    clock: str
    company: str


@dataclass(frozen=True, slots=True)
class Booking:
    entity: Entity
    customer: Customer
    zone: str

    @property
    def records(self) -> list[Published]:
        return [reference(self.customer)]


def bookings(shop: Shop, now: int) -> list[Booking]:
    """One at each place, at eleven o'clock of the same day."""
    status = shop.statuses(EntityKind.APPOINTMENT, StatusKind.OPEN)[0]
    made = []
    for number, (zone, name, phone, language, title) in enumerate(_VISITORS, 1):
        customer = Customer(
            company=shop.company.id,
            customer_id=f"visitor-{number}",
            name=name,
            phone=phone,
            email=f"visitor-{number}@example.com",
            language=language,
            sms_consent=True,
            email_consent=True,
            version=1,
        )
        day = datetime.fromtimestamp(now / 1000, zone_of(zone)) + timedelta(days=_AHEAD)
        eleven = day.replace(hour=11, minute=0, second=0, microsecond=0)
        entity = Entity(
            kind=EntityKind.APPOINTMENT,
            company=shop.company.id,
            id=f"a-{number}",
            facts=Facts(
                status_id=status.id,
                customer_id=customer.customer_id,
                location_id=shop.places[zone].id,
                scheduled_at=int(eleven.timestamp() * 1000),
            ),
            details=Details(number=f"A-{number}", title=title),
        )
        made.append(Booking(entity, customer, zone))
    return made


class Afterwards:
    """``command``: how the reader calls ``carillon demo``. The story has been told."""

    def __init__(
        self,
        shop: Shop,
        world: World,
        show: Show,
        screen: Screen,
        out: Path,
        entrance: Entrance,
        command: str,
    ) -> None:
        self._shop = shop
        self._world = world
        self._show = show
        self._screen = screen
        self._out = out
        self._entrance = entrance
        self._command = command

    def stay(self) -> None:
        """Until KeyboardInterrupt. Raises DemoError when a process ends."""
        clock = self._world.clock
        made = bookings(self._shop, clock.now())
        self._world.publish(item for one in made for item in one.records)
        self._world.publish(one.entity.create(clock.now()) for one in made)
        self._show.forward(clock.now())
        here = OpenShop(self._world.bootstrap, self._world.clock_setting, self._shop.company.id)
        file = self._out / OPEN
        file.write_bytes(msgspec.json.encode(here))
        try:
            self._screen.block(self._guide(made))
            self._run()
        finally:
            file.unlink(missing_ok=True)
            (self._out / FORWARD).unlink(missing_ok=True)

    def _run(self) -> None:
        clock, wish = self._world.clock, self._out / FORWARD
        last = time.monotonic()
        while True:
            time.sleep(_TICK)
            if wish.exists():
                self._show.forward(int(wish.read_text()))
                wish.unlink()
                last = time.monotonic()
            elapsed = int((time.monotonic() - last) * 1000)
            last += elapsed / 1000
            clock.set(clock.now() + elapsed)
            self._world.check()

    def _guide(self, made: Sequence[Booking]) -> list[str]:
        first = made[0]
        moment = _local(first.entity.facts.scheduled_at, first.zone) + timedelta(days=1, hours=4)
        lines = ["", "The shop stays open: its clock now runs like yours, and three customers have booked"]
        for one in made:
            when = f"{_local(one.entity.facts.scheduled_at, one.zone):%a %d %b %Y, %H:%M}"
            place = self._shop.places[one.zone].name
            lines.append(f"  appointment {one.entity.id}   {one.customer.name:<11} {when}   {place}")
        return [
            *lines,
            "",
            f"Its page: {self._entrance.page}",
            f"  user {self._entrance.user}, password {self._entrance.password}",
            "  1. Rules, Appointments, Add a reminder: 1 day before, by SMS, only for two locations",
            "  2. Pending messages: it is there for the appointments at these locations",
            f"  3. Move one, as the shop's own program would: {self._command} move "
            f'{first.entity.id} "{moment:%Y-%m-%d %H:%M}"',
            f"  4. Event feed of appointment {first.entity.id}: what became of it",
            f"  5. Put the shop's clock forward and see it sent: {self._command} forward 8d",
            "",
            "It stays until Ctrl-C",
        ]


def open_shop(out: Path) -> OpenShop:
    """Raises DemoError where no demo is open."""
    try:
        return msgspec.json.decode((out / OPEN).read_bytes(), type=OpenShop)
    except FileNotFoundError:
        raise DemoError(
            f"no demo is open in {out}/: start one with carillon demo --console, and wait for the end of its "
            "story"
        ) from None


def _local(millis: int | None, zone: str) -> datetime:
    assert millis is not None
    return datetime.fromtimestamp(millis / 1000, zone_of(zone))
