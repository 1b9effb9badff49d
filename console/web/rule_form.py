"""One rule: a form with only the choices that exist for its kind."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from console.api import rules, shop
from console.api.calls import Reply
from console.api.forms import RuleForm, SaveQuery
from console.api.views import SavedRuleView
from console.service.edits import ANY
from console.service.effect import Effect
from console.service.errors import (
    ChangedError,
    InUseError,
    NotThereError,
    RefusedError,
    UnconfirmedError,
)
from console.web import mailboxes, rule_effect, rule_text, trial
from console.web.layout import Fields, notice
from console.web.markup import Html, h, url
from console.web.reading import read
from console.web.rule_choices import has_hours, has_locations, kinds_of, triggers_of
from console.web.rule_list import status_name
from console.web.visits import Answer, Page, Redirect, Visit
from schemas.records import Channel, EntityKind, Role, Rule, RuleKind, Trigger, Unit
from streams.domain.problems import Problem

_ALL, _CHOSEN = "all", "chosen"

Given = Mapping[str, Any]
"""What stands in the form, by the record's fields; amounts as text where they were typed."""


async def new_rule(visit: Visit) -> Answer:
    entity, kind = _sort(visit.query.get("entity", "order"), visit.query.get("kind", "notification"))
    given = {
        "trigger": triggers_of(entity, kind)[0],
        "offset": 1,
        "offset_unit": Unit.DAYS,
        "delay_unit": Unit.MINUTES,
        "channel": Channel.SMS,
        "enabled": True,
    }
    return _page(visit, entity, kind, given, key=secrets.token_hex(16))


async def show_rule(visit: Visit) -> Answer:
    rule = _found(visit)
    return _page(visit, rule.entity, rule.kind, msgspec.structs.asdict(rule), rule=rule)


async def create_rule(visit: Visit) -> Answer:
    """Sent twice (a second click, a lost answer) it makes one rule."""
    entity, kind = _sort(visit.form.get("entity", ""), visit.form.get("kind", ""))
    key = visit.form.get("key", "")[:64]
    own = _own(visit, key)
    given = _given(visit, entity, kind)
    if trial.wanted(visit):
        return _page(visit, entity, kind, given, key=key, said=await _tried(visit, entity, given))
    try:
        form = read(RuleForm, rule_text.as_form(given))
        if "look" in visit.form:
            return _page(visit, entity, kind, given, key=key, effect=await _weighed(visit, form))
        reply = await rules.create_rule(visit.call(query=_confirmed(visit), body=form, key=own))
    except RefusedError as error:
        return _page(visit, entity, kind, given, rule_text.on_page(error.problems), key=key, status=422)
    except UnconfirmedError as error:
        return _page(visit, entity, kind, given, key=key, effect=error.effect, asks=True, status=409)
    return _saved(visit, reply)


async def save_rule(visit: Visit) -> Answer:
    rule = _found(visit)
    given = _given(visit, rule.entity, rule.kind) | {"max_lateness": rule.max_lateness}
    version = visit.form.get("version", "")
    sort = rule.entity, rule.kind
    if trial.wanted(visit):
        return _page(visit, *sort, given, rule=rule, said=await _tried(visit, rule.entity, given))
    try:
        form = read(RuleForm, rule_text.as_form(given))
        if "look" in visit.form:
            found = await _weighed(visit, msgspec.structs.replace(form, id=rule.id))
            return _page(visit, *sort, given, rule=rule, effect=found)
        wanted = int(version) if version.isascii() and version.isdigit() else ANY - 1
        call = visit.call(query=_confirmed(visit), body=form, path={"id": rule.id}, version=wanted)
        reply = await rules.replace_rule(call)
    except RefusedError as error:
        problems = rule_text.on_page(error.problems)
        return _page(visit, *sort, given, problems, rule=rule, status=422)
    except UnconfirmedError as error:
        return _page(visit, *sort, given, rule=rule, effect=error.effect, asks=True, status=409)
    except ChangedError:
        return _page(visit, *sort, given, rule=rule, status=412)
    return _saved(visit, reply)


async def _tried(visit: Visit, entity: EntityKind, given: Given) -> Html:
    """The text that it would send, the way it would be sent; to whoever writes the rule."""
    template = visit.catalog.template(visit.shop.id, _text(given, "template_id"))
    texts = dict(template.texts) if template is not None else {}
    if given.get("new_text"):
        texts = dict(given["texts"])
    how = {"channel": _text(given, "channel"), "entity": entity.value}
    return await trial.sent(
        visit, texts, visit.shop.language, how | {"mailbox_id": _text(given, "mailbox_id")}
    )


def _confirmed(visit: Visit) -> SaveQuery:
    """The number that was shown, and saved once more."""
    number = visit.form.get("confirm", "")
    good = number.isascii() and number.isdigit() and len(number) < 10
    return SaveQuery(confirm=int(number) if good else 0)


