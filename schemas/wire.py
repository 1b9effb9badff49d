"""Avro as it travels: Confluent's five-byte header, and schemas prepared for fastavro.

The header is one zero byte and the schema id, four bytes big-endian
(https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format).
A value is read with the schema that it was *written* with and then mapped to our record by field name,
which is also how Avro resolves one schema to another; fastavro's own resolution is slower.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import fastavro

from schemas.contracts import LEADING
from schemas.debezium import is_envelope
from schemas.errors import DecodeError

MAGIC = 0
HEADER = 5
JSON_START = ord("{")


def header(schema_id: int) -> bytes:
    """The five bytes before the Avro data. ValueError when the id does not fit."""
    if not 0 <= schema_id < 1 << 32:
        raise ValueError(f"{schema_id} is not a schema id")
    return b"\0" + schema_id.to_bytes(4, "big")


def schema_id_of(raw: bytes) -> int | None:
    """The id in the header, or None where ``raw`` does not begin with one."""
    if len(raw) < HEADER or raw[0] != MAGIC:
        return None
    return int.from_bytes(raw[1:HEADER], "big")


def bare(schema: Any) -> Any:
    """``schema`` without logical types and documentation: times stay integers, and reading is faster."""
    if isinstance(schema, list):
        return [bare(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    dropped = {"logicalType", "precision", "scale", "doc", "connect.name", "connect.parameters"}
    kept = {
        k: bare(v) if k in ("type", "items", "values") else v for k, v in schema.items() if k not in dropped
    }
    if "fields" in kept:
        kept["fields"] = [bare(field) for field in kept["fields"]]
    if set(kept) == {"type"} and isinstance(kept["type"], str | dict | list):
        return kept["type"]
    return kept


class WriterSchema:
    """A schema that values were written with, prepared once per schema id.

    ``prefix`` reads only the leading facts of a change and is None where the writer has other leading
    fields or another order; then the whole record is read. ``envelope`` marks Debezium's.
    """

    __slots__ = ("envelope", "full", "prefix")

    def __init__(self, text: str) -> None:
        """``text`` is the schema's JSON. DecodeError ``unknown_schema`` when it is not an Avro record."""
        try:
            schema = bare(json.loads(text))
            names = [field["name"] for field in schema["fields"]]
            self.full: Any = fastavro.parse_schema(schema)
            self.prefix: Any = None
            if tuple(names[: len(LEADING)]) == LEADING:
                self.prefix = fastavro.parse_schema({**schema, "fields": schema["fields"][: len(LEADING)]})
        except Exception as error:
            raise DecodeError("unknown_schema", f"the schema can't be parsed: {error}") from error
        self.envelope = is_envelope(names)


def read(raw: bytes, schema: Any) -> Any:
    """The record after the header, by field name. DecodeError ``undecodable``, whatever the bytes are."""
    stream = BytesIO(raw)
    stream.seek(HEADER)
    try:
        return fastavro.schemaless_reader(stream, schema, None)
    except Exception as error:
        raise DecodeError(
            "undecodable", f"the bytes do not fit their schema ({type(error).__name__})"
        ) from error


def read_leading(raw: bytes, schema: Any) -> tuple[dict[str, Any], str]:
    """As many leading fields as the bytes have, and the name of the first that can't be read (empty: all can,
    or there is no first). For people who look at a broken record."""
    for count in range(len(schema["fields"]), 0, -1):
        leading = fastavro.parse_schema({**schema, "fields": schema["fields"][:count]})
        try:
            found = read(raw, leading)
        except DecodeError:
            continue
        rest = schema["fields"][count:]
        return found, rest[0]["name"] if rest else ""
    return {}, schema["fields"][0]["name"] if schema["fields"] else ""


def write(head: bytes, schema: Any, data: Mapping[str, Any]) -> bytes:
    """``head`` followed by ``data`` in Avro. Raises what fastavro raises: our own records always fit."""
    stream = BytesIO()
    stream.write(head)
    # A tuple is a list here; fastavro would take one in a union for (branch, value).
    fastavro.schemaless_writer(stream, schema, data, disable_tuple_notation=True)
    return stream.getvalue()
