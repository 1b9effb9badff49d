"""What forms of the company's settings, locations and statuses consist of: each part as text, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from multidict import MultiMapping

from console.api.forms import CompanyForm, Form, LocationForm, StatusForm
from console.shop_difference import ShopRecord
from console.shop_forms import format_intervals, format_length, parse_intervals, parse_length
from console.web.words import LANGUAGES
from schemas.records import EntityKind, Hours, Interval, StatusKind
from streams.domain.problems import Problem

WEEKDAYS = [f"hours.weekdays[{day}]" for day in range(7)]
CLOSED = "hours.closed_dates"

Typed = Mapping[str, str]
"""What stands in a form, by the names of its controls."""


class Sort(Enum):
    TEXT = auto()
    LINES = auto()
    NUMBER = auto()
    LENGTH = auto()
    """``10 minutes``."""
    SPANS = auto()
    """``22:00-24:00, 00:00-07:00``."""
    WEEK = auto()
    CHECK = auto()
    CHOICE = auto()
    NAMES = auto()
    """One for each language."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    name: str
    sort: Sort = Sort.TEXT
    options: tuple[str, ...] = ()
    family: str = ""
    """Of the words for ``options``."""
    fixed: bool = False
    """Given when the record is made, and never changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """``kind``: of record, as the API calls it."""

    kind: str
    form: type[Form]
    parts: tuple[Part, ...]


LOCATION = Sheet(
    kind="location",
    form=LocationForm,
    parts=(
        Part(name="id", fixed=True),
        Part(name="name"),
        Part(name="zone"),
        Part(name="address"),
        Part(name="phone"),
        Part(name="hours", sort=Sort.WEEK),
    ),
)
STATUS = Sheet(
    kind="status",
    form=StatusForm,
    parts=(
        Part(name="id", fixed=True),
        Part(
            name="entity", sort=Sort.CHOICE, options=tuple(map(str, EntityKind)), family="entity", fixed=True
        ),
        Part(name="kind", sort=Sort.CHOICE, options=tuple(map(str, StatusKind)), family="status_kind"),
        Part(name="names", sort=Sort.NAMES),
    ),
)
COMPANY = Sheet(
    kind="company",
    form=CompanyForm,
    parts=(
        Part(name="name"),
        Part(name="language"),
        Part(name="zone"),
        Part(name="currency"),
        Part(name="sms_sender"),
        Part(name="email_sender_name"),
        Part(name="email_sender_address"),
        Part(name="quiet_hours", sort=Sort.SPANS),
        Part(name="customer_daily_cap", sort=Sort.NUMBER),
        Part(name="duplicate_window", sort=Sort.LENGTH),
        Part(name="messages_per_minute", sort=Sort.NUMBER),
        Part(name="segment_budget", sort=Sort.NUMBER),
        Part(name="max_event_age", sort=Sort.LENGTH),
        Part(name="smart_encoding", sort=Sort.CHECK),
        Part(name="sms_help", sort=Sort.LINES),
        Part(name="hours", sort=Sort.WEEK),
    ),
)


def typed_of(sheet: Sheet, record: ShopRecord) -> dict[str, str]:
    """The record as it stands in its form."""
    typed: dict[str, str] = {}
    for part in sheet.parts:
        value: Any = getattr(record, part.name)
        match part.sort:
            case Sort.WEEK:
                for name, spans in zip(WEEKDAYS, value.weekdays, strict=False):
                    typed[name] = _spans(spans)
                typed[CLOSED] = ", ".join(value.closed_dates)
            case Sort.SPANS:
                typed[part.name] = _spans(value)
            case Sort.LENGTH:
                typed[part.name] = format_length(value)
            case Sort.CHECK:
                typed[part.name] = "yes" if value else ""
            case Sort.NAMES:
                typed |= {f"{part.name}.{tag}": name for tag, name in value.items()}
            case _:
                typed[part.name] = str(value)
    return typed


def languages_of(typed: Typed, name: str) -> list[str]:
    """Those that names can be given in: the page's, and what is there."""
    there = [key.removeprefix(f"{name}.") for key in typed if key.startswith(f"{name}.")]
    return list(dict.fromkeys([*LANGUAGES, *there]))


def given_of(sheet: Sheet, form: MultiMapping[str]) -> dict[str, str]:
    """What was typed, as far as it belongs to the form."""
    names = [part.name for part in sheet.parts if part.sort not in (Sort.WEEK, Sort.NAMES)]
    if any(part.sort is Sort.WEEK for part in sheet.parts):
        names += [*WEEKDAYS, CLOSED]
    typed = {name: form.get(name, "") for name in names}
    for part in sheet.parts:
        if part.sort is Sort.NAMES:
            typed |= {key: value for key, value in form.items() if key.startswith(f"{part.name}.")}
    return typed


def built(sheet: Sheet, typed: Typed) -> tuple[dict[str, Any], list[Problem]]:
    """What the API is sent, and what could not be read."""
    problems: list[Problem] = []

    def read(name: str, parse: Callable[[str], Any], empty: Any) -> Any:
        text = typed.get(name, "").strip()
        if not text:
            return empty
        try:
            return parse(text)
        except ValueError as error:
            problems.append(Problem(name, str(error)))
            return empty

    found: dict[str, Any] = {}
    for part in sheet.parts:
        name = part.name
        match part.sort:
            case Sort.WEEK:
                days = tuple(read(day, parse_intervals, ()) for day in WEEKDAYS)
                dates = typed.get(CLOSED, "").replace(",", " ").split()
                found[name] = Hours(weekdays=days, closed_dates=tuple(sorted(set(dates))))
            case Sort.SPANS:
                found[name] = read(name, parse_intervals, ())
            case Sort.LENGTH:
                found[name] = read(name, parse_length, 0)
            case Sort.CHECK:
                found[name] = typed.get(name) == "yes"
            case Sort.NUMBER:
                found[name] = typed.get(name, "").strip() or "0"
            case Sort.NAMES:
                tags = languages_of(typed, name)
                given = {tag: typed.get(f"{name}.{tag}", "").strip() for tag in tags}
                found[name] = {tag: text for tag, text in given.items() if text}
            case _:
                found[name] = typed.get(name, "").strip()
    return found, problems


def _spans(intervals: tuple[Interval, ...]) -> str:
    return format_intervals(intervals) if intervals else ""
