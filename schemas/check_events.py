"""Would Carillon accept these changes? The core of ``carillon check-events FILE``.

Reads JSON lines (ours or Debezium's, one change a line, perhaps after its Kafka key and a tab, as kcat
writes them with ``-K '\\t'``) or an Avro object container file, and says of each record what was read, or at
which field it breaks the contract. Nothing else is contacted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import fastavro

from schemas.checks import check_change, to_record
from schemas.codec import decode_json_change, encode_json
from schemas.debezium import change_data, is_envelope
from schemas.errors import DecodeError
from schemas.records import Change, EntityKind

Format = Literal["auto", "json", "avro"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CONTAINER = b"Obj\x01"


@dataclass(frozen=True, slots=True)
class EventReport:
    """One record of the file: the change, or why there is none (exactly one of the two).

    ``position`` counts from 1: the line of a JSON file, the record of an Avro file.
    """

    position: int
    change: Change | None = None
    problem: DecodeError | None = None

    def __str__(self) -> str:
        return f"{self.position}: {'accepted' if self.problem is None else self.problem}"


def check_file(path: Path, kind: EntityKind, format: Format = "auto") -> Iterator[EventReport]:
    """Reports in the order of the file, read as they are asked for. ``auto`` goes by the first bytes.

    OSError when the file can't be read; whatever is in it, the reports say so instead of raising.
    """
    if format == "auto":
        with path.open("rb") as file:
            format = "avro" if file.read(len(_CONTAINER)) == _CONTAINER else "json"
    return _avro(path, kind) if format == "avro" else _json(path, kind)


def _json(path: Path, kind: EntityKind) -> Iterator[EventReport]:
    with path.open("rb") as file:
        for position, line in enumerate(file, 1):
            value = line.strip().removeprefix(b"\xef\xbb\xbf")
            if not value:
                continue
            try:
                key, value = split_line(value)
                change = decode_json_change(kind, value)
                check_key(key, change.company, change.entity_id)
                yield EventReport(position, change)
            except DecodeError as error:
                yield EventReport(position, problem=error)


def split_line(line: bytes) -> tuple[bytes | None, bytes]:
    """The Kafka key, if the line has one (``KEY<TAB>JSON``), and the JSON. DecodeError."""
    key: bytes | None = None
    if not line.startswith(b"{"):
        key, _, line = line.partition(b"\t")
        line = line.lstrip()
    if not line.startswith(b"{"):
        raise DecodeError(
            "undecodable", "expected one JSON object on the line, or its key, a tab and then it"
        )
    return key, line


def check_key(key: bytes | None, company: str, id_: str) -> None:
    """DecodeError unless ``key``, where there is one, is ``company/id_``: order rests on it."""
    expected = f"{company}/{id_}"
    if key is not None and key != expected.encode():
        shown = key.decode("utf-8", "replace")[:80]
        raise DecodeError("contract", f"{shown!r} should be {expected!r}", "key")


def _avro(path: Path, kind: EntityKind) -> Iterator[EventReport]:
    position = 0
    with path.open("rb") as file:
        try:
            for position, data in enumerate(fastavro.reader(file), 1):
                try:
                    yield EventReport(position, _change(data, kind))
                except DecodeError as error:
                    yield EventReport(position, problem=error)
        except Exception as error:  # noqa: BLE001 - whatever a broken file leads fastavro to
            why = f"the file can't be read further ({type(error).__name__}: {error})"
            yield EventReport(position + 1, problem=DecodeError("undecodable", why))


def _change(data: Any, kind: EntityKind) -> Change:
    if not isinstance(data, dict):
        raise DecodeError("contract", "expected a record")
    plain = _plain(data)
    change = to_record(change_data(plain) if is_envelope(plain) else plain, Change)
    check_change(change)
    # Through JSON, so that what holds for the kind (a lead has no scheduled time) is decided in one place.
    return decode_json_change(kind, encode_json(change))


def _plain(value: Any) -> Any:
    """fastavro reads times as datetimes; the contract's are milliseconds."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, datetime):
        return (value - _EPOCH) // timedelta(milliseconds=1)
    return value
