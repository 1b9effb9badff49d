"""The variables that a template may use, and how each is read from the facts of one message.

This table is what ``docs/templates.md`` shows (a test holds the two together). Nothing is read or
formatted before a template asks for it. What is empty is *missing*: false in ``{% if %}``, replaced by
``default``, and an error when it is written out, so that no text goes out with a hole in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from schemas.records import Company, Customer, Details, EntityKind, Facts, Location, Status
from streams.domain.formats import Formats
from streams.domain.languages import best_language

_LONGEST: Final = 100
"""Characters of a name, a title or an attribute that are shown."""
_LONGEST_URL: Final = 500
"""A longer address is no address for a message; cutting it would make another one."""

_GAPS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Marks that turn, hide or join text (bidirectional controls, zero widths, language tags) and surrogates.
_MARKS = re.compile(
    "[\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f\ud800-\udfff]"
)
_URL = re.compile(r"https?://[^\s<>\"'`\\{}|^]+", re.IGNORECASE)


class TextContext(msgspec.Struct, frozen=True, gc=False):
    """Everything a message may speak of, as it is when the message goes. ``zone`` (IANA) and ``currency``
    (ISO 4217) are the location's, or the company's where the entity has no location."""

    kind: EntityKind
    entity_id: str
    company: Company
    location: Location | None
    customer: Customer
    facts: Facts
    details: Details
    status: Status | None
    zone: str
    currency: str


class Moment:
    """A point in time that a template may format; ``part`` is what it is written as otherwise."""

    __slots__ = ("formats", "millis", "part")

    def __init__(self, millis: int, formats: Formats, part: str) -> None:
        self.millis = millis
        self.formats = formats
        self.part = part

    def __str__(self) -> str:
        if self.part == "date":
            return self.formats.date(self.millis)
        return self.formats.time(self.millis) if self.part == "time" else self.formats.moment(self.millis)


class Money:
    """An amount in the minor unit of its currency."""

    __slots__ = ("currency", "formats", "minor")

    def __init__(self, minor: int, currency: str, formats: Formats) -> None:
        self.minor = minor
        self.currency = currency
        self.formats = formats

    def __str__(self) -> str:
        return self.formats.money(self.minor, self.currency)


class Attributes:
    """The publisher's own fields, by name."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def get(self, name: str) -> str:
        """The value, empty where there is none."""
        try:
            return shown(self._values[name])
        except KeyError:
            return ""

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if not value:
            raise KeyError(name)
        return value


Value = str | Moment | Money | Attributes | None
Getter = Callable[[TextContext, Formats], Value]


def shown(value: str, limit: int = _LONGEST) -> str:
    """``value`` as it may stand in a message: one line, no control characters or invisible marks, at
    most ``limit`` characters."""
    if len(value) <= limit and value.isprintable():
        return value.strip()
    # Cut before cleaning, so that a megabyte costs no more than a line.
    return " ".join(_MARKS.sub("", _GAPS.sub(" ", value[: 4 * limit])).split())[:limit].rstrip()


def _url(value: str) -> str:
    return value if len(value) <= _LONGEST_URL and value.isprintable() and _URL.fullmatch(value) else ""


def _first_name(ctx: TextContext, _: Formats) -> str:
    return shown(ctx.customer.name).partition(" ")[0]


def _status(ctx: TextContext, formats: Formats) -> str:
    if ctx.status is None or not ctx.status.names:
        return ""
    names = ctx.status.names
    return shown(names[best_language((formats.language, ctx.company.language), names)])


def _amount(ctx: TextContext, formats: Formats) -> Money | None:
    minor = ctx.details.amount_minor
    return None if minor is None else Money(minor, ctx.details.currency, formats)


def _location(read: Callable[[Location], str]) -> Getter:
    def get(ctx: TextContext, _: Formats) -> str | None:
        return None if ctx.location is None else shown(read(ctx.location))

    return get


def _moment(part: str) -> Getter:
    def get(ctx: TextContext, formats: Formats) -> Moment | None:
        millis = ctx.facts.scheduled_at
        return None if millis is None else Moment(millis, formats, part)

    return get


@dataclass(frozen=True, slots=True)
class Field:
    meaning: str
    get: Getter


_ENTITY: Final[dict[str, Field]] = {
    "number": Field("its number, as people know it", lambda ctx, _: shown(ctx.details.number)),
    "title": Field("what it is about", lambda ctx, _: shown(ctx.details.title)),
    "status": Field("the name of its status", _status),
    "url": Field("its page (http or https)", lambda ctx, _: _url(ctx.details.url)),
    "amount": Field("the amount with its currency", _amount),
    "attributes.x": Field(
        'the publisher\'s own field `x`; a name with a space: `attributes["pick-up point"]`',
        lambda ctx, _: Attributes(ctx.details.attributes),
    ),
}
_SCHEDULED: Final[dict[str, Field]] = {
    "date": Field("the day of the scheduled time: `Wednesday, April 8`", _moment("date")),
    "time": Field("the hour of the scheduled time: `14:00` or `2:00 PM`", _moment("time")),
    "scheduled": Field("the scheduled time, day and hour", _moment("scheduled")),
}

VARIABLES: Final[dict[str, dict[str, Field]]] = {
    "customer": {
        "name": Field("the customer's name", lambda ctx, _: shown(ctx.customer.name)),
        "first_name": Field("the first word of the customer's name", _first_name),
    },
    "company": {"name": Field("the company's name", lambda ctx, _: shown(ctx.company.name))},
    "location": {
        "name": Field("the location's name", _location(lambda location: location.name)),
        "address": Field("its address, in one line", _location(lambda location: location.address)),
        "phone": Field("its phone number, as written", _location(lambda location: location.phone)),
    },
    "order": {**_ENTITY, **_SCHEDULED},
    "lead": _ENTITY,
    "appointment": {**_ENTITY, **_SCHEDULED},
    "entity": {**_ENTITY, **_SCHEDULED},
}
"""By root and field. ``entity`` is another name for whichever kind the message is about."""

NAMES: Final = tuple(f"{root}.{field}" for root, fields in VARIABLES.items() for field in fields)
GETTERS: Final = {
    root: {name.removesuffix(".x"): field.get for name, field in fields.items()}
    for root, fields in VARIABLES.items()
}


def is_known(path: tuple[str, ...]) -> bool:
    """Whether a template may use ``path`` (``("order", "attributes", "x")``)."""
    if len(path) < 2 or path[1] not in GETTERS.get(path[0], ()):
        return False
    return len(path) == (3 if path[1] == "attributes" else 2)


class Values:
    """One root (``customer``) of one message: its fields by name, KeyError for what is missing."""

    __slots__ = ("_ctx", "_formats", "_getters")

    def __init__(self, root: str, ctx: TextContext, formats: Formats) -> None:
        self._getters = GETTERS[root]
        self._ctx = ctx
        self._formats = formats

    def __getitem__(self, name: str) -> str | Moment | Money | Attributes:
        value = self._getters[name](self._ctx, self._formats)
        if value is None or value == "":
            raise KeyError(name)
        return value


def roots(ctx: TextContext, formats: Formats) -> dict[str, object]:
    """The variables of one message, for the template language."""
    entity = Values(ctx.kind.value, ctx, formats)
    return {
        "customer": Values("customer", ctx, formats),
        "company": Values("company", ctx, formats),
        "location": Values("location", ctx, formats),
        ctx.kind.value: entity,
        "entity": entity,
        FORMATS: formats,
    }


FORMATS: Final = " formats"
"""Where filters find the message's formats; the space keeps templates from naming it."""
