"""Who and what the story needs of a shop: its locations by zone, and its rules by the part they play.

The story is not tied to the ids in ``examples/shop.yaml``: a part is found by what a rule does, so that
renaming a rule there changes nothing here. A part that nobody plays is an error that says what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from zoneinfo import ZoneInfo

from console.demo.processes import DemoError
from schemas.records import (
    Channel,
    Company,
    Customer,
    EntityKind,
    Location,
    Mailbox,
    Record,
    Rule,
    RuleKind,
    Status,
    StatusKind,
    Trigger,
)

WARSAW, LISBON, NEW_YORK = "Europe/Warsaw", "Europe/Lisbon", "America/New_York"

_NAMES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    WARSAW: (
        ("Zofia", "Hanna", "Maja", "Oliwia", "Jan", "Antoni", "Filip", "Szymon", "Ewa", "Marek"),
        ("Kowalczyk", "Mazur", "Lis", "Wrona", "Zając", "Dudek", "Sikora", "Pająk", "Nowak", "Król"),
    ),
    LISBON: (
        ("Inês", "Beatriz", "Matilde", "Leonor", "Tomás", "Duarte", "Martim", "Afonso", "Rita", "Hugo"),
        ("Sousa", "Carvalho", "Lopes", "Marques", "Almeida", "Ribeiro", "Pinto", "Teixeira", "Moura", "Reis"),
    ),
    NEW_YORK: (
        ("Grace", "Ruth", "Naomi", "Clara", "Walter", "Miles", "Otis", "Theo", "Edith", "Leon"),
        ("Bennett", "Foster", "Hayes", "Palmer", "Reed", "Sutton", "Vaughn", "Whitaker", "Quinn", "Doyle"),
    ),
}
_PREFIX = {WARSAW: "+4850000", LISBON: "+35191000", NEW_YORK: "+1212555"}
"""Country code and the first digits: with four more a number of the right length."""
_LANGUAGE = {WARSAW: "pl", LISBON: "en", NEW_YORK: "en"}


def at(zone: str, local: str) -> int:
    """``2026-04-07 13:00`` on the clocks of ``zone``, in milliseconds since the epoch."""
    return int(datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class Person:
    customer: Customer
    zone: str

    @property
    def id(self) -> str:
        return self.customer.customer_id

    @property
    def name(self) -> str:
        return self.customer.name


class People:
    """Makes customers; nobody has a name or a number twice."""

    def __init__(self, company: str, rng: Random) -> None:
        self._company = company
        self._rng = rng
        self._count = 0
        self.everyone: list[Person] = []
        self._pools: dict[str, list[str]] = {}
        for zone, (firsts, lasts) in _NAMES.items():
            self._pools[zone] = [f"{first} {last}" for first in firsts for last in lasts]
            rng.shuffle(self._pools[zone])

    def meet(self, zone: str, *, sms: bool = True, email: bool = True) -> Person:
        self._count += 1
        pool = self._pools[zone]
        name = pool[self._count % len(pool)]
        # Names come round again in a large crowd; addresses never do.
        mailbox = f"{_ascii(name)}.{self._count}@example.com"
        customer = Customer(
            company=self._company,
            customer_id=f"c-{self._count:04}",
            name=name,
            phone=f"{_PREFIX[zone]}{self._count:04}",
            email=mailbox,
            language=_LANGUAGE[zone],
            sms_consent=sms,
            email_consent=email,
            version=1,
        )
        person = Person(customer, zone)
        self.everyone.append(person)
        return person


def _ascii(name: str) -> str:
    plain = name.lower().translate(str.maketrans("ąćęłńóśźżáâãéêíôõúç", "acelnoszzaaaeeioouc"))
    return plain.replace(" ", ".")


@dataclass(frozen=True, slots=True)
class Shop:
    """The records of a shop file, and the parts in them."""

    records: tuple[Record, ...]
    company: Company = field(init=False)
    places: dict[str, Location] = field(init=False)
    """By time zone."""

    def __post_init__(self) -> None:
        places = {record.zone: record for record in self.records if isinstance(record, Location)}
        missing = [zone for zone in (WARSAW, LISBON, NEW_YORK) if zone not in places]
        if missing:
            raise DemoError(f"the shop has no location in {', '.join(missing)}")
        company = next((record for record in self.records if isinstance(record, Company)), None)
        if company is None:
            raise DemoError("the shop names no company")
        object.__setattr__(self, "company", company)
        object.__setattr__(self, "places", places)

    @property
    def rules(self) -> Sequence[Rule]:
        return [record for record in self.records if isinstance(record, Rule) and record.enabled]

    def statuses(self, entity: EntityKind, kind: StatusKind) -> list[Status]:
        """In the order of the file; raises DemoError if there is none."""
        found = [
            record
            for record in self.records
            if isinstance(record, Status) and record.entity is entity and record.kind is kind
        ]
        if not found:
            raise DemoError(f"the shop has no {kind} status of {entity}s")
        return found

    def status(self, status_id: str) -> Status:
        return next(r for r in self.records if isinstance(r, Status) and r.id == status_id)

    @property
    def mailbox(self) -> Mailbox:
        """The first that the company has connected."""
        found = next((record for record in self.records if isinstance(record, Mailbox)), None)
        if found is None:
            raise DemoError("the shop has no mailbox")
        return found

    # --- parts

    def on_created(self, entity: EntityKind) -> Rule:
        return self._part(f"tells of a new {entity}", entity, lambda r: r.trigger is Trigger.CREATED)

    @property
    def ready(self) -> Rule:
        return self._part(
            "says in working hours that an order has come to a status",
            EntityKind.ORDER,
            lambda r: r.trigger is Trigger.STATUS_CHANGED_TO and r.working_hours_only and not r.delay,
        )

    @property
    def progress(self) -> Rule:
        """Of an order that came to an open status, at any hour."""
        opened = {status.id for status in self.statuses(EntityKind.ORDER, StatusKind.OPEN)}
        return self._part(
            "tells of an order's status at any hour",
            EntityKind.ORDER,
            lambda r: (
                not (r.delay or r.working_hours_only)
                and (
                    r.trigger is Trigger.STATUS_CHANGED
                    or (r.trigger is Trigger.STATUS_CHANGED_TO and r.status_id in opened)
                )
            ),
        )

    @property
    def review(self) -> Rule:
        return self._part(
            "asks for a review some time after an order was closed",
            EntityKind.ORDER,
            lambda r: (
                r.trigger is Trigger.STATUS_CHANGED_TO
                and r.delay > 0
                and self.status(r.status_id).kind is StatusKind.CLOSED
            ),
        )

    @property
    def moved(self) -> Rule:
        return self._part(
            "says that an appointment was moved",
            EntityKind.APPOINTMENT,
            lambda r: r.trigger is Trigger.TIME_CHANGED,
        )

    @property
    def cancelled(self) -> Rule:
        return self._part(
            "says that an appointment is cancelled",
            EntityKind.APPOINTMENT,
            lambda r: (
                r.trigger is Trigger.STATUS_CHANGED_TO
                and self.status(r.status_id).kind is StatusKind.CANCELLED
            ),
        )

    @property
    def reminder(self) -> Rule:
        """The SMS reminder of an appointment a day before."""
        return self._part(
            "reminds of an appointment by SMS, 24 hours or 1 day before",
            EntityKind.APPOINTMENT,
            lambda r: (
                r.kind is RuleKind.REMINDER
                and r.channel is Channel.SMS
                and (r.offset, str(r.offset_unit)) in ((24, "hours"), (1, "days"))
            ),
        )

    @property
    def email_reminder(self) -> Rule:
        """The same by e-mail."""
        return self._part(
            "reminds of an appointment by e-mail, 24 hours or 1 day before",
            EntityKind.APPOINTMENT,
            lambda r: (
                r.kind is RuleKind.REMINDER
                and r.channel is Channel.EMAIL
                and (r.offset, str(r.offset_unit)) in ((24, "hours"), (1, "days"))
            ),
        )

    @property
    def greeting(self) -> Rule:
        """Of a lead, by e-mail from the company's mailbox."""
        return self._part(
            "greets a lead from the company's mailbox",
            EntityKind.LEAD,
            lambda r: r.trigger is Trigger.CREATED and r.mailbox_id == self.mailbox.id,
        )

    def _part(self, what: str, entity: EntityKind, plays: Callable[[Rule], bool]) -> Rule:
        for rule in self.rules:
            if rule.entity is entity and plays(rule):
                return rule
        raise DemoError(f"the story needs a rule that {what}; the shop has none")