async def _weighed(visit: Visit, form: RuleForm) -> Effect:
    found = (await rules.weigh_rule(visit.call(body=form))).value
    assert isinstance(found, Effect)
    return found


def _saved(visit: Visit, reply: Reply) -> Redirect:
    saved = reply.value
    assert isinstance(saved, SavedRuleView)
    counts = rule_effect.as_query(saved.effect, saved.kind)
    return Redirect(to=url("c", visit.shop.id, "rules", entity=saved.entity, said="saved", **counts))


async def delete_rule(visit: Visit) -> Answer:
    rule = _found(visit)
    await shop.deleter("rule")(visit.call(path={"id": rule.id}))
    return Redirect(to=url("c", visit.shop.id, "rules", entity=rule.entity, said="saved"))


def _found(visit: Visit) -> Rule:
    rule = visit.catalog.rule(visit.shop.id, visit.path["id"])
    if rule is None:
        raise NotThereError
    return rule


def _sort(entity: str, kind: str) -> tuple[EntityKind, RuleKind]:
    """NotThereError for what there is none of."""
    if entity not in set(EntityKind) or kind not in set(RuleKind):
        raise NotThereError
    found = EntityKind(entity), RuleKind(kind)
    if found[1] not in kinds_of(found[0]):
        raise NotThereError
    return found


def _own(visit: Visit, key: str) -> str:
    """One user's form makes nobody else's rule."""
    if not key:
        raise InUseError("the form is too old; load it again")
    assert visit.who is not None
    return "\0".join(("page", visit.who.id, visit.shop.id, key))


# --- what was typed


def _given(visit: Visit, entity: EntityKind, kind: RuleKind) -> dict[str, Any]:
    """Only what belongs to what was chosen: without script all controls are there."""
    form = visit.form
    given: dict[str, Any] = {
        "entity": entity,
        "kind": kind,
        "name": form.get("name", ""),
        "trigger": form.get("trigger", ""),
        "channel": form.get("channel", ""),
        "template_id": form.get("template_id", ""),
        "enabled": form.get("enabled") == "yes",
    }
    if given["trigger"] == Trigger.STATUS_CHANGED_TO:
        given["status_id"] = form.get("status_id", "")
    amount = "offset" if kind is RuleKind.REMINDER else "delay"
    given[amount] = form.get(amount, "").strip() or "0"
    given[f"{amount}_unit"] = form.get(f"{amount}_unit", "")
    if kind is RuleKind.NOTIFICATION:
        given["only_if_still"] = form.get("only_if_still") == "yes"
    if has_hours(entity, kind):
        given["working_hours_only"] = form.get("working_hours_only") == "yes"
    if given["channel"] == Channel.EMAIL:
        given["mailbox_id"] = form.get("mailbox_id", "")
    if has_locations(entity) and form.get("where") == _CHOSEN:
        given["locations"] = form.getall("locations", [])
    return given | rule_text.given(visit)


# --- the form


def _page(
    visit: Visit,
    entity: EntityKind,
    kind: RuleKind,
    given: Given,
    problems: Sequence[Problem] = (),
    *,
    rule: Rule | None = None,
    key: str = "",
    effect: Effect | None = None,
    asks: bool = False,
    said: Html | None = None,
    status: int = 200,
) -> Page:
    """``effect``: what it would do; ``asks``: whether that is wanted. ``said``: what else there is to say."""
    words, company = visit.words, visit.shop.id
    fields = Fields(words, problems)
    if rule is None:
        action = url("c", company, "rules")
        hidden = {"entity": entity, "kind": kind, "key": key}
    else:
        action = url("c", company, "rules", rule.id)
        hidden = {"version": str(rule.version)}
    if effect is not None and asks:
        hidden["confirm"] = str(effect.messages)
    form = h(
        "form",
        visit.csrf(),
        [h("input", type="hidden", name=name, value=value) for name, value in hidden.items()],
        fields.text("name", _text(given, "name"), maxlength=200),
        _when(visit, fields, entity, kind, given),
        _how(visit, fields, given),
        _where(visit, fields, given) if has_locations(entity) else None,
        fields.check("enabled", bool(given.get("enabled"))),
        h("button", words("effect.sure") if asks else words("save")),
        " ",
        h("button", words("bulk.look"), name="look", value="yes", class_="quiet"),
        " ",
        trial.button(visit),
        " ",
        h("a", words("back"), href=url("c", company, "rules", entity=entity)),
        method="post",
        action=action,
        data_preview=url("c", company, "templates", "preview"),
    )
    body = [said, fields.summary(), form]
    if effect is not None:
        body.insert(0, rule_effect.shown(effect, kind, words, asks=asks))
    if status == 412:
        body.insert(0, notice(words("changed_meanwhile"), wrong=True))
    if rule is not None and visit.may(Role.EDITOR):
        body.append(_removal(visit, rule))
    what = words(f"kind.{kind}") if rule is None else rule.name or rule.id
    title = f"{words(f'entities.{entity}')}: {what}"
    return Page(title=title, body=[one for one in body if one is not None], status=status, at="rules")


