"""Requests made from the API's own description, good and nearly good: none may fail on our side, and every
answer is one that is described."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.console.api.conftest import Answer, Spot, segment
from tests.console.api.requests import requests_about
from tests.console.api.test_description import DESCRIPTION
from tests.support.json_schema import misfits, parameters, resolved, values
from tests.support.shop import C

OPERATIONS = [
    (method.upper(), path, operation)
    for path, operations in DESCRIPTION["paths"].items()
    for method, operation in operations.items()
    if operation["operationId"] != "log_in"  # each try costs scrypt's work, and locks
]

KNOWN = ("rem", "born", "t", "when", "north", "south", "ready", "gm", "en", "pl", C, "Europe/Warsaw", "EUR")
TEXTS = st.one_of(
    st.sampled_from(KNOWN),
    st.sampled_from(
        ("", " ", "\0", "\ud800", "a/b", "..", "%2F", "é" * 300, "{{ customer.name }}", "'--", "*")
    ),
    st.text(max_size=20),
)
EXAMPLES = 8
"""Of each operation."""


def test_a_misfit_is_noticed() -> None:
    rule = {"$ref": "#/components/schemas/RuleView"}
    (first, *_) = misfits({"id": 1}, rule, DESCRIPTION)
    assert "missing" in first
    assert list(misfits({"items": [], "next": 5}, {"$ref": _paged("RuleView")}, DESCRIPTION))
    assert list(misfits({"items": [{}], "next": None}, {"$ref": _paged("RuleView")}, DESCRIPTION))
    assert not list(misfits({"items": [], "next": None}, {"$ref": _paged("RuleView")}, DESCRIPTION))


def _paged(name: str) -> str:
    schema = DESCRIPTION["paths"]["/api/v1/companies/{company}/rules"]["get"]["responses"]["200"]
    reference: str = schema["content"]["application/json"]["schema"]["$ref"]
    assert name in reference
    return reference


@pytest.mark.parametrize(
    ("method", "path", "operation"), OPERATIONS, ids=[each[2]["operationId"] for each in OPERATIONS]
)
def test_no_request_fails_here(shared: Spot, method: str, path: str, operation: dict[str, Any]) -> None:
    good = requests_about(C, shared)[operation["operationId"]]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def attempt(data: st.DataObject) -> None:
        target = path.removeprefix("/api/v1")
        for name in parameters(path):
            known = {"company": C, **good.path}[name]
            rarely = 20 if name == "company" else 4
            rare = data.draw(st.integers(1, rarely)) == rarely
            text = data.draw(TEXTS, name) if rare else known
            target = target.replace(f"{{{name}}}", _encoded(text) or "%20")
        query: dict[str, Any] = {}
        headers: dict[str, str] = {}
        for each in operation["parameters"]:
            if each["in"] == "query" and data.draw(st.integers(0, 3)) == 0:
                query[each["name"]] = data.draw(values(each["schema"], DESCRIPTION, TEXTS), each["name"])
            elif each["name"] == "If-Match":
                headers["If-Match"] = data.draw(st.sampled_from(("*", '"1"', '"9"', "x", "")), "If-Match")
            elif each["name"] == "Idempotency-Key":
                headers["Idempotency-Key"] = data.draw(st.sampled_from(("", "one", "two")), "key")
        if query:
            texts = {name: _text(value) for name, value in query.items()}
            target += "?" + urlencode(texts, errors="surrogatepass")
        raw = None
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            raw = json.dumps(data.draw(bodies(schema, good.body), "body")).encode()
        answer = shared.call(method, target, raw=raw, who="owner", headers=headers)
        check(answer, operation)

    attempt()


def bodies(schema: dict[str, Any], good: Any) -> st.SearchStrategy[Any]:
    """A good one with up to three fields drawn anew, and whatever fits the schema or nearly does."""
    properties = resolved(schema["$ref"], DESCRIPTION)["properties"]
    drawn = {name: values(each, DESCRIPTION, TEXTS) for name, each in properties.items()}
    fields = st.lists(st.sampled_from(sorted(drawn)), max_size=3, unique=True)
    changed = fields.flatmap(lambda names: st.fixed_dictionaries({name: drawn[name] for name in names}))
    mixed = changed.map(lambda fields: {**good, **fields})
    return st.one_of(mixed, mixed, mixed, values(schema, DESCRIPTION, TEXTS))


def check(answer: Answer, operation: dict[str, Any]) -> None:
    assert answer.status < 500, answer
    responses = operation["responses"]
    assert str(answer.status) in responses, answer
    described = responses[str(answer.status)].get("content")
    if described is None:
        assert answer.body == b""
        return
    (media,) = described
    assert answer.headers["Content-Type"].startswith(media)
    assert list(misfits(answer.json, described[media]["schema"], DESCRIPTION)) == []


def _encoded(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="") if text not in (".", "..") else segment(".x")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
