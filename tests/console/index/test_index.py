"""The index: the same whatever comes twice or late, and built again where its file is not good."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import pytest

from console.index.database import FORMAT, MEMORY, connect, make_tables, open_index, positions
from console.index.queries import Place, Queries, Wanted
from console.index.rows import put_deliveries, put_positions, put_suppressions
from schemas.records import Channel, Delivery, DeliveryState, EntityKind, Suppression
from tests.console.api.conftest import NOW, delivery
from tests.support.shop import C

ABOUT = {"topic delivery-log": "id-1"}
ENDS: Mapping[str, Mapping[int, int]] = {"delivery-log": {0: 10}}


def index_of(*found: Delivery) -> Queries:
    database = connect(MEMORY)
    make_tables(database, {})
    put_deliveries(database, found)
    return Queries(database)


def life(number: int) -> list[Delivery]:
    states = (DeliveryState.SCHEDULED, DeliveryState.HELD, DeliveryState.SENDING, DeliveryState.SENT)
    return [
        delivery(number, state, transition=n, at=NOW + n, location_id="" if n else "north")
        for n, state in enumerate(states)
    ]


def test_whatever_comes_twice_or_late_the_newest_holds() -> None:
    records = [one for number in range(5) for one in life(number)] * 2
    expected = index_of(*life(0)).feed(C, EntityKind.APPOINTMENT, "A-0")
    for seed in range(20):
        random.Random(seed).shuffle(records)
        queries = index_of(*records)
        assert queries.feed(C, EntityKind.APPOINTMENT, "A-0")[0][1] == expected[0][1]
        assert queries.delivery(C, f"{0:032x}") is not None
        assert not queries.deliveries(C, Wanted(pending=True), 10)
        assert len(queries.deliveries(C, Wanted(states=[DeliveryState.SENT]), 10)) == 5


def test_pages_hold_each_message_once() -> None:
    queries = index_of(*(delivery(number, due_at=NOW + number // 3) for number in range(20)))
    for newest in (True, False):
        found: list[str] = []
        after: Place | None = None
        while page := queries.deliveries(C, Wanted(), 3, after, newest=newest):
            found += [one.delivery.delivery_id for one in page]
            after = Place(page[-1].moment, page[-1].delivery.delivery_id)
        assert len(found) == len(set(found)) == 20


def test_a_lifted_suppression_is_gone_and_an_older_word_does_not_count() -> None:
    database = connect(MEMORY)
    make_tables(database, {})
    one, older = (
        Suppression(company=C, channel=Channel.SMS, address="+4850", reason=reason, since=1, version=version)
        for reason, version in (("new", 2), ("old", 1))
    )
    put_suppressions(database, [(C, "n", one), (C, "n", older)])
    held = Queries(database).suppression(C, "n")
    assert held is not None
    assert held.reason == "new"
    assert Queries(database).suppression("zenith", "n") is None
    put_suppressions(database, [(C, "n", None)])
    assert Queries(database).suppressions(C, 10) == []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "deep" / "index.sqlite"
    assert open_index(path, ABOUT, ENDS)
    database = connect(path)
    with database:
        put_deliveries(database, life(1))
        put_positions(database, "delivery-log", {0: 7})
    database.close()
    return path


def read(path: Path) -> dict[int, int]:
    database = connect(path)
    found = positions(database, "delivery-log")
    database.close()
    return found


def test_a_good_file_is_used_again_and_nobody_else_may_read_it(path: Path) -> None:
    assert not open_index(path, ABOUT, ENDS)
    assert not open_index(path, {"topic delivery-log": ""}, ENDS), "the brokers tell no ids"
    assert read(path) == {0: 7}
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", ["format", "topic", "shrunk", "garbage", "torn", "tables", "gone"])
def test_any_other_is_built_again(path: Path, damage: str) -> None:
    about, ends = ABOUT, ENDS
    if damage == "format":
        _execute(path, f"UPDATE about SET value = '{FORMAT + 1}' WHERE name = 'format'")
    elif damage == "topic":
        about = {"topic delivery-log": "id-2"}
    elif damage == "shrunk":
        ends = {"delivery-log": {0: 6}}
    elif damage == "garbage":
        path.write_bytes(b"no database at all" * 1000)
    elif damage == "torn":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "tables":
        _execute(path, "DROP TABLE about")
    else:
        path.unlink()
    assert open_index(path, about, ends)
    assert read(path) == {}
    assert not open_index(path, about, ends)


def _execute(path: Path, statement: str) -> None:
    database = sqlite3.connect(path)
    with database:
        database.execute(statement)
    database.close()
