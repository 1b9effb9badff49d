"""The same on many rules."""

from __future__ import annotations

from typing import Any

from tests.console.api.conftest import Answer, Spot
from tests.console.api.test_writing import RULES, made


def bulk(spot: Spot, action: str, ids: list[str], who: str = "editor", **more: Any) -> Answer:
    items = [{"id": id_} for id_ in ids]
    return spot.call("POST", f"{RULES}/bulk", {"action": action, "items": items, **more}, who=who)


def results(answer: Answer) -> list[tuple[str, str]]:
    assert answer.status == 200, answer
    return [(each["id"], each["result"]) for each in answer.json["results"]]


def test_each_is_done_or_refused_by_itself(shared: Spot) -> None:
    sms, mail = (made(shared, template_id=id_).json["id"] for id_ in ("when", "t"))
    answer = bulk(shared, "change_channel", [sms, "nothing", mail], channel="email", dry_run=True)
    expected = [(sms, "refused"), ("nothing", "not_found"), (mail, "done")]
    assert results(answer) == expected
    assert answer.json["done"] == 1
    (error,) = answer.json["results"][0]["errors"]
    assert (error["field"], error["code"]) == ("template_id", "combination")
    assert shared.get(f"{RULES}/{mail}").json["channel"] == "sms"  # a dry run
    assert results(bulk(shared, "change_channel", [sms, "nothing", mail], channel="email")) == expected
    assert shared.get(f"{RULES}/{mail}").json["channel"] == "email"
    assert shared.get(f"{RULES}/{sms}").json["channel"] == "sms"


def test_off_on_another_template_and_gone(shared: Spot) -> None:
    ids = [made(shared).json["id"] for _ in range(3)]
    assert results(bulk(shared, "disable", ids)) == [(id_, "done") for id_ in ids]
    assert results(bulk(shared, "disable", ids[:1])) == [(ids[0], "unchanged")]
    assert results(bulk(shared, "enable", ids[:1])) == [(ids[0], "done")]
    assert results(bulk(shared, "change_template", ids, template_id="when"))[0] == (ids[0], "done")
    assert shared.get(f"{RULES}/{ids[2]}").json["template_id"] == "when"
    assert results(bulk(shared, "delete", ids, dry_run=True)) == [(id_, "done") for id_ in ids]
    assert results(bulk(shared, "delete", ids)) == [(id_, "done") for id_ in ids]
    assert results(bulk(shared, "delete", ids)) == [(id_, "not_found") for id_ in ids]


def test_copies_go_where_no_equal_rule_is(shared: Spot) -> None:
    id_ = made(shared, locations=["north"], delay=7).json["id"]
    answer = bulk(shared, "copy_to_locations", [id_], locations=["north", "south", "mars"])
    told = [(each["location_id"], each["result"], each["new_id"]) for each in answer.json["results"]]
    assert told == [("north", "refused", ""), ("south", "done", f"{id_}-south"), ("mars", "refused", "")]
    assert shared.get(f"{RULES}/{id_}-south").json["locations"] == ["south"]


def test_what_somebody_else_has_changed_is_left_alone(shared: Spot) -> None:
    rule = made(shared).json
    body = {"action": "delete", "items": [{"id": rule["id"], "version": rule["version"] - 1}]}
    answer = shared.call("POST", f"{RULES}/bulk", body, who="editor")
    assert answer.json["results"][0]["result"] == "changed"
    assert answer.json["results"][0]["version"] == rule["version"]
    assert shared.get(f"{RULES}/{rule['id']}").status == 200


def test_an_order_that_makes_no_sense_is_refused_whole(shared: Spot) -> None:
    id_ = made(shared).json["id"]
    for action, more, wrong in (
        ("change_template", {}, ("template_id", "missing")),
        ("change_channel", {}, ("channel", "missing")),
        ("copy_to_locations", {}, ("locations", "missing")),
        ("delete", {"template_id": "t"}, ("template_id", "combination")),
        ("change_channel", {"channel": "sms", "mailbox_id": "gm"}, ("mailbox_id", "combination")),
    ):
        answer = bulk(shared, action, [id_], **more)
        assert (answer.status, answer.fields) == (422, [wrong])
    assert bulk(shared, "delete", [id_, id_]).fields == [("items[1].id", "taken")]
    assert bulk(shared, "delete", []).fields == [("items", "missing")]


def test_every_item_is_in_the_audit(spot: Spot) -> None:
    ids = [made(spot).json["id"] for _ in range(2)]
    bulk(spot, "disable", ids)
    told = spot.get("/companies/acme/audit?limit=2", who="editor").json["items"]
    assert {each["record_id"] for each in told} == set(ids)
    assert all(each["fields"] == [{"field": "enabled", "old": None, "new": "no"}] for each in told)
