"""For every route of the API one good request, about one of the two companies. A route without one here fails
the tests that go through all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from console.api.calls import PREFIX
from tests.console.api.conftest import MARK, RIVAL, Answer, Spot, both_companies, segment


@dataclass(frozen=True, slots=True)
class Request:
    body: Any = None
    path: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def send(self, spot: Spot, method: str, template: str, company: str, who: str) -> Answer:
        path = template.removeprefix(PREFIX)
        for name, value in {"company": company, **self.path}.items():
            path = path.replace(f"{{{name}}}", segment(value))
        return spot.call(method, path, self.body, who=who, headers=self.headers)


IF = {"If-Match": "*"}


def requests_about(company: str, spot: Spot) -> dict[str, Request]:
    """By route name. What they change is changed to what it is, or is made under a new name."""
    tail = "-zz" if company == RIVAL else ""
    rule, template, location, status, mailbox = (each + tail for each in ("rem", "t", "north", "ready", "gm"))
    records = {
        (type(each).__name__, each.id): msgspec.to_builtins(each)
        for each in both_companies()
        if hasattr(each, "id")
    }

    def plain(kind: str, id_: str) -> Any:
        return {name: value for name, value in records[kind, id_].items() if name != "secret_ref"}

    def new(kind: str, id_: str) -> Any:
        return {**plain(kind, id_), "id": ""}

    address = {"channel": "email", "address": "pest@mail.example"}
    digit = "f" if company == RIVAL else "0"
    delivery = digit + f"{1:031x}"
    entity = f"{MARK}-A-1" if company == RIVAL else "A-1"
    suppression = spot.desk.index.suppression_name(company, "sms", "+48501111333")  # type: ignore[arg-type]
    found = {
        "log_in": Request({"user": "nobody", "password": "nothing at all"}),
        "who_am_i": Request(),
        "log_out": Request(),
        "list_companies": Request(),
        "get_company": Request(),
        "replace_company": Request(plain("Company", company), headers=IF),
        "bulk_rules": Request({"action": "disable", "items": [{"id": rule}], "dry_run": True}),
        "list_suppressions": Request(),
        "add_suppression": Request(address),
        "find_suppression": Request(address),
        "lift_suppression": Request(path={"id": suppression}),
        "list_deliveries": Request(),
        "get_delivery": Request(path={"id": delivery}),
        "get_feed": Request(path={"kind": "appointment", "id": entity}),
        "list_pending": Request(),
        "count_pending": Request(),
        "get_traffic": Request(),
        "list_audit": Request(),
        "send_test_message": Request({"channel": "email", "language": "en", "text": {"sms": "Hi"}}),
        "describe": Request(),
    }
    for plural, kind, id_ in (
        ("rules", "Rule", rule),
        ("templates", "Template", template),
        ("locations", "Location", location),
        ("statuses", "Status", status),
        ("mailboxes", "Mailbox", mailbox),
    ):
        name = kind.lower()
        found[f"list_{plural}"] = Request()
        found[f"create_{name}"] = Request(new(kind, id_))
        found[f"get_{name}"] = Request(path={"id": id_})
        found[f"replace_{name}"] = Request(plain(kind, id_), {"id": id_}, IF)
        found[f"delete_{name}"] = Request(path={"id": id_}, headers=IF)
    found["weigh_rule"] = found["create_rule"]
    return found
