"""When locations are open: a week as text, and as a picture of the same."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from console.web.markup import Html, h, joined, url
from console.web.settings import said
from console.web.visits import Answer, Page, Visit
from schemas.records import Hours, Interval, Role

_DAY = 24 * 60


async def show_hours(visit: Visit) -> Answer:
    words, company = visit.words, visit.shop
    there = sorted(visit.catalog.locations_of(company.id), key=lambda one: one.name.casefold())
    places = [(one.id, one.name, one.zone, one.hours) for one in there]
    shown = [("", words("without_location"), company.zone, company.hours), *places]
    body = [said(visit)]
    if visit.may(Role.ADMIN):
        new = url("c", company.id, "settings", "locations", "new")
        body.append(h("p", h("a", words("add.location"), href=new, class_="button")))
    body += [_place(visit, number, *one) for number, one in enumerate(shown)]
    return Page(title=words("menu.hours"), body=[one for one in body if one is not None], at="hours")


def _place(visit: Visit, number: int, id_: str, name: str, zone: str, hours: Hours) -> Html:
    words, heading = visit.words, f"place-{number}"
    rows = []
    for day in range(7):
        intervals = hours.weekdays[day] if day < len(hours.weekdays) else ()
        said = ", ".join(f"{_clock(one.opens)}-{_clock(one.closes)}" for one in intervals) or words("closed")
        rows.append(
            h("tr", h("th", words.weekday(day), scope="row"), h("td", said), h("td", bar(hours, day)))
        )
    heads = [h("th", words(f"head.{one}"), scope="col") for one in ("weekday", "open")]
    picture = h("td", "0 · 6 · 12 · 18 · 24", aria_hidden="true", class_="scale")
    week = h(
        "table", h("caption", zone), h("thead", h("tr", heads, picture)), h("tbody", rows), class_="week"
    )
    dates = ", ".join(words.day(date.fromisoformat(one)) for one in hours.closed_dates)
    closed = h("p", f"{words('closed_dates')}: {dates}") if dates else None
    pending = url("c", visit.shop.id, "pending", location_id=id_)
    link = h("p", h("a", words("menu.pending"), href=pending), _edit(visit, id_)) if id_ else None
    return h("section", h("h2", name, id=heading), week, closed, link, aria_labelledby=heading)


def _edit(visit: Visit, id_: str) -> Html | None:
    if not visit.may(Role.ADMIN):
        return None
    where = url("c", visit.shop.id, "settings", "locations", id_)
    return joined(" · ", h("a", visit.words("edit"), href=where, aria_label=f"{visit.words('edit')}: {id_}"))


def bar(hours: Hours, day: int) -> Html:
    """A day from midnight to midnight; what is open since the evening before is there too."""
    spans = [*_late(hours, (day - 1) % 7), *_of(hours, day)]
    boxes = [h("rect", x=begin, y=0, width=end - begin, height=60) for begin, end in spans]
    return h(
        "svg", boxes, viewBox=f"0 0 {_DAY} 60", preserveAspectRatio="none", aria_hidden="true", class_="day"
    )


def _of(hours: Hours, day: int) -> list[tuple[int, int]]:
    return [(one.opens, one.closes if one.closes > one.opens else _DAY) for one in _intervals(hours, day)]


def _late(hours: Hours, day: int) -> list[tuple[int, int]]:
    """What a day's intervals over midnight take of the next."""
    return [(0, one.closes) for one in _intervals(hours, day) if one.closes <= one.opens and one.closes]


def _intervals(hours: Hours, day: int) -> Sequence[Interval]:
    return hours.weekdays[day] if day < len(hours.weekdays) else ()


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
