"""Records to bytes and back.

A value is either Avro in Confluent's wire format (first byte 0) or JSON (first byte ``{``); both carry the
same fields under the same checks. Bytes never raise anything but ``DecodeError`` (they are wrong, now and
always) and ``UnknownSchemaId`` (fetch the schema and decode again); only ``read_changes`` awaits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from schemas import wire
from schemas.checks import check_change, check_record, refusal, to_record, without_nulls
from schemas.contracts import BY_RECORD, CHANGES, CONTRACTS
from schemas.debezium import change_data, unwrap
from schemas.errors import DecodeError, UnknownSchemaId
from schemas.flat import flat_writer
from schemas.records import Change, EntityKind, Facts, Record
from schemas.registry import Registry

RecordT = TypeVar("RecordT", bound=Record)

_CHANGE_JSON = msgspec.json.Decoder(Change)
_JSON = {record: msgspec.json.Decoder(record) for record in BY_RECORD}
_OWN = {name: wire.WriterSchema(contract.text).full for name, contract in CONTRACTS.items()}
_FLAT = {record: flat_writer(_OWN[name]) for record, name in BY_RECORD.items()}

Decoded = Change | DecodeError | None
"""One entry of a decoded batch; None is a tombstone (a null value), which says nothing about the entity."""


class Codec:
    """Encodes and decodes with one registry. Not thread-safe; one per event loop."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._writers: dict[bytes, wire.WriterSchema] = {}  # by the five bytes of the header
        self._headers: dict[str, bytes] = {}

    # --- changes of entities

    def decode_changes(self, kind: EntityKind, values: Sequence[bytes | None]) -> list[Decoded]:
        """The changes of a batch in order, without their details where those are Avro.

        A value that is wrong becomes its DecodeError, and the rest goes on. Raises UnknownSchemaId with
        *all* the ids in the batch that are yet to be fetched; nothing is decoded then.
        """
        decode = self._facts
        lead = kind is EntityKind.LEAD
        decoded: list[Decoded] = []
        add = decoded.append
        try:
            for raw in values:
                if raw is None:
                    add(None)
                    continue
                try:
                    change = decode(raw)
                    add(_of_lead(change) if lead else change)
                except DecodeError as error:
                    add(error.with_traceback(None))
        except UnknownSchemaId:
            raise UnknownSchemaId(self._unknown(values)) from None
        return decoded

    async def read_changes(self, kind: EntityKind, values: Sequence[bytes | None]) -> list[Decoded]:
        """``decode_changes``, fetching schemas where need be. RegistryError when that is not possible."""
        while True:
            try:
                return self.decode_changes(kind, values)
            except UnknownSchemaId as unknown:
                await self._registry.fetch(unknown.ids)

    def decode_change_value(self, kind: EntityKind, raw: bytes, *, full: bool = True) -> Change:
        """One change, with its details if ``full``. DecodeError or UnknownSchemaId.

        A change whose facts could be read may still have broken details: those who accepted it by its
        facts should be ready for a DecodeError here, and can go on with ``full=False``.
        """
        if not full:
            change = self._facts(raw)
        elif raw[:1] == b"{":
            change = _json_change(raw)
        else:
            writer = self._writer(raw)
            data = wire.read(raw, writer.full)
            change = to_record(change_data(data) if writer.envelope else data, Change)
            check_change(change)
        return _of_lead(change) if kind is EntityKind.LEAD else change

    def encode_change(self, kind: EntityKind, change: Change) -> bytes:
        """The change in Avro. KeyError unless the contract was registered; nothing is checked."""
        return self._encode(CHANGES[kind], change)

    # --- all other records

    def encode(self, record: Record) -> bytes:
        """The record in Avro. KeyError unless its contract was registered; nothing is checked."""
        kind = type(record)
        flat = _FLAT[kind]
        if flat is None:
            return self._encode(BY_RECORD[kind], record)
        return flat.write(self._head(BY_RECORD[kind]), record)

    def decode(self, record: type[RecordT], raw: bytes) -> RecordT:
        """The record in ``raw``, Avro or JSON. DecodeError or UnknownSchemaId."""
        if raw[:1] == b"{":
            return decode_json(record, raw)
        decoded = to_record(wire.read(raw, self._writer(raw).full), record)
        check_record(decoded)
        return decoded

    # --- for people who look at what could not be decoded

    def decode_plain(self, raw: bytes) -> tuple[dict[str, Any], str]:
        """The fields of a JSON object or of an Avro record, unchecked, as far as the bytes have them; and the
        name of the Avro field at which they break off, or nothing. DecodeError or UnknownSchemaId."""
        if raw[:1] == b"{":
            return _plain(raw), ""
        return wire.read_leading(raw, self._writer(raw).full)

    def encode_plain(self, like: bytes, fields: Any) -> bytes:
        """``fields`` in Avro, by the schema that ``like`` was written with, under its id. DecodeError
        ``contract`` where they don't fit that schema; else as ``decode_plain``."""
        schema = self._writer(like).full
        try:
            return wire.write(like[: wire.HEADER], schema, fields)
        except Exception as error:
            schema_id = wire.schema_id_of(like)
            why = f"the value does not fit the schema of the original (id {schema_id}): {error}"
            raise DecodeError("contract", why) from error

    # --- within

    def _facts(self, raw: bytes) -> Change:
        writer = self._writers.get(raw[: wire.HEADER])
        if writer is None:
            if raw[:1] == b"{":
                return _json_change(raw)
            writer = self._writer(raw)
        if writer.prefix is None:
            data = wire.read(raw, writer.full)
            change = to_record(change_data(data) if writer.envelope else data, Change)
        else:
            change = to_record(wire.read(raw, writer.prefix), Change)
        check_change(change)
        return change

    def _writer(self, raw: bytes) -> wire.WriterSchema:
        head = raw[: wire.HEADER]
        writer = self._writers.get(head)
        if writer is None:
            schema_id = wire.schema_id_of(raw)
            if schema_id is None:
                raise DecodeError("undecodable", _not_a_value(raw))
            writer = self._writers[head] = wire.WriterSchema(self._registry.schema(schema_id))
        return writer

    def _unknown(self, values: Iterable[bytes | None]) -> set[int]:
        ids = {wire.schema_id_of(raw) for raw in values if raw is not None} - {None}
        unknown: set[int] = set()
        for schema_id in ids:
            if schema_id is not None:
                try:
                    self._registry.schema(schema_id)
                except UnknownSchemaId:
                    unknown.add(schema_id)
                except DecodeError:
                    continue  # known to be unusable
        return unknown

    def _encode(self, name: str, record: Record) -> bytes:
        return wire.write(self._head(name), _OWN[name], msgspec.to_builtins(record, builtin_types=(bytes,)))

    def _head(self, name: str) -> bytes:
        head = self._headers.get(name)
        if head is None:
            head = self._headers[name] = wire.header(self._registry.ids[name])
        return head


