"""Round trips, contract violations and garbage, through the public codec."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import records as r
from schemas.checks import LAST_MILLIS
from schemas.codec import Codec, decode_json, decode_json_change, encode_json
from schemas.contracts import CHANGES, CONTRACTS
from schemas.errors import DecodeError, UnknownSchemaId
from schemas.registry import EmbeddedRegistry
from schemas.wire import header, write
from streams.domain.reasons import Reason
from tests.schemas import strategies as of

CODEC = Codec(EmbeddedRegistry())
KINDS = list(r.EntityKind)


def change(**fields: Any) -> dict[str, Any]:
    """A change that keeps the contract, as JSON data."""
    return {
        "company": "acme",
        "entity_id": "R-1",
        "operation": "update",
        "event_id": "e-1",
        "version": 3,
        "occurred_at": 1_760_000_000_000,
        "before": {"status_id": "new", "customer_id": "c-1"},
        "after": {"status_id": "ready", "customer_id": "c-1", "scheduled_at": 1_760_003_600_000},
        **fields,
    }


class TestRoundTrips:
    @given(st.sampled_from(KINDS).flatmap(lambda kind: st.tuples(st.just(kind), of.changes(kind))))
    def test_changes_in_avro_and_json(self, case: tuple[r.EntityKind, r.Change]) -> None:
        kind, original = case
        raw = CODEC.encode_change(kind, original)
        facts_only = msgspec.structs.replace(original, details=None)
        assert CODEC.decode_changes(kind, [raw]) == [facts_only]
        assert CODEC.decode_change_value(kind, raw) == original
        assert CODEC.decode_change_value(kind, raw, full=False) == facts_only
        assert CODEC.decode_change_value(kind, encode_json(original)) == original
        assert CODEC.decode_changes(kind, [encode_json(original)]) == [original]

    @pytest.mark.parametrize("record", of.RECORDS, ids=lambda record: record.__name__)
    def test_every_other_record_in_avro_and_json(self, record: type[r.Record]) -> None:
        @given(of.RECORDS[record])
        def there_and_back(original: r.Record) -> None:
            assert CODEC.decode(record, CODEC.encode(original)) == original
            assert CODEC.decode(record, encode_json(original)) == original

        there_and_back()


class TestViolations:
    @pytest.mark.parametrize(
        ("data", "field"),
        [
            (change(company=""), "company"),
            (change(company="a/b"), "company"),
            (change(company=None), "company"),
            (change(entity_id="x" * 201), "entity_id"),
            (change(entity_id="a\nb"), "entity_id"),
            (change(entity_id=7), "entity_id"),
            (change(event_id=""), "event_id"),
            (change(operation="upsert"), "operation"),
            (change(version=-1), "version"),
            (change(version=2**63), "version"),
            (change(version="3"), "version"),
            (change(version=None), "version"),
            (change(occurred_at=-1), "occurred_at"),
            (change(occurred_at=1_760_000_000_000_000), "occurred_at"),
            (change(after=None), "after"),
            (change(operation="create", after=None), "after"),
            (change(operation="read", after=None), "after"),
            (change(after={}), "after.status_id"),
            (change(after={"status_id": ""}), "after.status_id"),
            (change(after={"status_id": "s", "customer_id": "a\x7fb"}), "after.customer_id"),
            (change(after={"status_id": "s", "location_id": "x" * 201}), "after.location_id"),
            (change(after={"status_id": "s", "scheduled_at": -1}), "after.scheduled_at"),
            (change(after={"status_id": "s", "scheduled_at": LAST_MILLIS + 1}), "after.scheduled_at"),
            (change(after={"status_id": "s", "scheduled_at": "soon"}), "after.scheduled_at"),
            (change(before={"status_id": ""}), "before.status_id"),
            (change(before={"status_id": "s", "scheduled_at": LAST_MILLIS + 1}), "before.scheduled_at"),
            (change(details={"attributes": {"a": 1}}), "details.attributes[...]"),
            ({k: v for k, v in change().items() if k != "event_id"}, "event_id"),
        ],
    )
    def test_a_change_that_breaks_the_contract_names_the_field(
        self, data: dict[str, Any], field: str
    ) -> None:
        (found,) = CODEC.decode_changes(r.EntityKind.ORDER, [json.dumps(data).encode()])
        assert isinstance(found, DecodeError)
        assert (found.reason, found.field) == ("contract", field)
        assert found.detail

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"company": "a/b"}, "company"),
            ({"version": -1}, "version"),
            ({"occurred_at": LAST_MILLIS + 1}, "occurred_at"),
            ({"after": None}, "after"),
            ({"after": r.Facts(status_id="s", scheduled_at=LAST_MILLIS + 1)}, "after.scheduled_at"),
        ],
    )
    def test_avro_is_held_to_the_same_contract(self, fields: dict[str, Any], field: str) -> None:
        good = decode_json_change(r.EntityKind.ORDER, json.dumps(change()).encode())
        raw = CODEC.encode_change(r.EntityKind.ORDER, msgspec.structs.replace(good, **fields))
        (found,) = CODEC.decode_changes(r.EntityKind.ORDER, [raw])
        assert isinstance(found, DecodeError)
        assert (found.reason, found.field) == ("contract", field)

    def test_a_delete_may_lack_both_facts(self) -> None:
        raw = json.dumps(change(operation="delete", before=None, after=None)).encode()
        assert isinstance(CODEC.decode_changes(r.EntityKind.ORDER, [raw])[0], r.Change)

    def test_the_allowed_operations_are_named(self) -> None:
        with pytest.raises(DecodeError, match="create, update, delete, read"):
            decode_json_change(r.EntityKind.ORDER, json.dumps(change(operation="upsert")).encode())

    def test_ids_longer_than_200_in_sum_are_fine(self) -> None:
        data = change(entity_id="x" * 200, event_id="y" * 200)
        assert decode_json_change(r.EntityKind.ORDER, json.dumps(data).encode()).event_id == "y" * 200

    def test_null_stands_for_left_out_and_unknown_fields_are_ignored(self) -> None:
        after = {"status_id": "ready", "customer_id": None, "location_id": None, "scheduled_at": None, "x": 1}
        data = change(after=after, details={"title": None}, colour="red")
        found = decode_json_change(r.EntityKind.ORDER, json.dumps(data).encode())
        assert found.after == r.Facts(status_id="ready")
        assert found.details == r.Details()

    def test_a_lead_has_no_scheduled_time(self) -> None:
        found = decode_json_change(r.EntityKind.LEAD, json.dumps(change()).encode())
        assert found.after == r.Facts(status_id="ready", customer_id="c-1")
        assert CODEC.decode_changes(r.EntityKind.LEAD, [json.dumps(change()).encode()]) == [found]

    @pytest.mark.parametrize(
        ("record", "data", "field"),
        [
            (r.Customer, {"company": "a", "customer_id": "", "version": 1}, "customer_id"),
            (r.Customer, {"company": "a", "customer_id": "c", "version": -1}, "version"),
            (
                r.Customer,
                {"company": "a", "customer_id": "c", "version": 1, "sms_consent": "yes"},
                "sms_consent",
            ),
            (r.Status, {"id": "s", "company": "a", "names": {}, "kind": "open", "version": 1}, "entity"),
            (
                r.Status,
                {"id": "s", "company": "a", "names": {}, "kind": "done", "entity": "lead", "version": 1},
                "kind",
            ),
            (r.Location, {"id": "l", "company": "a", "name": "", "zone": "Mars", "version": 1}, "zone"),
            (
                r.Location,
                {
                    "id": "l",
                    "company": "a",
                    "name": "",
                    "zone": "UTC",
                    "version": 1,
                    "hours": {"weekdays": [[]]},
                },
                "hours.weekdays",
            ),
            (
                r.Location,
                {
                    "id": "l",
                    "company": "a",
                    "name": "",
                    "zone": "UTC",
                    "version": 1,
                    "hours": {"closed_dates": ["25.12."]},
                },
                "hours.closed_dates[0]",
            ),
            (
                r.Company,
                {
                    "id": "a",
                    "name": "",
                    "language": "en",
                    "zone": "UTC",
                    "version": 1,
                    "quiet_hours": [{"opens": 1440, "closes": 0}],
                },
                "quiet_hours[0].opens",
            ),
            (
                r.Company,
                {
                    "id": "a",
                    "name": "",
                    "language": "en",
                    "zone": "UTC",
                    "version": 1,
                    "customer_daily_cap": 2**31,
                },
                "customer_daily_cap",
            ),
            (
                r.Suppression,
                {
                    "company": "a",
                    "channel": "sms",
                    "address": "",
                    "reason": "stop",
                    "since": 1,
                    "version": 1,
                },
                "address",
            ),
        ],
    )
    def test_other_records_name_the_field_too(
        self, record: type[r.Record], data: dict[str, Any], field: str
    ) -> None:
        with pytest.raises(DecodeError) as caught:
            decode_json(record, json.dumps(data).encode())
        assert (caught.value.reason, caught.value.field) == ("contract", field)


class TestGarbage:
    @given(st.sampled_from(KINDS), st.binary(max_size=60))
    def test_bytes_of_any_kind(self, kind: r.EntityKind, tail: bytes) -> None:
        known = header(CODEC._registry.ids[CHANGES[kind]])
        for raw in (tail, b"{" + tail, b"\0" + tail, known + tail):
            self._never_raises(kind, raw)

    @given(st.data())
    def test_a_good_record_with_some_bytes_changed(self, data: st.DataObject) -> None:
        kind = data.draw(st.sampled_from(KINDS))
        original = data.draw(of.changes(kind))
        for raw in (CODEC.encode_change(kind, original), encode_json(original)):
            broken = bytearray(raw)
            for _ in range(data.draw(st.integers(1, 3))):
                broken[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
            self._never_raises(kind, bytes(broken[: data.draw(st.integers(0, len(raw)))]))

    @given(st.sampled_from(list(of.RECORDS)), st.binary(max_size=60))
    def test_other_records(self, record: type[r.Record], tail: bytes) -> None:
        name = next(name for name, contract in CONTRACTS.items() if contract.record is record)
        for raw in (tail, b"{" + tail, header(CODEC._registry.ids[name]) + tail):
            try:
                CODEC.decode(record, raw)
            except DecodeError:
                continue

    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"\0",
            b"\0\0\0\0",
            b"[1]",
            b"null",
            b"{",
            b"{}x",
            b'{"a":' * 100_000,
            b'{"company":"\\ud800"}',
            b'{"company":"\xff"}',
        ],
    )
    def test_known_troublemakers(self, raw: bytes) -> None:
        (found,) = CODEC.decode_changes(r.EntityKind.ORDER, [raw])
        assert isinstance(found, DecodeError)
        assert found.reason == "undecodable" or raw.startswith(b'{"company"')

    def _never_raises(self, kind: r.EntityKind, raw: bytes) -> None:
        (found,) = CODEC.decode_changes(kind, [raw])
        assert isinstance(found, r.Change | DecodeError)
        try:
            CODEC.decode_change_value(kind, raw)
        except DecodeError:
            return


def test_the_reason_codes_are_of_the_documented_list() -> None:
    assert {Reason.UNDECODABLE, Reason.UNKNOWN_SCHEMA, Reason.CONTRACT} == {
        "undecodable",
        "unknown_schema",
        "contract",
    }


def test_one_bad_record_does_not_stop_the_batch_and_a_tombstone_is_none() -> None:
    good = json.dumps(change()).encode()
    found = CODEC.decode_changes(r.EntityKind.ORDER, [good, b"junk", None, good])
    assert [type(one) for one in found] == [r.Change, DecodeError, type(None), r.Change]


class FetchedLater:
    """A registry in memory whose schemas are known only after ``fetch``."""

    def __init__(self, texts: dict[int, str]) -> None:
        self.ids: Mapping[str, int] = {}
        self.texts = texts
        self.asked: list[frozenset[int]] = []

    def schema(self, schema_id: int) -> str:
        if not any(schema_id in ids for ids in self.asked):
            raise UnknownSchemaId((schema_id,))
        if schema_id not in self.texts:
            raise DecodeError("unknown_schema", f"schema id {schema_id} is not in the registry")
        return self.texts[schema_id]

    async def fetch(self, schema_ids: Any) -> None:
        self.asked.append(frozenset(schema_ids))

    async def register_all(self, topics: Any = ()) -> None: ...
    async def preload(self, topics: Any) -> None: ...


def avro(schema: dict[str, Any], data: dict[str, Any], schema_id: int = 7) -> bytes:
    import fastavro  # noqa: PLC0415 - for foreign schemas only

    return write(header(schema_id), fastavro.parse_schema(schema), data)


def decode_foreign(
    schema: dict[str, Any], data: dict[str, Any], *, full: bool = False
) -> r.Change | DecodeError | None:
    registry = FetchedLater({7: json.dumps(schema)})
    registry.asked.append(frozenset({7}))
    codec = Codec(registry)
    raw = avro(schema, data)
    if full:
        return codec.decode_change_value(r.EntityKind.ORDER, raw)
    return codec.decode_changes(r.EntityKind.ORDER, [raw])[0]


class TestSchemaIds:
    async def test_all_unknown_ids_of_a_batch_are_asked_for_at_once(self) -> None:
        registry = FetchedLater({7: CONTRACTS["order-change"].text})
        codec = Codec(registry)
        order = CODEC.encode_change(
            r.EntityKind.ORDER, decode_json_change(r.EntityKind.ORDER, json.dumps(change()).encode())
        )
        batch = [header(7) + order[5:], header(8) + b"x", header(9) + b"y"]
        with pytest.raises(UnknownSchemaId) as caught:
            codec.decode_changes(r.EntityKind.ORDER, batch)
        assert caught.value.ids == {7, 8, 9}
        found = await codec.read_changes(r.EntityKind.ORDER, batch)
        assert registry.asked == [{7, 8, 9}]
        assert isinstance(found[0], r.Change)
        assert [one.reason for one in found[1:] if isinstance(one, DecodeError)] == ["unknown_schema"] * 2

    def test_a_schema_that_is_not_avro_makes_a_dead_letter_not_a_crash(self) -> None:
        registry = FetchedLater({7: '{"type": "object"}'})
        registry.asked.append(frozenset({7}))
        (found,) = Codec(registry).decode_changes(r.EntityKind.ORDER, [header(7) + b"x"])
        assert isinstance(found, DecodeError)
        assert found.reason == "unknown_schema"


class TestOtherWriters:
    """Publishers whose schema is not ours, letter for letter."""

    def test_an_added_field_at_the_end_keeps_the_prefix(self) -> None:
        schema = CONTRACTS["order-change"].schema
        schema["fields"].append({"name": "colour", "type": "string"})
        data = change(colour="red", details=None)
        found = decode_foreign(schema, data)
        assert isinstance(found, r.Change)
        assert found.version == 3

    def test_another_order_is_read_by_name(self) -> None:
        schema = CONTRACTS["order-change"].schema
        schema["fields"].insert(0, schema["fields"].pop(4))
        assert decode_foreign(schema, change(details=None)) == decode_json_change(
            r.EntityKind.ORDER, json.dumps(change()).encode()
        )

    def test_nullable_and_narrower_types_are_read(self) -> None:
        facts = {
            "type": "record",
            "name": "F",
            "fields": [
                {"name": "status_id", "type": "string"},
                {"name": "customer_id", "type": ["null", "string"]},
            ],
        }
        schema = CONTRACTS["order-change"].schema
        schema["fields"] = [
            *schema["fields"][:4],
            {"name": "version", "type": "int"},
            {"name": "occurred_at", "type": "long"},
            {"name": "after", "type": facts},
        ]
        found = decode_foreign(schema, change(after={"status_id": "ready", "customer_id": None}))
        assert isinstance(found, r.Change)
        assert (found.version, found.before, found.after) == (3, None, r.Facts(status_id="ready"))

    def test_a_wrong_type_names_the_field(self) -> None:
        schema = CONTRACTS["order-change"].schema
        schema["fields"][4] = {"name": "version", "type": "string"}
        found = decode_foreign(schema, change(version="3", details=None))
        assert isinstance(found, DecodeError)
        assert (found.reason, found.field) == ("contract", "version")

    def test_an_operation_that_we_do_not_know_breaks_the_contract(self) -> None:
        schema = CONTRACTS["order-change"].schema
        schema["fields"][2]["type"]["symbols"].append("truncate")
        found = decode_foreign(schema, change(operation="truncate", details=None))
        assert isinstance(found, DecodeError)
        assert (found.reason, found.field) == ("contract", "operation")

    def test_broken_details_pass_the_facts_and_fail_the_full_decode(self) -> None:
        good = decode_json_change(
            r.EntityKind.ORDER, json.dumps(change(details={"title": "Screen"})).encode()
        )
        raw = CODEC.encode_change(r.EntityKind.ORDER, good)[:-6]
        assert isinstance(CODEC.decode_changes(r.EntityKind.ORDER, [raw])[0], r.Change)
        with pytest.raises(DecodeError):
            CODEC.decode_change_value(r.EntityKind.ORDER, raw)
