"""Debezium's envelope in JSON and Avro, as changes of ours."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.codec import decode_json_change
from schemas.errors import DecodeError
from schemas.records import Change, Details, EntityKind, Facts, Operation
from tests.schemas.test_codec import decode_foreign

ROW: dict[str, Any] = {
    "company": "acme",
    "entity_id": "R-1",
    "version": 4,
    "status_id": "ready",
    "customer_id": "c-1",
    "location_id": None,
    "scheduled_at": 1_760_003_600_000,
    "title": "Screen repair",
    "amount_minor": 12900,
    "internal_note": "not ours",
}


def envelope(**fields: Any) -> dict[str, Any]:
    return {
        "before": {**ROW, "version": 3, "status_id": "new"},
        "after": ROW,
        "source": {"db": "shop", "table": "orders", "ts_ms": 1_760_000_000_123, "lsn": 24023128},
        "op": "u",
        "ts_ms": 1_760_000_000_999,
        **fields,
    }


EXPECTED = Change(
    company="acme",
    entity_id="R-1",
    operation=Operation.UPDATE,
    event_id="v4",
    version=4,
    occurred_at=1_760_000_000_123,
    before=Facts(status_id="new", customer_id="c-1", scheduled_at=1_760_003_600_000),
    after=Facts(status_id="ready", customer_id="c-1", scheduled_at=1_760_003_600_000),
    details=Details(title="Screen repair", amount_minor=12900),
)


def decode(data: dict[str, Any]) -> Change:
    return decode_json_change(EntityKind.ORDER, json.dumps(data).encode())


def without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


class TestJson:
    def test_an_update(self) -> None:
        assert decode(envelope()) == EXPECTED

    def test_with_the_schema_beside_the_payload(self) -> None:
        assert decode({"schema": {"type": "struct"}, "payload": envelope()}) == EXPECTED

    @pytest.mark.parametrize(("op", "operation"), [("c", Operation.CREATE), ("r", Operation.READ)])
    def test_creates_and_snapshot_reads(self, op: str, operation: Operation) -> None:
        found = decode(envelope(op=op, before=None))
        assert (found.operation, found.before, found.after) == (operation, None, EXPECTED.after)

    def test_a_delete(self) -> None:
        found = decode(envelope(op="d", before=ROW, after=None))
        assert (found.operation, found.version, found.after) == (Operation.DELETE, 4, None)
        assert found.before == EXPECTED.after

    def test_an_old_row_of_key_columns_only_is_no_fact(self) -> None:
        found = decode(
            envelope(
                op="d",
                before={**dict.fromkeys(ROW), **{k: ROW[k] for k in ("company", "entity_id")}},
                after=None,
            )
        )
        assert (found.before, found.version) == (None, 24023128)

    def test_version_by_the_log_position_and_time_by_the_connector(self) -> None:
        found = decode(envelope(after=without(ROW, "version"), source={"lsn": 77}))
        assert (found.version, found.event_id, found.occurred_at) == (77, "v77", 1_760_000_000_999)

    def test_times_with_offset_and_attributes_as_json_text(self) -> None:
        row = {**ROW, "scheduled_at": "2025-10-09T11:53:20.5+02:00", "attributes": '{"device": "phone"}'}
        found = decode(envelope(after=row))
        assert found.after is not None
        assert found.after.scheduled_at == 1_760_003_600_500
        assert found.details is not None
        assert found.details.attributes == {"device": "phone"}

    @pytest.mark.parametrize(
        ("data", "field"),
        [
            (envelope(op="t"), "op"),
            (envelope(before=None, after=None), "after"),
            (envelope(after=[1]), "after"),
            (envelope(after=without(ROW, "version"), source={}), "version"),
            (envelope(after=without(ROW, "company")), "company"),
            (envelope(after=without(ROW, "status_id")), "after.status_id"),
            (envelope(after={**ROW, "scheduled_at": 1_760_003_600_000_000}), "after.scheduled_at"),
            (envelope(after={**ROW, "scheduled_at": "tomorrow"}), "after.scheduled_at"),
            (envelope(after={**ROW, "scheduled_at": "2025-10-09T11:53:20"}), "after.scheduled_at"),
            (envelope(after={**ROW, "attributes": "{"}), "after.attributes"),
            (envelope(after={**ROW, "amount_minor": "129.00"}), "details.amount_minor"),
            (envelope(source={}, ts_ms=None), "occurred_at"),
        ],
    )
    def test_what_is_missing_or_wrong_is_named(self, data: dict[str, Any], field: str) -> None:
        with pytest.raises(DecodeError) as caught:
            decode(data)
        assert (caught.value.reason, caught.value.field) == ("contract", field)


class TestAvro:
    value: dict[str, Any] = {  # noqa: RUF012 - read only
        "type": "record",
        "name": "Value",
        "fields": [
            *(
                {"name": name, "type": "string"}
                for name in ("company", "entity_id", "status_id", "customer_id")
            ),
            {"name": "location_id", "type": ["null", "string"]},
            {"name": "version", "type": "long"},
            {
                "name": "scheduled_at",
                "type": [
                    "null",
                    {
                        "type": "long",
                        "connect.name": "org.apache.kafka.connect.data.Timestamp",
                        "logicalType": "timestamp-millis",
                    },
                ],
            },
            {"name": "title", "type": "string"},
            {"name": "amount_minor", "type": "int"},
        ],
    }
    schema: dict[str, Any] = {  # noqa: RUF012 - read only
        "type": "record",
        "name": "Envelope",
        "namespace": "shop.orders",
        "connect.version": 2,
        "fields": [
            {"name": "before", "type": ["null", value], "default": None},
            {"name": "after", "type": ["null", "Value"], "default": None},
            {
                "name": "source",
                "type": {"type": "record", "name": "Source", "fields": [{"name": "ts_ms", "type": "long"}]},
            },
            {"name": "op", "type": "string"},
            {"name": "ts_ms", "type": ["null", "long"], "default": None},
        ],
    }

    @pytest.mark.parametrize("full", [False, True])
    def test_an_update(self, full: bool) -> None:
        assert decode_foreign(self.schema, envelope(), full=full) == EXPECTED

    def test_a_truncate_breaks_the_contract(self) -> None:
        found = decode_foreign(self.schema, envelope(op="t", before=None, after=None))
        assert isinstance(found, DecodeError)
        assert found.field == "op"
