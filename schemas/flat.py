"""Writing Avro records that have no records, arrays or maps within: timers and the delivery log above all.

The same bytes that fastavro writes (held by a property test over every contract of that kind), in half of
its time: nothing is converted to plain data first, and numbers are mostly looked up.
Encoding: https://avro.apache.org/docs/1.12.0/specification/#binary-encoding
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, cast

_Encoder = Callable[[Any], bytes]


@lru_cache(maxsize=8_192)
def _long(value: int) -> bytes:
    """Zigzag, then seven bits a byte with the lowest first. OverflowError beyond 64 bits."""
    if not -(1 << 63) <= value < 1 << 63:
        raise OverflowError(f"{value} does not fit 64 bits")
    left = value << 1 ^ value >> 63
    raw = []
    while left > 127:
        raw.append(left & 127 | 128)
        left >>= 7
    raw.append(left)
    return bytes(raw)


_LENGTHS = [_long(length) for length in range(1_024)]


def _bytes(value: bytes) -> bytes:
    length = len(value)
    return (_LENGTHS[length] if length < 1_024 else _long(length)) + value


def _string(value: str) -> bytes:
    if not value:
        return b"\0"
    raw = value.encode()
    length = len(raw)
    return (_LENGTHS[length] if length < 1_024 else _long(length)) + raw


_ENCODERS: Mapping[str, _Encoder] = {
    "string": _string,
    "int": _long,
    "long": _long,
    "bytes": _bytes,
    "boolean": {False: b"\0", True: b"\1"}.__getitem__,
}


class FlatWriter:
    """``attributes``: of the record, in the schema's order, with the encoder of each."""

    def __init__(self, attributes: Mapping[str, _Encoder]) -> None:
        self.write: Callable[[bytes, Any], bytes] = _unrolled(attributes)
        """(head, record): ``head`` followed by the record. Nothing is checked: our own records always fit."""


def _unrolled(attributes: Mapping[str, _Encoder]) -> Callable[[bytes, Any], bytes]:
    """One expression with a call for each field, made from the names as dataclasses make their methods: two
    thirds of the time of a loop over them. Only our own contracts come here, never a registry's schemas."""
    if not all(name.isidentifier() for name in attributes):
        raise ValueError(f"not names of fields: {', '.join(attributes)}")
    encoders = {f"write_{name}": encoder for name, encoder in attributes.items()}
    fields = ", ".join(f"write_{name}(record.{name})" for name in attributes)
    source = f"lambda head, record: join((head, {fields}))"
    return cast(
        "Callable[[bytes, Any], bytes]",
        eval(source, {**encoders, "join": b"".join}),  # noqa: S307 - names of our own contracts, see above
    )


def flat_writer(schema: Mapping[str, Any]) -> FlatWriter | None:
    """For a record schema without logical types; None where it is not flat. Two fields at least."""
    types = {field["name"]: field["type"] for field in schema["fields"]}
    encoders = {name: _encoder(type_) for name, type_ in types.items()}
    flat = {name: encoder for name, encoder in encoders.items() if encoder is not None}
    return FlatWriter(flat) if len(flat) == len(types) > 1 else None


def _encoder(type_: Any) -> _Encoder | None:
    if isinstance(type_, str):
        return _ENCODERS.get(type_)  # None also for a type that was named before
    if isinstance(type_, dict):
        if type_["type"] != "enum":
            return None
        return {symbol: _long(index) for index, symbol in enumerate(type_["symbols"])}.__getitem__
    if len(type_) == 2 and type_[0] == "null" and (some := _encoder(type_[1])) is not None:
        return lambda value: b"\0" if value is None else b"\2" + some(value)
    return None
