"""The description of the API (OpenAPI 3.1), made of the table of routes and of the types in it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from console.api.calls import PREFIX, Route
from console.api.doors import COOKIE
from console.api.problems import MEDIA_TYPE, TITLES, ProblemView

_REF = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"\{(\w+)\}")
_JSON = "application/json"


def describe(routes: Sequence[Route]) -> dict[str, Any]:
    types: list[Any] = [ProblemView]
    for route in routes:
        types += [route.query, *(each for each in (route.body, route.answer) if each is not None)]
    types = list(dict.fromkeys(types))
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    by_type = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(PREFIX + route.path, {})[route.method.lower()] = _operation(
            route, by_type, components
        )
    for route in routes:
        components.pop(by_type[route.query]["$ref"].rpartition("/")[2], None)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Carillon",
            "version": "1",
            "description": "Rules, templates and messages of a company. See docs/console.md.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
            },
        },
    }


def statuses(route: Route) -> list[int]:
    """Of refusals that the route may answer with."""
    found = {400, 429, 503}
    if route.path.count("{") or route.query.__struct_fields__:
        found |= {422}
    if not route.open or route.name == "log_in":
        found |= {401}
    if route.role is not None:
        found |= {403, 404}
    elif not route.open and route.unsafe:
        found |= {403}
    if route.body is not None:
        found |= {408, 413, 415, 422}
    if route.role is not None and route.unsafe:
        found |= {409}
    if route.if_match:
        found |= {412, 428}
    return sorted(found)


def _operation(
    route: Route, by_type: Mapping[Any, dict[str, Any]], components: Mapping[str, Any]
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": [
            *_of_path(route),
            *_of_query(components[by_type[route.query]["$ref"].rpartition("/")[2]]),
            *_of_headers(route),
        ],
        "responses": {
            str(route.status): _good(route, by_type),
            **{str(status): _refusal(status, by_type) for status in statuses(route)},
        },
        "security": [] if route.open else [{"token": []}, {"session": []}],
    }
    if route.role is not None:
        operation["description"] = f"For the role {route.role.value} and those above it."
    if route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {_JSON: {"schema": by_type[route.body]}},
        }
    return operation


def _good(route: Route, by_type: Mapping[Any, dict[str, Any]]) -> dict[str, Any]:
    good: dict[str, Any] = {"description": "Done."}
    if route.answer is not None:
        good["content"] = {_JSON: {"schema": by_type[route.answer]}}
    if route.if_match and route.answer is not None:
        good["headers"] = {"ETag": {"schema": {"type": "string"}, "description": "The version."}}
    return good


def _refusal(status: int, by_type: Mapping[Any, dict[str, Any]]) -> dict[str, Any]:
    return {
        "description": TITLES[status] + ".",
        "content": {MEDIA_TYPE: {"schema": by_type[ProblemView]}},
    }


def _of_path(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(route.path)
    ]


def _of_query(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": kind}
        for name, kind in schema.get("properties", {}).items()
    ]


def _of_headers(route: Route) -> list[dict[str, Any]]:
    def header(name: str, required: bool, what: str) -> dict[str, Any]:
        return {
            "name": name,
            "in": "header",
            "required": required,
            "description": what,
            "schema": {"type": "string"},
        }

    found = []
    if route.if_match:
        found.append(header("If-Match", True, "The ETag that was read, or * for whichever."))
    if route.repeatable:
        found.append(header("Idempotency-Key", False, "The same key and body: done once, same answer."))
    if route.unsafe and not route.open:
        found.append(header("X-CSRF-Token", False, "With a cookie: csrf_token of the session."))
    return found
