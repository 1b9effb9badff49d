"""The company's settings, locations and statuses, edited in forms."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import msgspec

from console.api import shop
from console.api.forms import Form
from console.service.edits import ANY
from console.service.errors import ChangedError, InUseError, NotThereError, RefusedError
from console.service.kinds import KINDS
from console.shop_difference import ShopRecord
from console.web.layout import Fields, notice, table
from console.web.markup import Html, h, url
from console.web.reading import read
from console.web.rule_list import status_name
from console.web.sheets import (
    CLOSED,
    COMPANY,
    LOCATION,
    STATUS,
    WEEKDAYS,
    Part,
    Sheet,
    Sort,
    Typed,
    built,
    given_of,
    languages_of,
    typed_of,
)
from console.web.visits import Answer, Handler, Page, Redirect, Visit
from console.web.words import LANGUAGES
from schemas.records import EntityKind, Role, StatusKind
from streams.domain.problems import Problem

_KINDS = list(StatusKind)


async def show_settings(visit: Visit) -> Answer:
    """What there is to be set and looked at, for those who may."""
    words, company = visit.words, visit.shop.id
    pages = [
        ("company", Role.ADMIN, url("c", company, "settings", "company")),
        ("locations", Role.VIEWER, url("c", company, "hours")),
        ("statuses", Role.VIEWER, url("c", company, "settings", "statuses")),
        ("suppressions", Role.VIEWER, url("c", company, "settings", "suppressions")),
        ("mailboxes", Role.VIEWER, url("c", company, "mailboxes")),
        ("audit", Role.EDITOR, url("c", company, "settings", "audit")),
    ]
    entries = [
        h("li", h("a", words(f"settings.{name}"), href=where), h("small", words(f"settings.{name}.hint")))
        for name, role, where in pages
        if visit.may(role)
    ]
    body = [said(visit), h("ul", entries, class_="feed")]
    return Page(title=words("menu.settings"), body=[one for one in body if one is not None], at="settings")


def said(visit: Visit) -> Html | None:
    return notice(visit.words("saved")) if visit.query.get("said") == "saved" else None


async def show_statuses(visit: Visit) -> Answer:
    words, company, admin = visit.words, visit.shop.id, visit.may(Role.ADMIN)
    body = [said(visit)]
    if admin:
        new = url("c", company, "settings", "statuses", "new")
        body.append(h("p", h("a", words("add.status"), href=new, class_="button")))
    for entity in EntityKind:
        there = [one for one in visit.catalog.statuses_of(company) if one.entity is entity]
        rows = []
        for one in sorted(there, key=lambda one: (_KINDS.index(one.kind), one.id)):
            name = status_name(company, entity, one.id, visit.catalog, words)
            link = h("a", name, href=url("c", company, "settings", "statuses", one.id)) if admin else name
            rows.append((link, words(f"status_kind.{one.kind}"), one.id))
        heads = [words(f"head.{name}") for name in ("status", "kind", "record_id")]
        heading = f"statuses-{entity}"
        shown = table(heads, rows, words(f"entities.{entity}")) if rows else h("p", words("none"))
        body.append(
            h("section", h("h2", words(f"entities.{entity}"), id=heading), shown, aria_labelledby=heading)
        )
    title = words("settings.statuses")
    return Page(title=title, body=[one for one in body if one is not None], at="settings")


def _back(visit: Visit, sheet: Sheet, **query: str) -> str:
    """Where one comes from, and goes when it is done."""
    places = {"location": ("hours",), "status": ("settings", "statuses"), "company": ("settings",)}
    return url("c", visit.shop.id, *places[sheet.kind], **query)


def _action(visit: Visit, sheet: Sheet, id_: str = "", *more: str) -> str:
    company = visit.shop.id
    if sheet is COMPANY:
        return url("c", company, "settings", "company")
    plural = {"location": "locations", "status": "statuses"}[sheet.kind]
    return url("c", company, "settings", plural, *([id_, *more] if id_ else []))


def new_of(sheet: Sheet) -> Handler:
    async def new(visit: Visit) -> Answer:
        zone = {"zone": visit.shop.zone}
        return _page(visit, sheet, zone, key=secrets.token_hex(16))

    return new


def shown_of(sheet: Sheet) -> Handler:
    async def show(visit: Visit) -> Answer:
        record = _found(visit, sheet)
        return _page(visit, sheet, typed_of(sheet, record), record=record)

    return show


def created_of(sheet: Sheet) -> Handler:
    async def create(visit: Visit) -> Answer:
        """Sent twice it makes one."""
        typed, key = given_of(sheet, visit.form), visit.form.get("key", "")[:64]
        if not key:
            raise InUseError("the form is too old; load it again")
        assert visit.who is not None
        own = "\0".join(("page", visit.who.id, visit.shop.id, key))
        try:
            body = _form(sheet, typed)
            await shop.creator(sheet.kind)(visit.call(body=body, key=own))
        except RefusedError as error:
            return _page(visit, sheet, typed, error.problems, key=key, status=422)
        return Redirect(to=_back(visit, sheet, said="saved"))

    return create


def saved_of(sheet: Sheet) -> Handler:
    async def save(visit: Visit) -> Answer:
        record = _found(visit, sheet)
        typed = typed_of(sheet, record) | given_of(sheet, visit.form)
        typed |= {part.name: typed_of(sheet, record)[part.name] for part in sheet.parts if part.fixed}
        version = visit.form.get("version", "")
        wanted = int(version) if version.isascii() and version.isdigit() else ANY - 1
        try:
            body = _form(sheet, typed)
            path = {"id": record.id}
            await shop.replacer(sheet.kind)(visit.call(body=body, path=path, version=wanted))
        except RefusedError as error:
            return _page(visit, sheet, typed, error.problems, record=record, status=422)
        except ChangedError:
            return _page(visit, sheet, typed, record=record, status=412)
        return Redirect(to=_back(visit, sheet, said="saved"))

    return save


def deleted_of(sheet: Sheet) -> Handler:
    async def delete(visit: Visit) -> Answer:
        record = _found(visit, sheet)
        await shop.deleter(sheet.kind)(visit.call(path={"id": record.id}))
        return Redirect(to=_back(visit, sheet, said="saved"))

    return delete


def _found(visit: Visit, sheet: Sheet) -> ShopRecord:
    if sheet is COMPANY:
        return visit.shop
    found = KINDS[sheet.kind].find(visit.catalog, visit.shop.id, visit.path["id"])
    if found is None:
        raise NotThereError
    return found


def _form(sheet: Sheet, typed: Typed) -> Form:
    """Raises RefusedError."""
    given, problems = built(sheet, typed)
    if problems:
        raise RefusedError(problems)
    return read(sheet.form, msgspec.to_builtins(given))


# --- the form


def _page(
    visit: Visit,
    sheet: Sheet,
    typed: Typed,
    problems: Sequence[Problem] = (),
    *,
    record: ShopRecord | None = None,
    key: str = "",
    status: int = 200,
) -> Page:
    words, fields = visit.words, Fields(visit.words, problems)
    hidden = {"version": str(record.version)} if record is not None else {"key": key}
    id_ = "" if record is None else record.id
    form = h(
        "form",
        visit.csrf(),
        [h("input", type="hidden", name=name, value=value) for name, value in hidden.items()],
        [_part(fields, part, typed) for part in sheet.parts if record is None or not part.fixed],
        h("p", h("button", words("save")), " ", h("a", words("back"), href=_back(visit, sheet))),
        method="post",
        action=_action(visit, sheet, id_),
    )
    body = [fields.summary(), form]
    if status == 412:
        body.insert(0, notice(words("changed_meanwhile"), wrong=True))
    if record is not None and sheet is not COMPANY:
        gone = h("button", words("delete"), class_="danger")
        action = _action(visit, sheet, id_, "delete")
        body.append(h("form", visit.csrf(), gone, method="post", action=action))
    title = words(f"settings.one.{sheet.kind}") + (f": {id_}" if id_ and sheet is not COMPANY else "")
    at = "hours" if sheet is LOCATION else "settings"
    return Page(title=title, body=[one for one in body if one is not None], status=status, at=at)


def _part(fields: Fields, part: Part, typed: Typed) -> Html:
    words, name = fields.words, part.name
    value = typed.get(name, "")
    match part.sort:
        case Sort.CHECK:
            return fields.check(name, value == "yes")
        case Sort.CHOICE:
            return fields.choice(name, {one: words(f"{part.family}.{one}") for one in part.options}, value)
        case Sort.LINES:
            area = h("textarea", "\n" + value, id=name, name=name, rows=3, **fields.told(name))
            return fields.wrapped(name, area)
        case Sort.NUMBER:
            number = h("input", type="number", min=0, id=name, name=name, value=value, **fields.told(name))
            return fields.wrapped(name, number)
        case Sort.WEEK:
            days = [_plain(fields, day, words.weekday(number), typed) for number, day in enumerate(WEEKDAYS)]
            hint = h("p", h("small", words("field.hours.hint")))
            closed = _plain(fields, CLOSED, words("closed_dates"), typed)
            legend = h("legend", words("menu.hours"))
            return h("fieldset", legend, hint, days, closed, id="hours.weekdays")
        case Sort.NAMES:
            names = [
                _plain(fields, f"{name}.{tag}", LANGUAGES.get(tag, tag), typed)
                for tag in languages_of(typed, name)
            ]
            missing = [one for one in fields.problems if one.field == name]
            wrong = Fields(words, missing).wrong(name)
            return h("fieldset", h("legend", words("field.name")), names, wrong, id=name)
        case _:
            return fields.text(name, value, maxlength=1000)


def _plain(fields: Fields, name: str, label: str, typed: Typed) -> Html:
    """A line of text with a label of its own."""
    control = h(
        "input",
        type="text",
        id=name,
        name=name,
        value=typed.get(name, ""),
        maxlength=1000,
        **fields.told(name),
    )
    return h("div", h("label", label, for_=name), control, fields.wrong(name), class_="field")


STATUS_PAGES = (new_of(STATUS), created_of(STATUS), shown_of(STATUS), saved_of(STATUS), deleted_of(STATUS))
LOCATION_PAGES = (
    new_of(LOCATION),
    created_of(LOCATION),
    shown_of(LOCATION),
    saved_of(LOCATION),
    deleted_of(LOCATION),
)
COMPANY_PAGES = (shown_of(COMPANY), saved_of(COMPANY))