def encode_json(record: Record) -> bytes:
    """The record in JSON, as any client may publish it; bytes are base64."""
    return msgspec.json.encode(record)


def decode_json(record: type[RecordT], raw: bytes) -> RecordT:
    """The record in JSON bytes. DecodeError."""
    decoded: RecordT
    try:
        decoded = _JSON[record].decode(raw)  # type: ignore[assignment] # the table pairs type and decoder
    except msgspec.ValidationError as error:
        if "got `null`" not in str(error):
            raise refusal(error, record) from None
        decoded = _from_plain(without_nulls(_plain(raw)), record)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise DecodeError("undecodable", f"not JSON: {error}") from None
    check_record(decoded)
    return decoded


def decode_json_change(kind: EntityKind, raw: bytes) -> Change:
    """The change in JSON bytes, ours or Debezium's. DecodeError."""
    change = _json_change(raw)
    return _of_lead(change) if kind is EntityKind.LEAD else change


def _json_change(raw: bytes) -> Change:
    try:
        change = _CHANGE_JSON.decode(raw)
    except msgspec.ValidationError as error:
        data = _plain(raw)
        envelope = unwrap(data)
        if envelope is not None:
            change = to_record(change_data(envelope), Change)
        elif "got `null`" in str(error):
            change = _from_plain(without_nulls(data), Change)
        else:
            raise refusal(error, Change) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise DecodeError("undecodable", f"not JSON: {error}") from None
    check_change(change)
    return change


def _plain(raw: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise DecodeError("undecodable", f"not JSON: {error}") from None


def _from_plain(data: Any, record: type[RecordT]) -> RecordT:
    """From JSON's plain data, where bytes are base64 text."""
    try:
        return msgspec.convert(data, record)
    except msgspec.ValidationError as error:
        raise refusal(error, record) from None


def _of_lead(change: Change) -> Change:
    """Leads have no scheduled time: one that is sent is an unknown field, and ignored."""
    before, after = _timeless(change.before), _timeless(change.after)
    if before is change.before and after is change.after:
        return change
    return msgspec.structs.replace(change, before=before, after=after)


def _timeless(facts: Facts | None) -> Facts | None:
    if facts is None or facts.scheduled_at is None:
        return facts
    return msgspec.structs.replace(facts, scheduled_at=None)


def _not_a_value(raw: bytes) -> str:
    if not raw:
        return "the value is empty; a deletion is a change with operation delete"
    if raw[0] == wire.MAGIC:
        return "the value ends within the five bytes of its Avro header"
    return f"the first byte is 0x{raw[0]:02x}, neither Avro in Confluent's wire format (0x00) nor JSON ('{{')"
