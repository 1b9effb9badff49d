"""The API's description of itself, and the forms against the records that they become."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from console.api.calls import PREFIX
from console.api.forms import (
    CompanyForm,
    Form,
    LocationForm,
    RuleForm,
    StatusForm,
    TemplateForm,
)
from console.api.openapi import describe
from console.api.routes import ROUTES
from console.api.shop import READ_ONLY
from schemas.records import Company, Location, Record, Rule, Status, Template
from tests.console.api.conftest import Spot

DESCRIPTION = msgspec.json.decode(msgspec.json.encode(describe(ROUTES)))


@pytest.mark.parametrize(
    ("form", "record"),
    [
        (RuleForm, Rule),
        (TemplateForm, Template),
        (LocationForm, Location),
        (StatusForm, Status),
        (CompanyForm, Company),
    ],
)
def test_a_form_has_every_field_of_its_record(form: type[Form], record: type[Record]) -> None:
    """With its default: what is left out means the same as in a shop file."""
    told = {each.name: each for each in msgspec.structs.fields(form)}
    for each in msgspec.structs.fields(record):
        assert each.name in told
        if each.name not in READ_ONLY:
            assert told[each.name].default == each.default or each.default is msgspec.NODEFAULT, each.name


def test_every_route_is_described(shared: Spot) -> None:
    served = shared.call("GET", "/openapi.json")
    assert served.headers["Content-Type"].startswith("application/json")
    assert served.json == DESCRIPTION
    told = {
        (method.upper(), path, operation["operationId"])
        for path, operations in DESCRIPTION["paths"].items()
        for method, operation in operations.items()
    }
    assert told == {(route.method, PREFIX + route.path, route.name) for route in ROUTES}


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    found = references(DESCRIPTION)
    schemas = DESCRIPTION["components"]["schemas"]
    assert found == {f"#/components/schemas/{name}" for name in schemas}
    for name in schemas:
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name), name


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*map(references, node.values()))
    return set().union(*map(references, node)) if isinstance(node, list) else set()
