"""The pages for publishers and analysts against the code: they may not drift apart."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path

import msgspec
import pytest

from schemas.codec import Codec, decode_json, decode_json_change, encode_json
from schemas.contracts import BY_RECORD, CHANGES, CONTRACTS, TOPICS
from schemas.records import FINAL_STATES, Delivery, DeliveryState, EntityKind, Record
from schemas.registry import EmbeddedRegistry
from streams.domain.reasons import Reason
from tests.examples.test_read_delivery_log import SENT

DOCS = Path(__file__).parents[2] / "docs"
PUBLISHING = (DOCS / "publishing.md").read_text("utf-8")
LOG = (DOCS / "delivery-log.md").read_text("utf-8")
EXAMPLES = re.findall(r"```json (\S+)\n(.*?)```", PUBLISHING, re.DOTALL)
QUERIES = re.findall(r"```sql\n(.*?)```", LOG, re.DOTALL)


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the tables below a heading, without their first lines."""
    section = re.split(r"^## ", page.split(f"## {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    rules = [number for number, line in enumerate(lines) if line.startswith("| ---")]
    skipped = {number - 1 for number in rules} | set(rules)
    return [
        [cell.strip().strip("`") for cell in line.strip("|").split(" | ")]
        for number, line in enumerate(lines)
        if number not in skipped
    ]


@pytest.mark.parametrize(("topic", "text"), EXAMPLES)
def test_json_examples_are_accepted_and_survive_avro(topic: str, text: str) -> None:
    raw = json.dumps(json.loads(text)).encode()
    codec = Codec(EmbeddedRegistry())
    kinds = {contract: kind for kind, contract in CHANGES.items()}
    if TOPICS[topic] in kinds:
        kind = kinds[TOPICS[topic]]
        change = decode_json_change(kind, raw)
        assert codec.decode_change_value(kind, codec.encode_change(kind, change)) == change
    else:
        record: type[Record] = {name: record for record, name in BY_RECORD.items()}[TOPICS[topic]]
        decoded = decode_json(record, raw)
        assert codec.decode(record, codec.encode(decoded)) == decoded


def test_every_kind_of_change_has_an_example() -> None:
    assert {TOPICS[topic] for topic, _ in EXAMPLES} >= set(CHANGES.values()) | {"customer"}


def test_the_first_example_says_no_more_than_the_contract() -> None:
    change = decode_json_change(EntityKind.ORDER, EXAMPLES[0][1].strip().encode())
    said, kept = json.loads(EXAMPLES[0][1]), json.loads(encode_json(change))
    assert set(said) == set(kept)
    assert set(said["details"]) == set(kept["details"])


def test_every_field_is_described_as_in_its_contract() -> None:
    change = CONTRACTS["order-change"].schema["fields"]
    inner = {
        field["name"]: field["type"][1]["fields"]
        for field in change
        if field["name"] in ("before", "details")
    }
    described = {row[0]: row[3] for row in rows(PUBLISHING, "Fields of a change")}
    assert described == {
        field["name"]: field["doc"] for field in [*change, *inner["before"], *inner["details"]]
    }
    for page, heading, name in (
        (PUBLISHING, "Customers and consent", "customer"),
        (LOG, "Fields", "delivery"),
    ):
        fields = CONTRACTS[name].schema["fields"]
        assert [(row[0], row[3]) for row in rows(page, heading)] == [
            (field["name"], field["doc"]) for field in fields
        ]


def test_every_state_is_described() -> None:
    states = {row[0]: row[1] for row in rows(LOG, "States")}
    assert list(states) == [state.value for state in DeliveryState]
    assert {name for name, kind in states.items() if kind == "final"} == {
        state.value for state in FINAL_STATES
    }


def test_every_reason_code_is_described() -> None:
    described = {row[0]: row[1] for row in rows(LOG, "Reasons")}
    assert described == {reason.value or "(empty)": reason.text or "Nothing unusual." for reason in Reason}


def test_the_queries_run_and_drop_repeats() -> None:
    cancelled = msgspec.structs.replace(
        SENT, delivery_id="1" * 32, entity_id="R-2", transition=1, state=DeliveryState.CANCELLED, reason=""
    )
    planned = msgspec.structs.replace(SENT, transition=0, state=DeliveryState.SCHEDULED)
    repeat = msgspec.structs.replace(SENT, at=SENT.at + 5)
    receipt = msgspec.structs.replace(SENT, transition=3, state=DeliveryState.DELIVERED)
    log = [planned, SENT, repeat, planned, receipt, cancelled]
    with sqlite3.connect(":memory:") as database:
        names = Delivery.__struct_fields__
        database.execute(f"CREATE TABLE delivery_log ({', '.join(names)})")
        for one in log:
            values = msgspec.to_builtins(one)
            database.execute(
                f"INSERT INTO delivery_log VALUES ({', '.join('?' * len(names))})",
                [values[name] for name in names],
            )
        assert database.execute(QUERIES[0]).fetchall() == [
            ("acme", "cancelled", "", 1),
            ("acme", "sent", "accepted", 1),
        ]
        feed = database.execute(QUERIES[1].replace("R-1042", "R-1")).fetchall()
        assert [row[4] for row in feed] == ["scheduled", "sent", "delivered"]
