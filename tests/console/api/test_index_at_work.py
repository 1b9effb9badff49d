"""The index of a console that is stopped, loses its file, and starts again."""

from __future__ import annotations

import sqlite3

import pytest

from console.connection import RawPublication
from schemas.records import DeliveryState
from tests.console.api.conftest import Spot, delivery
from tests.support.shop import C


@pytest.mark.parametrize("lost", [False, True])
def test_a_restart_goes_on_where_it_was_or_from_the_beginning(spot: Spot, lost: bool) -> None:
    path = f"/companies/{C}/deliveries"
    before = spot.get(path).json
    assert len(before["items"]) == 2
    spot.stop()
    if lost:
        (spot.settings.data / "console" / "index.sqlite").write_bytes(b"damaged")
    spot.publish(delivery(3, DeliveryState.SENT))
    spot.start()
    after = spot.get(path).json["items"]
    assert [each for each in after if each["entity_id"] != "A-3"] == before["items"]
    assert len(after) == 3


def test_a_bad_record_hides_no_others(spot: Spot) -> None:
    topic = "delivery-log"
    with spot.connection.writer() as writer:
        bad = [RawPublication(topic, number, b"acme/order/x", b"\x00nonsense", ()) for number in range(4)]
        writer.put(bad)
    spot.publish(delivery(3, DeliveryState.SENT))
    spot.until(lambda: len(spot.get(f"/companies/{C}/deliveries").json["items"]) == 3)
    assert spot.call("GET", "//ready", port=spot.web_port).status == 200


def test_an_index_that_breaks_while_it_works_is_told_and_built_again(spot: Spot) -> None:
    database = sqlite3.connect(spot.settings.data / "console" / "index.sqlite")
    with database:
        database.execute("DROP TABLE step")
    database.close()
    spot.publish(delivery(3, DeliveryState.SENT))
    spot.until(lambda: spot.call("GET", "//live", port=spot.web_port).status == 503)
    assert "delivery-log is no longer read" in spot.call("GET", "//live", port=spot.web_port).body.decode()
    answer = spot.get(f"/companies/{C}/rules")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    spot.stop()
    spot.start()
    assert len(spot.get(f"/companies/{C}/deliveries").json["items"]) == 3
