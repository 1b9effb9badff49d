"""What can be read: lists, pages, filters, one record, messages in plain words."""

from __future__ import annotations

from schemas.records import DeliveryState
from tests.console.api.conftest import DAY, MARK, Spot, delivery
from tests.support.shop import C


def test_a_rule_is_shown_with_its_occasion_cost_and_version(shared: Spot) -> None:
    found = shared.get(f"/companies/{C}/rules/rem")
    assert found.status == 200
    assert found.etag == '"1"'
    told = found.json
    assert (told["occasion"], told["segments"]) == ("24 hours before", {"least": 1, "most": 1})
    assert shared.get(f"/companies/{C}/rules/rem", **{"If-None-Match": '"1"'}).status == 304


def test_rules_are_filtered_and_come_in_pages(shared: Spot) -> None:
    def ids(query: str) -> list[str]:
        return [each["id"] for each in shared.get(f"/companies/{C}/rules{query}").json["items"]]

    assert ids("?kind=reminder") == ["rem"]
    assert ids("?entity=order") == ["born"]
    assert ids("?enabled=false") == []
    assert ids("?q=BOR") == ["born"]
    assert ids("?location_id=north&template_id=t") == ["born"]
    first = shared.get(f"/companies/{C}/rules?limit=1").json
    assert [each["id"] for each in first["items"]] == ["born"]
    assert ids(f"?limit=1&cursor={first['next']}") == ["rem"]
    assert shared.get(f"/companies/{C}/rules?cursor=nonsense!").fields == [("cursor", "invalid")]


def test_only_ones_own_companies_are_listed(shared: Spot) -> None:
    assert [each["id"] for each in shared.get("/companies").json["items"]] == [C]
    owners = shared.get("/companies", who="owner").json["items"]
    assert [(each["id"], each["role"]) for each in owners] == [(C, "admin"), ("zenith", "admin")]


def test_messages_are_found_by_customer_entity_state_and_id(shared: Spot) -> None:
    def ids(query: str) -> list[int]:
        found = shared.get(f"/companies/{C}/deliveries?{query}").json["items"]
        return [int(each["delivery_id"], 16) for each in found]

    assert ids("customer_id=ann&kind=appointment&entity_id=A-1") == [1]
    assert ids("state=suppressed") == [2]
    assert ids("customer_id=nobody") == []
    one = shared.get(f"/companies/{C}/deliveries/{2:032x}").json
    assert (one["part"], one["state_text"]) == ("not sent", "suppressed")
    assert one["reason_text"] == "The customer has not agreed to this channel."
    assert [step["state"] for step in one["steps"]] == ["suppressed"]


def test_what_is_to_come_by_day_location_and_rule(shared: Spot) -> None:
    base = f"/companies/{C}/pending"
    (one,) = shared.get(f"{base}?day={DAY}&location_id=north&rule_id=rem").json["items"]
    assert one["local"] == f"{DAY}T10:00:00+02:00"
    assert shared.get(f"{base}?day=2026-04-07").json["items"] == []
    for by, key, name in (("day", DAY, DAY), ("location", "north", "North"), ("rule", "rem", "rem")):
        assert shared.get(f"{base}/counts?by={by}").json["items"] == [{"key": key, "name": name, "count": 1}]


def test_a_feed_follows_the_log(spot: Spot) -> None:
    path = f"/companies/{C}/feed/appointment/A-1"
    spot.publish(
        delivery(1, DeliveryState.SCHEDULED, transition=1, reason="moved", due_at=delivery(1).at + 5),
        delivery(1, DeliveryState.SENT, transition=2, reason="accepted", location_id=""),
        delivery(1),  # a repeat
    )
    spot.until(lambda: spot.get(path).json["items"][0]["state"] == "sent")
    (one,) = spot.get(path).json["items"]
    assert [(step["state"], step["reason"]) for step in one["steps"]] == [
        ("scheduled", "armed"),
        ("scheduled", "moved"),
        ("sent", "accepted"),
    ]
    assert (one["location_id"], one["part"]) == ("north", "sent")
    assert spot.get(f"/companies/{C}/feed/order/none").json == {"items": [], "next": None}
    assert spot.get(f"/companies/{C}/feed/parcel/1").status == 404
    assert spot.get(f"/companies/{C}/pending").json["items"] == []


def test_addresses_are_hidden_from_all_but_admins(shared: Spot) -> None:
    path = f"/companies/{C}/suppressions"
    (seen,) = shared.get(f"{path}?channel=sms").json["items"]
    assert seen["address"] == "+48 ••• ••• 333"
    (clear,) = shared.get(path, who="admin").json["items"]
    assert (clear["address"], clear["id"]) == ("+48501111333", seen["id"])
    assert shared.get(f"{path}?channel=email").json["items"] == []
    body = {"channel": "sms", "address": "+48 501 111 333"}
    assert shared.call("POST", f"{path}/search", body, who="admin").json["items"] == [clear]


def test_where_a_mailboxs_secret_is_is_not_shown(shared: Spot) -> None:
    found = shared.get(f"/companies/{C}/mailboxes/gm", who="admin")
    assert found.json["users"] == ["editor@acme"]
    assert b"SECRET" not in found.body


def test_queries_name_what_is_wrong(shared: Spot) -> None:
    base = f"/companies/{C}/rules"
    for query, wrong in (
        ("limit=0", ("limit", "range")),
        ("limit=many", ("limit", "invalid")),
        ("entity=parcel", ("entity", "invalid")),
        ("colour=red", ("colour", "unknown")),
        ("q=a&q=b", ("q", "taken")),
    ):
        found = shared.get(f"{base}?{query}")
        assert (found.status, found.fields) == (422, [wrong])


def test_operators_see_whether_it_works(shared: Spot) -> None:
    for page in ("/live", "/ready"):
        assert shared.call("GET", "/" + page, port=shared.web_port).status == 200
    shared.get("/companies")
    metrics = shared.call("GET", "//metrics", port=shared.web_port).body.decode()
    assert 'carillon_console_requests_total{route="list_companies",status="200"}' in metrics
    assert MARK not in metrics
