"""The writer of flat records against fastavro, byte for byte."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import records as r
from schemas.checks import MAX_LONG
from schemas.contracts import BY_RECORD, CONTRACTS
from schemas.flat import FlatWriter, flat_writer
from schemas.wire import WriterSchema, read, write
from tests.schemas.strategies import RECORDS

HEAD = b"\0\0\0\0\7"
SCHEMAS: dict[type[r.Record], Any] = {
    record: WriterSchema(CONTRACTS[name].text).full for record, name in BY_RECORD.items()
}
WRITERS = {record: writer for record, schema in SCHEMAS.items() if (writer := flat_writer(schema))}


def _writer(*fields: Any) -> FlatWriter:
    schema = {"fields": [{"name": f"f{index}", "type": type_} for index, type_ in enumerate(fields)]}
    writer = flat_writer(schema)
    assert writer is not None
    return writer


class TestTheBytes:
    @pytest.mark.parametrize("record", WRITERS, ids=lambda record: record.__name__)
    @given(data=st.data())
    def test_are_those_of_fastavro(self, record: type[r.Record], data: st.DataObject) -> None:
        made = data.draw(RECORDS[record])
        plain = msgspec.to_builtins(made, builtin_types=(bytes,))
        assert WRITERS[record].write(HEAD, made) == write(HEAD, SCHEMAS[record], plain)

    @given(
        st.tuples(st.integers(-MAX_LONG - 1, MAX_LONG), st.text(max_size=3_000), st.binary(max_size=3_000))
    )
    def test_of_numbers_and_lengths_of_any_size(self, values: tuple[int, str, bytes]) -> None:
        fields = [{"name": f"f{n}", "type": type_} for n, type_ in enumerate(("long", "string", "bytes"))]
        schema = WriterSchema(json.dumps({"type": "record", "name": "R", "fields": fields})).full
        data = {f"f{index}": value for index, value in enumerate(values)}
        record = msgspec.defstruct("R", list(data))(*values)
        raw = _writer("long", "string", "bytes").write(HEAD, record)
        assert raw == write(HEAD, schema, data)
        assert read(raw, schema) == data


class TestWhatIsFlat:
    def test_the_records_that_are_many(self) -> None:
        assert {r.Timer, r.Delivery, r.Customer} <= WRITERS.keys()

    def test_not_records_arrays_and_maps(self) -> None:
        assert not WRITERS.keys() & {r.Company, r.Template, r.Rule, r.User}

    @pytest.mark.parametrize(
        "type_",
        [
            {"type": "array", "items": "string"},
            ["null", {"type": "map", "values": "long"}],
            ["string", "null"],
            ["null", "string", "long"],
            "Elsewhere",
            "float",
        ],
    )
    def test_types_that_are_left_to_fastavro(self, type_: Any) -> None:
        fields = [{"name": "a", "type": "string"}, {"name": "b", "type": type_}]
        assert flat_writer({"fields": fields}) is None


@pytest.mark.parametrize("value", [1 << 63, -(1 << 63) - 1])
def test_no_reader_could_read_a_number_beyond_64_bits(value: int) -> None:
    record = msgspec.defstruct("R", ["f0", "f1"])(value, "")
    with pytest.raises(OverflowError):
        _writer("long", "string").write(HEAD, record)
