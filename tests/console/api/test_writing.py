"""Editing: checked by field, never over somebody else's change, done once, and written down by whom."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

from tests.console.api.conftest import Answer, Spot
from tests.support.shop import C

RULES = f"/companies/{C}/rules"
_NUMBERS = count(1)


def fresh(**changes: Any) -> dict[str, Any]:
    """A good rule under an id of its own."""
    return {
        "id": f"w{next(_NUMBERS)}",
        "name": "When ready",
        "kind": "notification",
        "entity": "order",
        "trigger": "status_changed_to",
        "status_id": "ready",
        "channel": "sms",
        "template_id": "t",
        **changes,
    }


def made(spot: Spot, **changes: Any) -> Answer:
    answer = spot.call("POST", RULES, fresh(**changes), who="editor")
    assert answer.status == 201, answer
    return answer


def put(spot: Spot, rule: dict[str, Any], tag: str) -> Answer:
    path = f"{RULES}/{rule['id']}"
    return spot.call("PUT", path, rule, who="editor", headers={"If-Match": tag})


def test_a_rule_is_made_changed_and_deleted(shared: Spot) -> None:
    answer = made(shared)
    rule = answer.json
    assert answer.etag == f'"{rule["version"]}"'
    assert (rule["changed_by"], rule["company"]) == ("editor@acme", C)
    path = f"{RULES}/{rule['id']}"
    assert rule.pop("effect")["messages"] == 0
    assert shared.get(path).json == rule
    changed = put(shared, {**rule, "delay": 30}, answer.etag)
    assert (changed.status, changed.json["delay"]) == (200, 30)
    assert changed.json["version"] > rule["version"]
    same = put(shared, changed.json, changed.etag)
    assert (same.status, same.etag) == (200, changed.etag)
    gone = shared.call("DELETE", path, who="editor", headers={"If-Match": changed.etag})
    assert (gone.status, gone.body) == (204, b"")
    assert shared.get(path).status == 404


def test_it_is_on_the_topic_for_every_worker(shared: Spot) -> None:
    rule = made(shared).json
    catalog = shared.connection.catalog(("rules",))
    held = catalog.rule(C, rule["id"])
    assert held is not None
    assert (held.version, held.changed_by) == (rule["version"], "editor@acme")


def test_what_is_wrong_is_named_by_field(shared: Spot) -> None:
    for body, wrong in (
        (fresh(status_id="lost"), [("status_id", "unknown")]),
        (fresh(entity="lead", trigger="time_changed", status_id=""), [("trigger", "combination")]),
        (fresh(kind="reminder", trigger="before_time", status_id=""), [("offset", "range")]),
        (fresh(template_id=""), [("template_id", "missing")]),
        (
            fresh(template_id="none", locations=["mars"]),
            [("template_id", "unknown"), ("locations[0]", "unknown")],
        ),
        (fresh(channel="email", mailbox_id="gm"), []),
        (fresh(id="a/b"), [("id", "invalid")]),
        (fresh(company="zenith"), [("company", "invalid")]),
        (fresh(delay="soon"), [("delay", "invalid")]),
        (fresh(delay=2**40), [("delay", "range")]),
        (fresh(trigger="whenever"), [("trigger", "invalid")]),
        (fresh(colour="red"), [("colour", "unknown")]),
        ({"id": "w0"}, [("kind", "missing")]),
    ):
        answer = shared.call("POST", RULES, body, who="editor")
        assert answer.status == (422 if wrong else 201), (body, answer)
        if wrong:
            assert answer.fields == wrong
            assert answer.headers["Content-Type"].startswith("application/problem+json")
    viewer_of_mailbox = shared.call("POST", RULES, fresh(channel="email", mailbox_id="gm"), who="admin")
    assert viewer_of_mailbox.fields == [("mailbox_id", "access")]


def test_a_template_says_what_is_wrong_and_where(shared: Spot) -> None:
    path = f"/companies/{C}/templates"
    body = {"id": "broken", "texts": {"en": {"sms": "Hello {{ customer.nmae }}"}}}
    answer = shared.call("POST", path, body, who="editor")
    (error,) = answer.json["errors"]
    assert error["field"] == "texts.en.sms"
    assert "line 1, column" in error["message"]
    good = {"id": "hello", "texts": {"en": {"sms": "Hello {{ customer.name }}"}}}
    assert shared.call("POST", path, good, who="editor").status == 201
    made(shared, template_id="hello")
    mail = {"id": "hello", "texts": {"en": {"subject": "Hello", "body": "Hello"}}}
    answer = shared.call("PUT", f"{path}/hello", mail, who="editor", headers={"If-Match": "*"})
    assert answer.fields == [("texts", "combination")]


def test_nobody_writes_over_what_they_have_not_seen(shared: Spot) -> None:
    answer = made(shared)
    rule = answer.json
    assert put(shared, {**rule, "delay": 1}, "").status == 428
    assert put(shared, {**rule, "delay": 1}, answer.etag).status == 200
    late = put(shared, {**rule, "delay": 2}, answer.etag)
    assert late.status == 412
    now = shared.get(f"{RULES}/{rule['id']}")
    assert (late.etag, now.json["delay"]) == (now.etag, 1)
    assert put(shared, rule, "W/" + now.etag).status == 412
    assert put(shared, rule, "seven").fields == [("If-Match", "invalid")]
    path = f"{RULES}/{rule['id']}"
    assert shared.call("DELETE", path, who="editor", headers={"If-Match": answer.etag}).status == 412
    assert put(shared, {**rule, "delay": 3}, "*").status == 200


def test_of_two_at_once_one_is_told(shared: Spot) -> None:
    answer = made(shared)
    rules = [{**answer.json, "delay": delay} for delay in range(1, 9)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda rule: put(shared, rule, answer.etag).status, rules))
    assert sorted(found) == [200] + [412] * 7


def test_the_same_key_is_done_once(shared: Spot) -> None:
    body = {**fresh(), "id": ""}
    key = {"Idempotency-Key": "order-17"}
    first = shared.call("POST", RULES, body, who="editor", headers=key)
    assert first.status == 201
    again = shared.call("POST", RULES, body, who="editor", headers=key)
    assert (again.status, again.body, again.etag) == (201, first.body, first.etag)
    other = shared.call("POST", RULES, {**body, "delay": 1}, who="editor", headers=key)
    assert other.status == 422
    # Another person's key is another one.
    theirs = shared.call("POST", RULES, body, who="admin", headers=key)
    assert theirs.json["id"] != first.json["id"]
    many = {"Idempotency-Key": "order-18"}
    with ThreadPoolExecutor(6) as pool:
        tried = list(
            pool.map(lambda _: shared.call("POST", RULES, body, who="editor", headers=many), range(6))
        )
    assert len({answer.body for answer in tried}) == 1


def test_a_key_is_known_after_a_restart(spot: Spot) -> None:
    key = {"Idempotency-Key": "k"}
    body = {**fresh(), "id": ""}
    first = spot.call("POST", RULES, body, who="editor", headers=key)
    spot.stop()
    spot.start()
    assert spot.call("POST", RULES, body, who="editor", headers=key).body == first.body
    # Also where the answer was lost with the machine: the id follows from the key.
    spot.stop()
    (spot.settings.data / "console" / "answers.sqlite").unlink()
    spot.start()
    assert spot.call("POST", RULES, body, who="editor", headers=key).body == first.body


def test_what_is_used_is_not_deleted(shared: Spot) -> None:
    rule = made(shared, locations=["south"]).json
    for path in ("templates/t", "locations/south", "statuses/ready"):
        answer = shared.call("DELETE", f"/companies/{C}/{path}", who="admin", headers={"If-Match": "*"})
        assert answer.status == 409, path
        assert rule["id"] in answer.json["detail"] or "used by" in answer.json["detail"]
    again = shared.call("POST", RULES, fresh(id=rule["id"]), who="editor")
    assert again.status == 409


def test_a_mailbox_is_disconnected_here_and_connected_elsewhere(spot: Spot) -> None:
    path = f"/companies/{C}/mailboxes/gm"
    box = spot.get(path)
    off = {**box.json, "connected": False, "users": ["editor@acme", "boss@acme"]}
    done = spot.call("PUT", path, off, who="admin", headers={"If-Match": box.etag})
    assert (done.status, done.json["connected"], done.json["users"]) == (200, False, off["users"])
    held = spot.connection.catalog(("mailboxes",)).mailbox(C, "gm")
    assert held is not None
    assert held.secret_ref == "env:ACME_SECRET"
    on = spot.call("PUT", path, box.json, who="admin", headers={"If-Match": "*"})
    assert on.fields == [("connected", "combination")]


def test_addresses_are_blocked_and_freed(shared: Spot) -> None:
    path = f"/companies/{C}/suppressions"
    body = {"channel": "email", "address": "Pest@Mail.Example"}
    first = shared.call("POST", path, body, who="admin")
    assert (first.status, first.json["address"]) == (201, "pest@mail.example")
    assert shared.call("POST", path, body, who="admin").json == first.json
    assert shared.get(f"{path}?channel=email").json["items"][0]["address"] == "p…@m….example"
    assert shared.call("DELETE", f"{path}/{first.json['id']}", who="admin").status == 204
    assert shared.get(f"{path}?channel=email").json["items"] == []
    stopped = {"channel": "sms", "address": "+48501111333"}
    assert shared.call("POST", path, stopped, who="admin").json["reason"] == "stop+staff"
    bad = shared.call("POST", path, {"channel": "sms", "address": "five"}, who="admin")
    assert bad.fields == [("address", "invalid")]
    audit = shared.get(f"/companies/{C}/audit?kind=suppression", who="editor")
    assert [each["what"] for each in audit.json["items"]] == ["create", "delete", "create"]
    assert b"pest@mail" not in audit.body


def test_who_changed_what_and_when(spot: Spot) -> None:
    answer = made(spot, id="told")
    put(spot, {**answer.json, "delay": 30}, answer.etag)
    spot.call("DELETE", f"{RULES}/told", who="admin", headers={"If-Match": "*"})
    path = f"/companies/{C}/audit?kind=rule&record_id=told"
    told = spot.get(path, who="editor").json["items"]
    assert [(each["what"], each["user"], each["way"]) for each in told] == [
        ("delete", "admin@acme", "api"),
        ("update", "editor@acme", "api"),
        ("create", "editor@acme", "api"),
    ]
    assert told[1]["fields"] == [{"field": "delay", "old": None, "new": "30 minutes"}]
    first = spot.get(f"{path}&limit=2", who="editor").json
    rest = spot.get(f"{path}&limit=2&cursor={first['next']}", who="editor").json
    assert first["items"] + rest["items"] == told
    assert spot.get(f"/companies/{C}/audit?user=nobody", who="editor").json["items"] == []


def test_nobody_takes_another_companys_number(spot: Spot) -> None:
    path = f"/companies/{C}"
    told = spot.get(path)
    for name, value in (("sms_sender", "+48599999999"), ("email_sender_address", "shop@zenith.example")):
        taken = {**told.json, name: value}
        answer = spot.call("PUT", path, taken, who="admin", headers={"If-Match": told.etag})
        assert answer.fields == [(name, "access")]
    named = {**told.json, "name": "Acme & Sons"}
    done = spot.call("PUT", path, named, who="admin", headers={"If-Match": told.etag})
    assert (done.status, done.json["name"]) == (200, "Acme & Sons")
    number = {**done.json, "sms_sender": "+48599999999"}
    assert spot.call("PUT", path, number, who="owner", headers={"If-Match": "*"}).status == 200
