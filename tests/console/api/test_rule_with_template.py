"""A rule and the template that it sends, made at once."""

from __future__ import annotations

from typing import Any

from tests.console.api.conftest import Answer, Spot
from tests.console.api.test_writing import RULES, fresh
from tests.support.shop import C

TEMPLATES = f"/companies/{C}/templates"
TEXT = {"name": "Ready", "texts": {"en": {"sms": "{{ entity.number }} is ready"}}}


def with_text(**changes: Any) -> dict[str, Any]:
    rule = fresh(template=TEXT, **changes)
    del rule["template_id"]
    return rule


def post(spot: Spot, rule: dict[str, Any], key: str = "") -> Answer:
    headers = {"Idempotency-Key": key} if key else {}
    return spot.call("POST", RULES, rule, who="editor", headers=headers)


def test_both_are_made_and_both_are_in_the_audit(shared: Spot) -> None:
    made = post(shared, with_text())
    assert made.status == 201, made
    template = shared.get(f"{TEMPLATES}/{made.json['template_id']}").json
    assert (template["name"], template["texts"]["en"]["sms"]) == ("Ready", "{{ entity.number }} is ready")
    for kind, id_ in (("rule", made.json["id"]), ("template", template["id"])):
        query = f"/companies/{C}/audit?kind={kind}&record_id={id_}"
        assert [one["what"] for one in shared.get(query, who="editor").json["items"]] == ["create"]


def test_a_rule_gets_another_that_is_made_with_it(shared: Spot) -> None:
    rule = post(shared, fresh()).json
    changed = {**rule, "template": TEXT, "template_id": ""}
    answer = shared.call("PUT", f"{RULES}/{rule['id']}", changed, who="editor", headers={"If-Match": "*"})
    assert answer.status == 200, answer
    assert answer.json["template_id"] not in ("t", "")
    assert shared.get(f"{TEMPLATES}/{answer.json['template_id']}").status == 200


def test_what_is_wrong_with_either_is_said_at_once_and_neither_is_made(shared: Spot) -> None:
    before = shared.get(TEMPLATES).json, shared.get(RULES).json
    texts = {"en": {"sms": "{{ entity.nmber }}"}}
    answer = post(shared, with_text(status_id="none") | {"template": {"name": "Bad", "texts": texts}})
    assert answer.status == 422
    assert [field for field, _ in answer.fields] == ["template.texts.en.sms", "status_id"]
    answer = post(shared, with_text(channel="email"))
    assert answer.fields == [("template.texts", "missing")]
    # A lead has no scheduled time: right for an order, wrong here.
    lead = with_text(entity="lead", status_id="lead-ready")
    lead["template"] = {"texts": {"en": {"sms": "{{ entity.date }}"}}}
    assert [field for field, _ in post(shared, lead).fields] == ["template.texts.en.sms"]
    assert post(shared, with_text() | {"template_id": "t"}).fields == [("template", "combination")]
    assert post(shared, with_text() | {"template": {**TEXT, "id": "t"}}).status == 409
    assert (shared.get(TEMPLATES).json, shared.get(RULES).json) == before


def test_the_same_key_makes_one_of_each(shared: Spot) -> None:
    rule = with_text() | {"id": "", "name": "Once"}
    first, again = (post(shared, rule, "once") for _ in range(2))
    assert first.body == again.body
