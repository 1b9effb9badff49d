"""A new text, written in the form of the rule that sends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from console.web.layout import Fields, saying
from console.web.markup import Html, h
from console.web.templates import added_language, given_texts, language_box, variable_buttons, written
from console.web.visits import Visit
from schemas.records import TemplateText
from streams.domain.problems import Problem

_OF_API = "template."


def given(visit: Visit) -> dict[str, Any]:
    """What stands in the form; nothing of it where a template was chosen."""
    if visit.form.get("new_text") != "yes":
        return {}
    return {"new_text": True, "text_name": visit.form.get("text_name", ""), "texts": given_texts(visit)}


def as_form(found: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a rule, with what the API takes in the place of ``given``."""
    fields = {name: value for name, value in found.items() if name not in ("new_text", "text_name", "texts")}
    if not found.get("new_text"):
        return fields
    texts = msgspec.to_builtins(written(found["texts"]))
    return fields | {"template_id": "", "template": {"name": found["text_name"], "texts": texts}}


def on_page(problems: Sequence[Problem]) -> list[Problem]:
    """By the names of the fields below."""
    names = {"template.name": "text_name", "template": "new_text"}
    return [
        Problem(names.get(one.field) or one.field.removeprefix(_OF_API), one.message, one.code)
        for one in problems
    ]


def box(visit: Visit, fields: Fields, found: Mapping[str, Any]) -> Html:
    """Shown once it is wanted; without script always."""
    words = visit.words
    texts = found.get("texts") or {visit.shop.language: TemplateText()}
    whole = {"texts", *(f"texts.{tag}" for tag in texts)}
    wrong = [one for one in fields.problems if one.field in whole]
    inside = h(
        "fieldset",
        h("legend", words("add.template")),
        fields.text("text_name", str(found.get("text_name", "")), maxlength=200),
        h("p", [saying(one, words) for one in wrong], class_="problem", id="texts-problem"),
        [language_box(visit, fields, tag, text, editor=True) for tag, text in texts.items()],
        variable_buttons(visit),
        h("div", added_language(visit, texts), class_="row"),
        id="texts",
        aria_describedby="texts-problem" if wrong else None,
    )
    return h("div", inside, data_when="new_text=yes")
