"""Every page, by others and by lower roles: what the API's tests do, for the routes of the page."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiohttp import web

from console.api.doors import Doors
from console.api.repeats import Repeats
from console.api.server import Console
from console.web.routes import ROUTES
from console.web.site import add_page
from schemas.records import Channel, EntityKind, Role, Trigger
from streams.domain.catalog import suppression_id
from streams.domain.ids import address_hash
from streams.settings import Settings
from tests.console.api.conftest import MARK, RIVAL, Spot
from tests.console.web.conftest import Browser, Enter
from tests.console.web.test_markup import HOSTILE
from tests.support.shop import C, notification

OPEN = {"home", "login", "log_in", "language", "come_back"}
ALL = {"log_out", "companies", "finish_mailbox"}
READ = {
    "rules",
    "mailboxes",
    "templates",
    "preview",
    "template",
    "find_feed",
    "feed",
    "pending",
    "deliveries",
    "delivery",
    "channels",
    "hours",
}
WRITE = {
    "connect_mailbox",
    "create_rule",
    "new_rule",
    "bulk",
    "rule",
    "save_rule",
    "delete_rule",
    "create_template",
    "new_template",
}
WRITE |= {"save_template", "delete_template", "audit"}
READ |= {"settings", "statuses", "suppressions"}
ADMIN = {"company", "save_company", "add_suppression", "lift_suppression"}
ADMIN |= {
    f"{verb}{one}" for verb in ("new_", "create_", "", "save_", "delete_") for one in ("status", "location")
}
ASSETS = {"page_style.css", "page_page.js", "page_icon.svg"}
"""A route is added here by somebody who has thought about it."""


def listed(place: Spot) -> list[tuple[str, str, str]]:
    """Method, path and name of all pages that the application serves."""

    async def ask() -> list[tuple[str, str, str]]:
        doors, repeats = Doors(place.desk.people, time.monotonic), Repeats(None)
        console = Console(place.desk, doors, repeats, lambda: None, page=add_page)
        application: web.Application = console.application()
        routes = [
            (route.method, route.resource.canonical, route.name or "")
            for route in application.router.routes()
            if route.resource is not None and not route.resource.canonical.startswith("/api/")
        ]
        repeats.close()
        return routes

    return asyncio.run(ask())


def suppression_of(company: str) -> str:
    """By which it is known to consoles whose hash key is the settings' own."""
    key = Settings().hash_key.reveal().encode()
    return address_hash(key, company, suppression_id(Channel.SMS, "+48501111333"))


def address(path: str, company: str) -> str:
    """About something that is there."""
    tail = "-zz" if company == RIVAL else ""
    thing = "t" if "/templates/" in path else "rem"
    for plural, one in (("statuses", "ready"), ("locations", "north")):
        if f"/{plural}/" in path:
            thing = one
    if "/suppressions/" in path:
        thing, tail = suppression_of(company), ""
    if "/deliveries/" in path:
        thing, tail = ("f" if company == RIVAL else "0") + f"{1:031x}", ""
    if "/feed/" in path:
        thing, tail = f"{MARK}-A-1" if company == RIVAL else "A-1", ""
    return path.format(company=company, id=thing + tail, kind="appointment")


def names(routes: list[tuple[str, str, str]]) -> set[str]:
    return {name.removeprefix("page_") for _, _, name in routes if name not in ASSETS}


def test_the_table_is_what_is_served(place: Spot) -> None:
    assert names(listed(place)) == {route.name for route in ROUTES} == OPEN | ALL | READ | WRITE | ADMIN
    roles = {route.name: (route.role, route.open) for route in ROUTES}
    assert {name for name, (_, is_open) in roles.items() if is_open} == OPEN
    assert {name for name, (role, is_open) in roles.items() if role is None and not is_open} == ALL
    assert {name for name, (role, _) in roles.items() if role is Role.VIEWER} == READ
    assert {name for name, (role, _) in roles.items() if role is Role.EDITOR} == WRITE
    assert {name for name, (role, _) in roles.items() if role is Role.ADMIN} == ADMIN


@pytest.mark.parametrize("who", ["viewer", "editor", "admin", ""])
def test_every_page_of_another_company_is_not_there(place: Spot, enter: Enter, who: str) -> None:
    browser = enter(who) if who else Browser(place)
    if who:
        browser.go("/companies")
    csrf = browser.hidden("csrf") if who else ""
    nowhere = browser.send("GET", "/c/nowhere/rules")
    before = dict(place.desk.index.followers["audit"].positions)
    for method, path, name in listed(place):
        if "{company}" not in path or name in ASSETS or method == "HEAD":
            continue
        form = {"csrf": csrf} if method == "POST" else None
        answer = browser.send(method, address(path, RIVAL), form)
        assert MARK.encode() not in answer.body.replace(MARK.encode() + b"-A-1", b""), name
        if who:
            assert answer.status == 404, (name, answer)
            told = answer.body.replace(address(path, RIVAL).encode(), b"/c/nowhere/rules")
            assert told == nowhere.body, name
        else:
            assert answer.status == 303, name
            assert answer.headers["Location"].startswith("/login"), name
    assert MARK not in browser.go("/companies")
    assert dict(place.desk.index.followers["audit"].positions) == before


