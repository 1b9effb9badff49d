"""The .avsc files against the typed records: neither may say what the other doesn't."""

from __future__ import annotations

import types
from collections.abc import Iterator
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from schemas import records as r
from schemas.checks import to_record
from schemas.contracts import BY_RECORD, CHANGES, CONTRACTS, FOLDER, LEADING, TOPICS
from schemas.wire import WriterSchema

_PRIMITIVES = {str: {"string"}, int: {"int", "long"}, bool: {"boolean"}, bytes: {"bytes"}}
_ENUM_AS_TEXT = {r.ClearScope}
"""Avro's symbols are names: an enum with an empty member travels as a string."""


@pytest.fixture(params=sorted(CONTRACTS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_file_has_a_record_and_every_contract_a_topic() -> None:
    assert {path.stem for path in FOLDER.glob("*.avsc")} == set(CONTRACTS)
    assert set(TOPICS.values()) == set(CONTRACTS)


def test_fields_types_nullability_symbols_and_defaults_agree(name: str) -> None:
    named: dict[str, Any] = {}
    schema = CONTRACTS[name].schema
    lead = name == CHANGES[r.EntityKind.LEAD]
    assert list(_differences(CONTRACTS[name].record, schema, named, name, lead)) == []


def _differences(
    record: type[Any], schema: dict[str, Any], named: dict[str, Any], path: str, lead: bool
) -> Iterator[str]:
    named[schema["name"]] = schema
    hints = get_type_hints(record)
    fields = {field["name"]: field for field in schema["fields"]}
    expected = [field for field in record.__struct_fields__ if not (lead and field == "scheduled_at")]
    if list(fields) != expected:
        yield f"{path}: {list(fields)} are not {expected}"
        return
    for known in msgspec.structs.fields(record):
        if known.name not in fields:
            continue
        field = fields[known.name]
        here = f"{path}.{known.name}"
        if not field.get("doc"):
            yield f"{here}: no doc"
        yield from _type(hints[known.name], field["type"], named, here, lead)
        default = known.default if known.default_factory is msgspec.NODEFAULT else known.default_factory()
        if (default is msgspec.NODEFAULT) != ("default" not in field):
            yield f"{here}: one has a default and the other does not"
        elif default is not msgspec.NODEFAULT:
            plain = default.decode() if isinstance(default, bytes) else msgspec.to_builtins(default)
            if msgspec.json.encode(plain) != msgspec.json.encode(field["default"]):
                yield f"{here}: the defaults are {plain!r} and {field['default']!r}"


def _type(hint: Any, schema: Any, named: dict[str, Any], path: str, lead: bool) -> Iterator[str]:
    if isinstance(schema, str) and schema in named:
        schema = named[schema]
    if get_origin(hint) in (Union, types.UnionType):
        (inner,) = [branch for branch in get_args(hint) if branch is not type(None)]
        if not isinstance(schema, list) or schema[0] != "null" or len(schema) != 2:
            yield f"{path}: is not null first"
            return
        yield from _type(inner, schema[1], named, path, lead)
    elif get_origin(hint) is dict:
        yield from _type(get_args(hint)[1], schema["values"], named, path, lead)
    elif get_origin(hint) is tuple:
        yield from _type(get_args(hint)[0], schema["items"], named, path, lead)
    elif hint in _ENUM_AS_TEXT:
        if schema != "string":
            yield f"{path}: is not a string"
    elif issubclass(hint, Enum):
        named[schema["name"]] = schema
        if schema["symbols"] != [member.value for member in hint]:
            yield f"{path}: the symbols are {schema['symbols']}"
    elif issubclass(hint, r.Record):
        yield from _differences(hint, schema, named, path, lead)
    elif (schema["type"] if isinstance(schema, dict) else schema) not in _PRIMITIVES[hint]:
        yield f"{path}: {schema} is not {hint}"


def test_change_contracts_begin_with_the_facts() -> None:
    for name in CHANGES.values():
        fields = [field["name"] for field in CONTRACTS[name].schema["fields"]]
        assert tuple(fields[: len(LEADING)]) == LEADING
        assert WriterSchema(CONTRACTS[name].text).prefix is not None


def test_what_publishers_may_leave_out_has_the_defaults_of_the_records() -> None:
    assert to_record({"company": "a", "customer_id": "c", "version": 1}, r.Customer) == r.Customer(
        company="a", customer_id="c", version=1
    )


def test_embedded_ids_are_distinct_and_fit_the_header() -> None:
    ids = [contract.fingerprint for contract in CONTRACTS.values()]
    assert len(set(ids)) == len(ids)
    assert all(0 < one < 2**31 for one in ids)


def test_each_record_type_has_one_contract() -> None:
    assert len(BY_RECORD) == len(CONTRACTS) - len(CHANGES)
