"""A company's rules in the sections that staff know, and the same done to many of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from console.api import shop
from console.api.forms import BulkForm, RuleQuery
from console.api.views import BulkView, Paged, RuleView
from console.service.bulk import Action, Result
from console.service.errors import RefusedError
from console.web import rule_effect
from console.web import words as languages
from console.web.layout import notice, table
from console.web.markup import Html, h, joined, url
from console.web.reading import read
from console.web.rule_choices import kinds_of
from console.web.visits import Answer, Page, Redirect, Visit
from schemas.records import Channel, EntityKind, Role, Rule, RuleKind, Trigger
from streams.domain.catalog import Catalog

_PAGE = 200


async def show_rules(visit: Visit) -> Answer:
    words, company = visit.words, visit.shop.id
    query = read(RuleQuery, {"limit": str(_PAGE), "entity": "order"} | _asked(visit))
    reply = await shop.lister("rule")(visit.call(query=query))
    assert isinstance(reply.value, Paged)
    entity = query.entity or EntityKind.ORDER
    rules = [one for one in reply.value.items if isinstance(one, RuleView)]
    body = [_done(visit), _tabs(visit, entity), _search(visit, entity, query.q)]
    sections = [_section(visit, entity, kind, rules) for kind in kinds_of(entity)]
    if visit.may(Role.EDITOR) and rules:
        sections.append(_actions(visit, entity))
        body.append(
            h("form", visit.csrf(), sections, method="post", action=url("c", company, "rules", "bulk"))
        )
    else:
        body += sections
    if reply.value.next is not None:
        more = url("c", company, "rules", entity=entity, q=query.q, cursor=reply.value.next)
        body.append(h("p", h("a", words("more"), href=more)))
    return Page(title=words("menu.rules"), body=[one for one in body if one is not None], at="rules")


def _asked(visit: Visit) -> dict[str, str]:
    names = ("entity", "q", "cursor", "location_id", "template_id")
    return {name: visit.query[name] for name in names if visit.query.get(name)}


def _done(visit: Visit) -> Html | None:
    said = visit.query.get("said", "")
    if said == "saved":
        return rule_effect.saved(visit)
    if said == "bulk":
        counts = {name: visit.query.get(name, "0")[:6] for name in ("done", "all")}
        return notice(visit.words("bulk.finished", **counts))
    return None


def _tabs(visit: Visit, entity: EntityKind) -> Html:
    entries = [
        h(
            "li",
            h(
                "a",
                visit.words(f"entities.{one}"),
                href=url("c", visit.shop.id, "rules", entity=one),
                aria_current="page" if one is entity else None,
            ),
        )
        for one in EntityKind
    ]
    return h("nav", h("ul", entries, class_="tabs"), aria_label=visit.words("sections"))


def _search(visit: Visit, entity: EntityKind, q: str) -> Html:
    return h(
        "form",
        h("input", type="hidden", name="entity", value=entity),
        h("label", visit.words("search"), for_="q"),
        h("input", type="search", id="q", name="q", value=q, maxlength=200),
        h("button", visit.words("show"), class_="quiet"),
        method="get",
        class_="row",
        role="search",
    )


def _section(visit: Visit, entity: EntityKind, kind: RuleKind, rules: Iterable[RuleView]) -> Html:
    words, company, editor = visit.words, visit.shop.id, visit.may(Role.EDITOR)
    those = [rule for rule in rules if rule.kind is kind]
    heading = f"{kind}-heading"
    rows = [_row(visit, rule, editor) for rule in those]
    heads: tuple[str, ...] = ("rule", "when", "channel", "template", "locations", "state")
    shown: Html = (
        table([words(f"head.{one}") for one in heads], rows, words(f"kinds.{kind}"))
        if rows
        else h("p", words("none"))
    )
    new = url("c", company, "rules", "new", entity=entity, kind=kind)
    add = h("p", h("a", words(f"add.{kind}"), href=new, class_="button")) if editor else None
    return h("section", h("h2", words(f"kinds.{kind}"), id=heading), add, shown, aria_labelledby=heading)


def _row(visit: Visit, rule: RuleView, editor: bool) -> Sequence[Html | str]:
    words, catalog = visit.words, visit.catalog
    name = rule.name or rule.id
    link = h("a", name, href=url("c", rule.company, "rules", rule.id)) if editor else h("span", name)
    box = h(
        "input",
        type="checkbox",
        name="item",
        value=f"{rule.version}:{rule.id}",
        aria_label=words("select", name=name),
    )
    template = catalog.template(rule.company, rule.template_id)
    cost = ""
    if rule.segments is not None:
        least, most = rule.segments.least, rule.segments.most
        cost = words("segments", n=str(most) if least == most else f"{least}-{most}")
    return (
        joined(box if editor else None, " ", link),
        occasion(rule, catalog, words),
        joined(words(f"channel.{rule.channel}"), h("small", cost) if cost else None),
        template.name or template.id if template is not None else rule.template_id,
        places(rule.locations, rule.company, catalog, words),
        words("on" if rule.enabled else "off"),
    )


def occasion(rule: Rule, catalog: Catalog, words: languages.Words) -> str:
    """When it goes, in words."""
    if rule.trigger is Trigger.BEFORE_TIME:
        return words("occasion.before_time", amount=words.amount(rule.offset, rule.offset_unit))
    if rule.trigger is Trigger.STATUS_CHANGED_TO:
        name = status_name(rule.company, rule.entity, rule.status_id, catalog, words)
        said = words("occasion.status_changed_to", status=name)
    else:
        said = words(f"occasion.{rule.trigger}")
    if rule.delay:
        said += words("occasion.delay", amount=words.amount(rule.delay, rule.delay_unit))
    return said


def status_name(company: str, kind: EntityKind, id_: str, catalog: Catalog, words: languages.Words) -> str:
    status = catalog.status(company, kind, id_)
    if status is None:
        return id_
    return status.names.get(words.language) or next(iter(status.names.values()), id_)


def places(ids: Sequence[str] | None, company: str, catalog: Catalog, words: languages.Words) -> str:
    if ids is None:
        return words("all_locations")
    found = {id_: catalog.location(company, id_) for id_ in ids}
    return ", ".join(one.name if one is not None else id_ for id_, one in found.items())


# --- the same on many


def _actions(visit: Visit, entity: EntityKind) -> Html:
    words, company = visit.words, visit.shop.id
    catalog = visit.catalog
    actions = [
        h(
            "div",
            h("input", type="radio", name="action", value=one, id=f"action-{one}", required=True),
            h("label", words(f"bulk.{one}"), for_=f"action-{one}"),
        )
        for one in Action
        if one is not Action.COPY_TO_LOCATIONS or entity is not EntityKind.LEAD
    ]
    templates = {one.id: one.name or one.id for one in catalog.templates_of(company)}
    mailboxes = {one.id: one.address for one in catalog.mailboxes_of(company) if one.connected}
    boxes = [
        h(
            "div",
            h("input", type="checkbox", name="locations", value=one.id, id=f"copy-{one.id}"),
            h("label", one.name, for_=f"copy-{one.id}"),
        )
        for one in sorted(catalog.locations_of(company), key=lambda one: one.name.casefold())
    ]
    copies = h("fieldset", h("legend", words("field.locations")), boxes, data_when="action=copy_to_locations")
    return h(
        "fieldset",
        h("legend", words("bulk.heading")),
        h("input", type="hidden", name="entity", value=entity),
        actions,
        _choice(words("field.template_id"), "template_id", templates, "action=change_template"),
        _choice(
            words("field.channel"),
            "channel",
            {one.value: words(f"channel.{one}") for one in Channel},
            "action=change_channel",
        ),
        _choice(words("field.mailbox_id"), "mailbox_id", mailboxes, "action=change_channel"),
        copies if entity is not EntityKind.LEAD else None,
        h("button", words("bulk.look")),
        class_="actions",
    )


def _choice(label: str, name: str, options: dict[str, str], when: str) -> Html:
    entries = [h("option", text, value=value) for value, text in {"": "-", **options}.items()]
    return h(
        "div",
        h("label", label, for_=f"bulk-{name}"),
        h("select", entries, id=f"bulk-{name}", name=name),
        class_="field",
        data_when=when,
    )


async def bulk(visit: Visit) -> Answer:
    """First what would happen; then, confirmed, it happens."""
    words, company = visit.words, visit.shop.id
    try:
        order = _order(visit)
        reply = await shop.bulk_rules(visit.call(body=order))
    except RefusedError as error:
        wrong = [
            notice(f"{words(f'error.{one.code}')} {one.field}: {one.message}", wrong=True)
            for one in error.problems
        ]
        return Page(title=words("bulk.heading"), body=[*wrong, _back(visit)], status=422, at="rules")
    view = reply.value
    assert isinstance(view, BulkView)
    if not order.dry_run and all(one.result in (Result.DONE, Result.UNCHANGED) for one in view.results):
        entity, counts = visit.form.get("entity", ""), {"done": str(view.done), "all": str(len(view.results))}
        return Redirect(to=url("c", company, "rules", entity=entity, said="bulk", **counts))
    return Page(title=words(f"bulk.{order.action}"), body=_summary(visit, order, view), at="rules")


def _order(visit: Visit) -> BulkForm:
    """Only what belongs to the action is taken: without script all controls are there."""
    form, action = visit.form, visit.form.get("action", "")
    given: dict[str, object] = {"action": action, "dry_run": form.get("sure") != "yes"}
    items = []
    for chosen in form.getall("item", []):
        version, _, id_ = chosen.partition(":")
        items.append({"id": id_, "version": version})
    given["items"] = items
    names = {
        Action.CHANGE_TEMPLATE: ("template_id",),
        Action.CHANGE_CHANNEL: ("channel", "mailbox_id"),
        Action.COPY_TO_LOCATIONS: (),
    }
    for name in names.get(action, ()):  # type: ignore[call-overload]  # a word that is no action has none
        if form.get(name):
            given[name] = form[name]
    if given.get("channel") != Channel.EMAIL:
        given.pop("mailbox_id", None)
    if action == Action.COPY_TO_LOCATIONS:
        given["locations"] = form.getall("locations", [])
    return read(BulkForm, given)


def _summary(visit: Visit, order: BulkForm, view: BulkView) -> list[Html]:
    words, catalog, company = visit.words, visit.catalog, visit.shop.id
    counts = Counter(one.result for one in view.results)
    said = ", ".join(f"{words(f'result.{one}')}: {counts[one]}" for one in Result if counts[one])
    rows = []
    for one in view.results:
        rule = catalog.rule(company, one.id)
        place = catalog.location(company, one.location_id)
        faults = [
            joined(words(f"error.{each.code}"), " ", h("span", each.message, lang="en"), " ")
            for each in one.errors
        ]
        rows.append(
            (
                rule.name or rule.id if rule is not None else one.id,
                place.name if place is not None else one.location_id,
                words(f"result.{one.result}"),
                faults,
            )
        )
    key = "bulk.would" if view.dry_run else "bulk.finished"
    heads = [words(f"head.{one}") for one in ("rule", "location", "result", "why")]
    body = [
        notice(joined(words(key, done=view.done, all=len(view.results)), " ", said)),
        table(heads, rows, words("head.result")),
    ]
    if view.dry_run and view.done:
        body.append(_confirmation(visit, order))
    return [*body, _back(visit)]


def _confirmation(visit: Visit, order: BulkForm) -> Html:
    entity = visit.form.get("entity", "")
    given = [("action", order.action.value), ("entity", entity), ("sure", "yes")]
    given += [("item", f"{one.version}:{one.id}") for one in order.items]
    given += [("template_id", order.template_id), ("mailbox_id", order.mailbox_id)]
    given += [("channel", order.channel.value if order.channel is not None else "")]
    given += [("locations", one) for one in order.locations]
    hidden = [h("input", type="hidden", name=name, value=value) for name, value in given if value]
    danger = "danger" if order.action is Action.DELETE else None
    sure = h("button", visit.words("bulk.sure"), class_=danger)
    return h(
        "form", visit.csrf(), hidden, sure, method="post", action=url("c", visit.shop.id, "rules", "bulk")
    )


def _back(visit: Visit) -> Html:
    back = url("c", visit.shop.id, "rules", entity=visit.form.get("entity", ""))
    return h("p", h("a", visit.words("back"), href=back))
