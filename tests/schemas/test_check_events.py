"""Files of changes, judged record by record."""

from __future__ import annotations

import json
from pathlib import Path

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.check_events import check_file
from schemas.codec import decode_json_change
from schemas.contracts import CONTRACTS
from schemas.records import EntityKind, Facts
from tests.schemas.test_codec import change
from tests.schemas.test_debezium import EXPECTED, envelope

ORDER = EntityKind.ORDER
GOOD = json.dumps(change()).encode()


def test_json_lines_ours_and_debeziums(tmp_path: Path) -> None:
    path = tmp_path / "changes.jsonl"
    lines = [
        b"\xef\xbb\xbf" + GOOD,
        b"",
        json.dumps(change(version=-1)).encode(),
        b"[]",
        json.dumps(envelope()).encode(),
        b"{",
    ]
    path.write_bytes(b"\r\n".join(lines))
    reports = list(check_file(path, ORDER))
    assert [report.position for report in reports] == [1, 3, 4, 5, 6]
    assert reports[0].change == decode_json_change(ORDER, GOOD)
    assert reports[1].problem is not None
    assert reports[1].problem.field == "version"
    assert str(reports[1]) == "3: version: -1 is not between 0 and 2^63-1"
    assert reports[3].change == EXPECTED
    assert [report.change is None for report in reports] == [False, True, True, False, True]


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_an_avro_container(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "changes.avro"
    with path.open("wb") as file:
        fastavro.writer(
            file,
            fastavro.parse_schema(CONTRACTS["order-change"].schema),
            [change(details=None), change(version=-1)],
            codec=codec,
        )
    first, second = check_file(path, ORDER)
    assert first.change == decode_json_change(ORDER, GOOD)
    assert second.problem is not None
    assert second.problem.field == "version"
    path.write_bytes(path.read_bytes()[:-20])
    assert "can't be read further" in str(list(check_file(path, ORDER))[-1])


def test_leads_have_no_time_here_either(tmp_path: Path) -> None:
    path = tmp_path / "changes.avro"
    with path.open("wb") as file:
        fastavro.writer(file, fastavro.parse_schema(CONTRACTS["order-change"].schema), [change(details=None)])
    (report,) = check_file(path, EntityKind.LEAD)
    assert report.change is not None
    assert report.change.after == Facts(status_id="ready", customer_id="c-1")


@given(content=st.binary(max_size=80))
def test_any_file_is_reported_on(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    for start in (b"", b"Obj\x01", b"{"):
        path.write_bytes(start + content)
        for report in check_file(path, ORDER):
            assert (report.change is None) != (report.problem is None)


def test_lines_with_their_keys_as_kcat_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "changes.jsonl"
    key = f"{change()['company']}/{change()['entity_id']}".encode()
    path.write_bytes(
        b"\n".join([key + b"\t" + GOOD, b"other/1\t" + GOOD, key + b" " + GOOD, key, key + b"\t"])
    )
    first, *rest = check_file(path, ORDER)
    assert first.change == decode_json_change(ORDER, GOOD)
    assert [report.problem.field for report in rest if report.problem is not None] == ["key", "", "", ""]
    assert str(rest[0]) == f"2: key: 'other/1' should be '{key.decode()}'"