def _text(given: Given, name: str) -> str:
    value = given.get(name)
    return "" if value is None else str(value)


def _when(visit: Visit, fields: Fields, entity: EntityKind, kind: RuleKind, given: Given) -> Html:
    words, catalog, company = visit.words, visit.catalog, visit.shop.id
    parts: list[Html] = []
    if kind is RuleKind.REMINDER:
        parts.append(h("input", type="hidden", name="trigger", value=Trigger.BEFORE_TIME))
        parts.append(_amount(fields, "offset", given))
    else:
        triggers = {one.value: words(f"occasion.{one}", status="…") for one in triggers_of(entity, kind)}
        if Trigger.TIME_CHANGED in triggers:
            triggers[Trigger.TIME_CHANGED] = words(f"occasion.time_changed.{entity}")
        parts.append(fields.choice("trigger", triggers, _text(given, "trigger")))
        statuses = {
            one.id: status_name(company, entity, one.id, catalog, words)
            for one in catalog.statuses_of(company)
            if one.entity is entity
        }
        when = "trigger=status_changed_to"
        parts.append(fields.choice("status_id", statuses, _text(given, "status_id"), empty="-", when=when))
        parts.append(_amount(fields, "delay", given))
        parts.append(fields.check("only_if_still", bool(given.get("only_if_still"))))
    if has_hours(entity, kind):
        parts.append(fields.check("working_hours_only", bool(given.get("working_hours_only"))))
    return h("fieldset", h("legend", words("head.when")), parts)


def _amount(fields: Fields, name: str, given: Given) -> Html:
    words, unit = fields.words, f"{name}_unit"
    units = {one.value: words(f"unit.{one}") for one in Unit}
    number = h(
        "input",
        type="number",
        id=name,
        name=name,
        min=0 if name == "delay" else 1,
        max=527_040,
        value=_text(given, name) or "0",
        **fields.told(name),
    )
    chosen = _text(given, unit)
    entries = [h("option", label, value=value, selected=value == chosen) for value, label in units.items()]
    choice = h("select", entries, id=unit, name=unit, aria_label=words("field.unit"))
    return fields.wrapped(name, h("span", number, " ", choice, class_="row"))


def _how(visit: Visit, fields: Fields, given: Given) -> Html:
    words, catalog, company = visit.words, visit.catalog, visit.shop.id
    channels = {one.value: words(f"channel.{one}") for one in Channel}
    own = visit.who.id if visit.who is not None else ""
    senders = {
        one.id: one.address for one in catalog.mailboxes_of(company) if one.connected and own in one.users
    }
    templates = {
        one.id: one.name or one.id
        for one in sorted(catalog.templates_of(company), key=lambda one: one.name or one.id)
    }
    chosen = _text(given, "mailbox_id")
    held = catalog.mailbox(company, chosen)
    if held is not None:
        senders[held.id] = held.address
    return h(
        "fieldset",
        h("legend", words("how")),
        fields.choice("channel", channels, _text(given, "channel")),
        fields.choice("mailbox_id", senders, chosen, empty=words("own_address"), when="channel=email"),
        mailboxes.offer(visit),
        fields.choice("template_id", templates, _text(given, "template_id"), empty="-"),
        fields.check("new_text", bool(given.get("new_text"))),
        rule_text.box(visit, fields, given),
    )


def _where(visit: Visit, fields: Fields, given: Given) -> Html:
    words, chosen = visit.words, given.get("locations")
    radios = [
        h(
            "div",
            h("input", type="radio", name="where", value=value, id=f"where-{value}", checked=on),
            h("label", words(key), for_=f"where-{value}"),
            class_="check",
        )
        for value, key, on in (
            (_ALL, "all_locations", chosen is None),
            (_CHOSEN, "chosen_locations", chosen is not None),
        )
    ]
    boxes = [
        h(
            "div",
            h(
                "input",
                type="checkbox",
                name="locations",
                value=one.id,
                id=f"location-{one.id}",
                checked=chosen is not None and one.id in chosen,
            ),
            h("label", one.name, for_=f"location-{one.id}"),
            class_="check",
        )
        for one in sorted(visit.catalog.locations_of(visit.shop.id), key=lambda one: one.name.casefold())
    ]
    return h(
        "fieldset",
        h("legend", words("field.locations")),
        radios,
        h("div", boxes, data_when=f"where={_CHOSEN}", class_="inset"),
        fields.wrong("locations"),
        id="locations",
    )


def _removal(visit: Visit, rule: Rule) -> Html:
    return h(
        "form",
        visit.csrf(),
        h("h2", visit.words("delete")),
        h("p", visit.words("delete.hint")),
        h("button", visit.words("delete"), class_="danger"),
        method="post",
        action=url("c", rule.company, "rules", rule.id, "delete"),
    )
