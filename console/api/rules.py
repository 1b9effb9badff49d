"""Saving a rule: what it would do is said, and above a limit asked about, before it is done. A template may
be made with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from console.api import shop
from console.api.calls import Call, Reply
from console.api.forms import RuleForm, SaveQuery
from console.api.views import RuleView, SavedRuleView
from console.index.queries import Queries
from console.service.alone import with_these
from console.service.edits import Edit, create
from console.service.edits import replace as edit_of
from console.service.effect import Effect, effect, expect_confirmed
from console.service.errors import RefusedError
from console.service.kinds import KINDS, template_problems
from console.shop_difference import ShopRecord
from schemas.records import Channel, Rule, Template
from streams.domain.catalog import Catalog
from streams.domain.problems import Problem
from streams.domain.rules import missing_texts

_KIND = KINDS["rule"]


async def create_rule(call: Call) -> Reply:
    form = call.given(RuleForm)
    rule, template = _asked(call, "")
    known = call.desk.catalog.rule(call.company, rule.id)
    if known is not None and not form.id:  # by the same key, and the answer was lost
        return _saved(call, known, await _count(call, known), 201)
    return await _save(call, rule, template, 201)


async def replace_rule(call: Call) -> Reply:
    return await _save(call, *_asked(call, call.path["id"]), 200)


async def weigh_rule(call: Call) -> Reply:
    """Checked as if it were saved, whether it is there or not; nothing is written."""
    rule, template = _asked(call, "")
    known = call.desk.catalog.rule(call.company, rule.id) is not None
    edits = _edits(call, rule, template, known=known)
    return Reply(value=await _count(call, _in(edits, rule)))


async def _save(call: Call, rule: Rule, template: Template | None, status: int) -> Reply:
    """201: as a new one. Raises RefusedError, UnconfirmedError, and what the edits raise."""
    desk, found = call.desk, None
    # Counting may take a while: the company's other writers don't wait for it.
    edits = _edits(call, rule, template, known=status != 201)
    if edits:
        found = await _count(call, _in(edits, rule))
        confirmed = call.query.confirm if isinstance(call.query, SaveQuery) else 0
        expect_confirmed(found, confirmed, desk.settings.console_ask_above)
    async with desk.lock(call.company):
        await desk.write(_edits(call, rule, template, known=status != 201))
        return _saved(call, shop.read_back(_KIND, call, rule.id), found, status)


def _saved(call: Call, rule: ShopRecord, found: Effect | None, status: int) -> Reply:
    view = shop.seen(rule, call.desk.catalog)
    fields = {name: getattr(view, name) for name in RuleView.__struct_fields__}
    return Reply(value=SavedRuleView(**fields, effect=found), status=status, version=rule.version)


async def _count(call: Call, rule: Rule) -> Effect:
    desk = call.desk

    def ask(queries: Queries) -> Effect:
        def blocked(channel: Channel, address: str) -> bool:
            name = desk.index.suppression_name(call.company, channel, address)
            return queries.suppression(call.company, name) is not None

        return effect(queries, rule, desk.catalog, blocked, call.now)

    return await desk.index.ask(ask)


# --- what is asked for, and what it takes


def _asked(call: Call, id_: str) -> tuple[Rule, Template | None]:
    """``id_``: of the path. A template that is made with the rule has its id before either is written."""
    form, template = call.given(RuleForm), None
    if form.template is not None:
        if form.template_id:
            raise RefusedError([Problem("template", "not together with template_id", "combination")])
        of_template = replace(call, body=form.template, key=f"{call.key}\0template" if call.key else "")
        template = shop.record_of(KINDS["template"], of_template, "")
        form = msgspec.structs.replace(form, template_id=template.id)
    return shop.record_of(_KIND, replace(call, body=form), id_), template


def _edits(call: Call, rule: Rule, template: Template | None, *, known: bool) -> list[Edit]:
    """All or none of them are written, the template first: where only that came to be, the same key makes the
    rule. Everything that is wrong with either is said at once."""
    catalog, edits, problems = call.desk.catalog, list[Edit | None](), list[Problem]()
    around = catalog
    if template is not None:
        form = call.given(RuleForm).template
        made = form is not None and not form.id and catalog.template(call.company, template.id) is not None
        problems = _wrong_with(template, rule, catalog)
        if not made and not problems:
            edits.append(create(catalog, template, call.author))
        around = with_these(catalog, call.company, template, rules=True)
    try:
        edits.append(
            edit_of(around, rule, call.version, call.author) if known else create(around, rule, call.author)
        )
    except RefusedError as error:
        problems += [one for one in error.problems if template is None or one.field != "template_id"]
    if problems:
        raise RefusedError(problems)
    return [one for one in edits if one is not None]


def _wrong_with(template: Template, rule: Rule, catalog: Catalog) -> list[Problem]:
    """Also as a text of this rule's, which nothing but the rule needs it to be."""
    company = catalog.company(rule.company)
    found = template_problems(template, [rule], {company.language} if company is not None else ())
    missing = missing_texts(template, rule.channel) if not found else ""
    if missing:
        found.append(Problem("texts", f"can't be sent as {rule.channel}: it needs {missing}", "missing"))
    return [Problem(f"template.{one.field}", one.message, one.code) for one in found]


def _in(edits: Sequence[Edit], rule: Rule) -> Rule:
    """With the version and the time that it is written with."""
    return next((one.record for one in edits if isinstance(one.record, Rule)), rule)