def test_ids_of_another_company_are_nothing_in_ones_own(place: Spot, enter: Enter) -> None:
    browser = enter("admin")
    browser.go("/companies")
    csrf = browser.hidden("csrf")
    for method, path, name in listed(place):
        if "{id}" in path and method != "HEAD":
            target = address(path, RIVAL).replace(f"/c/{RIVAL}/", f"/c/{C}/")
            answer = browser.send(method, target, {"csrf": csrf} if method == "POST" else None)
            assert answer.status == (200 if name == "page_feed" else 404), (name, answer)
            assert MARK.encode() not in answer.body.replace(f"{MARK}-A-1".encode(), b""), name


def test_every_page_asks_for_its_role_and_changes_need_the_sessions_field(place: Spot, enter: Enter) -> None:
    viewer, editor, admin = enter("viewer"), enter("editor"), enter("admin")
    for one in (viewer, editor, admin):
        one.go("/companies")
    before = dict(place.desk.index.followers["audit"].positions)
    for method, path, name in listed(place):
        bare = name.removeprefix("page_")
        if method == "HEAD" or name in ASSETS:
            continue
        target = address(path, C)
        able = admin if bare in ADMIN else editor
        if method == "POST" and bare not in OPEN:
            for form in ({}, {"csrf": viewer.hidden("csrf")}, {"csrf": "ł"}):
                assert able.send("POST", target, form).status == 403, (name, form)
        if method == "POST" and bare != "log_in":
            foreign = {"Sec-Fetch-Site": "cross-site"}
            assert able.send("POST", target, {"csrf": able.hidden("csrf")}, foreign).status == 403, name
            typed = {"Content-Type": "text/plain"}
            assert able.send("POST", target, {"csrf": able.hidden("csrf")}, typed).status == 415, name
        if bare in READ | WRITE:
            given = {"csrf": viewer.hidden("csrf")} if method == "POST" else None
            status = viewer.send(method, target, given).status
            assert status == (403 if bare in WRITE else 200), name
        if bare in ADMIN:
            for one in (viewer, editor):
                given = {"csrf": one.hidden("csrf")} if method == "POST" else None
                assert one.send(method, target, given).status == 403, name
        if method == "GET" and bare in READ | WRITE | ADMIN:
            able.go(target)
            assert able.status == 200, name
            assert "script" in able.page
    assert dict(place.desk.index.followers["audit"].positions) == before


def test_viewers_are_shown_nothing_that_they_may_not_do(enter: Enter) -> None:
    viewer = enter("viewer")
    for page in ("rules", "templates", "templates/t", "hours", "settings/statuses", "settings/suppressions"):
        shown = viewer.go(f"/c/{C}/{page}")
        assert shown.count('method="post"') == 2, page  # signing out, and the language


def test_headers(place: Spot, enter: Enter) -> None:
    browser = enter("viewer")
    answer = browser.send("GET", f"/c/{C}/rules")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert browser.send("GET", "/static/style.css").headers["Cache-Control"] == "max-age=300"
    for inline in ("<script>", " onclick", " style="):
        assert inline.encode() not in answer.body


def test_hostile_names_stay_names(place: Spot, enter: Enter) -> None:
    evil = [notification(Trigger.CREATED, kind, id_=f"evil-{kind}", name=HOSTILE) for kind in EntityKind]
    place.publish(*evil)
    place.until(lambda: place.desk.catalog.rule(C, "evil-lead") is not None)
    browser = enter("editor")
    for kind in EntityKind:
        for page in (f"rules?entity={kind}", f"rules/evil-{kind}"):
            shown = browser.go(f"/c/{C}/{page}")
            assert "alert(&#x27;x&#x27;)" in shown, page
            assert "<script>" not in shown, page
    for query in (
        "rules?q=",
        "deliveries?id=",
        "deliveries?entity_id=",
        "pending?location_id=",
        "pending?day=",
    ):
        browser.go(f"/c/{C}/{query}%22%3E%3Cscript%3E")
        assert "<script>" not in browser.page, query
    browser.go(f"/c/{C}/feed/appointment/%22%3E%3Cscript%3E")
    assert "<script>" not in browser.page
    assert browser.send("GET", f"/c/{C}/rules?q=%ff").status in (200, 400)
