"""No request reaches another company's data: every route that the application lists, by others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web

from console.api.calls import PREFIX, Route
from console.api.doors import Doors
from console.api.repeats import Repeats
from console.api.routes import ROUTES
from console.api.server import Console
from schemas.records import Role
from tests.console.api.conftest import MARK, RIVAL, Spot
from tests.console.api.requests import Request, requests_about
from tests.support.shop import C

WITHOUT_COMPANY = {"log_in", "who_am_i", "log_out", "list_companies", "describe"}
"""What these show is looked at one by one, below."""


def listed(spot: Spot) -> list[tuple[str, str, str]]:
    """Method, path and name of all that the application serves."""

    async def ask() -> list[tuple[str, str, str]]:
        doors, repeats = Doors(spot.desk.people, time.monotonic), Repeats(None)
        application: web.Application = Console(spot.desk, doors, repeats, lambda: None).application()
        routes = [
            (route.method, route.resource.canonical, route.name or "")
            for route in application.router.routes()
            if route.resource is not None
        ]
        repeats.close()
        return routes

    return asyncio.run(ask())


def each(spot: Spot, company: str) -> Iterator[tuple[str, str, str, Request]]:
    requests = requests_about(company, spot)
    for method, path, name in listed(spot):
        yield method, path, name, requests[name]  # KeyError: a new route; give it a request


def test_the_table_is_what_is_served(shared: Spot) -> None:
    table = {(route.method, PREFIX + route.path, route.name) for route in ROUTES}
    described = {(method, PREFIX + "/openapi.json", "describe") for method in ("GET", "HEAD")}
    assert set(listed(shared)) == table | described
    assert set(requests_about(C, shared)) >= {name for _, _, name in listed(shared)}


@pytest.mark.parametrize("who", ["viewer", "editor", "admin", ""])
def test_every_route_of_another_company_is_not_there(shared: Spot, who: str) -> None:
    nowhere = shared.get("/companies/nowhere/rules").body
    before = dict(shared.desk.index.followers["audit"].positions)
    for method, path, name, request in each(shared, RIVAL):
        answer = request.send(shared, method, path, RIVAL, who)
        assert MARK.encode() not in answer.body, name
        assert b"Bearer" not in answer.body, name
        if "{company}" in path:
            assert answer.status == (404 if who else 401), (name, answer)
            if who:
                # Word for word what is said of a company that does not exist.
                assert answer.body == nowhere, name
        else:
            assert name in WITHOUT_COMPANY
    assert dict(shared.desk.index.followers["audit"].positions) == before


def test_ids_of_another_company_are_nothing_in_ones_own(shared: Spot) -> None:
    """Its ids in our paths, its references in our records."""
    for method, path, name, request in each(shared, RIVAL):
        if "{id}" in path:
            answer = request.send(shared, method, path, C, "admin")
            assert MARK.encode() not in answer.body.replace(request.path["id"].encode(), b""), name
            if name == "get_feed":
                assert answer.json == {"items": [], "next": None}
            else:
                assert answer.status in (404, 422), (name, answer)
    rule: dict[str, Any] = {
        "kind": "notification",
        "entity": "order",
        "trigger": "created",
        "channel": "email",
        "template_id": "t-zz",
        "mailbox_id": "gm-zz",
        "locations": ["north-zz"],
    }
    answer = shared.call("POST", f"/companies/{C}/rules", rule, who="admin")
    assert answer.fields == [
        ("template_id", "unknown"),
        ("mailbox_id", "unknown"),
        ("locations[0]", "unknown"),
    ]


ROLES: dict[str, Role | None] = {
    "get_company": Role.VIEWER,
    "replace_company": Role.ADMIN,
    "bulk_rules": Role.EDITOR,
    "weigh_rule": Role.EDITOR,
    "send_test_message": Role.EDITOR,
    "list_suppressions": Role.VIEWER,
    "add_suppression": Role.ADMIN,
    "find_suppression": Role.ADMIN,
    "lift_suppression": Role.ADMIN,
    "list_deliveries": Role.VIEWER,
    "get_delivery": Role.VIEWER,
    "get_feed": Role.VIEWER,
    "list_pending": Role.VIEWER,
    "count_pending": Role.VIEWER,
    "get_traffic": Role.VIEWER,
    "list_audit": Role.EDITOR,
    **{
        f"{verb}_{name}": Role.EDITOR
        for verb in ("create", "replace", "delete")
        for name in ("rule", "template")
    },
    **{
        f"{verb}_{name}": Role.ADMIN
        for verb in ("create", "replace", "delete")
        for name in ("location", "status", "mailbox")
        if (verb, name) != ("create", "mailbox")
    },
    **{f"get_{name}": Role.VIEWER for name in ("rule", "template", "location", "status", "mailbox")},
    **{f"list_{name}": Role.VIEWER for name in ("rules", "templates", "locations", "statuses", "mailboxes")},
    **dict.fromkeys(WITHOUT_COMPANY),
}
"""Who may do what, once more: a route is added here by somebody who has thought about it."""


def test_every_route_asks_for_its_role(spot: Spot) -> None:
    """In the order of roles, so that what a lower one may not do is still there for the higher."""
    by_name: dict[str, Route] = {route.name: route for route in ROUTES}
    ranks = list(Role)
    for role in ranks:
        for method, path, name, request in each(spot, C):
            needed = ROLES[name]
            if needed is None:
                continue
            assert by_name[name].role is needed
            answer = request.send(spot, method, path, C, role.value)
            if ranks.index(role) < ranks.index(needed):
                assert answer.status == 403, (name, role, answer)
                assert f"needs the role {needed.value}" in answer.json["detail"]
            else:
                # A record that a lower role was allowed to delete is gone.
                lower_deleted = role is not needed or method == "DELETE"
                good = {200, 201, 204, 404, 409} if lower_deleted else {200, 201, 409}
                if name == "send_test_message":
                    good = {422}  # these consoles have no provider
                assert answer.status in good, (name, role, answer)


def test_who_has_every_company_sees_those_that_are(shared: Spot) -> None:
    assert shared.get(f"/companies/{RIVAL}", who="owner").json["name"] == MARK
    assert shared.get("/companies/nowhere", who="owner").status == 404
    assert shared.get(f"/companies/{RIVAL}", who="other").status == 200
    assert shared.get(f"/companies/{C}", who="other").status == 404
