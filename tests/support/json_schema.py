"""As much of JSON Schema as msgspec writes: what does not fit a schema, and values that do (or nearly)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from hypothesis import strategies as st

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}
_KNOWN = {
    *("$ref", "anyOf", "enum", "type", "title", "description", "default", "properties", "required", "format"),
    *("additionalProperties", "items", "prefixItems", "minItems", "maxItems", "minimum", "maximum"),
    *("minLength", "maxLength", "pattern", "propertyNames", "minProperties", "maxProperties"),
}


def misfits(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], at: str = "$") -> Iterator[str]:
    """Each with its place. Raises AssertionError for a word of JSON Schema that is not known here."""
    assert schema.keys() <= _KNOWN, schema
    if "$ref" in schema:
        yield from misfits(value, resolved(schema["$ref"], root), root, at)
        return
    if "anyOf" in schema:
        found = [list(misfits(value, each, root, at)) for each in schema["anyOf"]]
        if all(found):
            yield min(found, key=len)[0]
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is none of {schema['enum']}"
    kind = schema.get("type")
    if kind is not None and (
        not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")
    ):
        yield f"{at}: {value!r} is no {kind}"
    elif kind == "string":
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            yield f"{at}: {value!r} is too short or long"
    elif kind == "integer":
        if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            yield f"{at}: {value} is out of range"
    elif kind == "array":
        for number, each in enumerate(value):
            yield from misfits(each, schema.get("items") or {}, root, f"{at}[{number}]")
    elif kind == "object":
        yield from _of_object(value, schema, root, at)


def _of_object(
    value: dict[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any], at: str
) -> Iterator[str]:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{at}: {name} is missing"
    more = schema.get("additionalProperties", False)
    for name, each in value.items():
        inner = properties.get(name, more)
        if inner is False:
            yield f"{at}: {name} is not described"
        else:
            yield from misfits(each, {} if inner is True else inner, root, f"{at}.{name}")


def resolved(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    node: Any = root
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    found: Mapping[str, Any] = node
    return found


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def values(schema: Mapping[str, Any], root: Mapping[str, Any], texts: st.SearchStrategy[str]) -> Any:
    """A strategy of values, one in some not fitting at some place. ``texts``: for strings without a form."""
    return st.one_of(*[_values(schema, root, texts)] * 12, ANYTHING)


def _values(schema: Mapping[str, Any], root: Mapping[str, Any], texts: st.SearchStrategy[str]) -> Any:
    if "$ref" in schema:
        return values(resolved(schema["$ref"], root), root, texts)
    if "anyOf" in schema:
        return st.one_of(*(_values(each, root, texts) for each in schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "string":
            if schema.get("format") == "date":
                return st.dates(min_value=date(1, 1, 1)).map(str)
            return texts
        case "integer":
            least, most = schema.get("minimum", -(2**63)), schema.get("maximum", 2**63)
            return st.integers(least, most) | st.integers(max(least, 0), min(most, 100))
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "array":
            inner = values(schema.get("items") or {}, root, texts)
            if schema.get("minItems", 0) == schema.get("maxItems"):
                return st.lists(inner, min_size=schema["minItems"], max_size=schema["maxItems"])
            return st.lists(inner, max_size=3)
        case "object" if "properties" in schema:
            parts = {name: values(each, root, texts) for name, each in schema["properties"].items()}
            required = {name: parts[name] for name in schema.get("required", ())}
            optional = {name: each for name, each in parts.items() if name not in required}
            return st.fixed_dictionaries(required, optional=optional)
        case "object":
            inner = schema.get("additionalProperties") or {}
            names = texts if not isinstance(inner, bool) else st.text(max_size=5)
            return st.dictionaries(names, values({} if inner is True else inner, root, texts), max_size=3)
        case _:
            return ANYTHING


def parameters(path: str) -> list[str]:
    return re.findall(r"\{(\w+)\}", path)
