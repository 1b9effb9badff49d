"""Saving a rule: what it would do is said, and above a limit asked about, before it is done."""

from __future__ import annotations

import dataclasses

from console.api import shop
from console.api.calls import Call, Reply
from console.api.forms import RuleForm, SaveQuery
from console.api.views import RuleView, SavedRuleView
from console.index.queries import Queries
from console.service.edits import ANY, Edit, create, replace
from console.service.effect import Effect, effect, expect_confirmed
from console.service.kinds import KINDS
from schemas.records import Channel, Rule

_KIND = KINDS["rule"]


async def create_rule(call: Call) -> Reply:
    rule = shop.record_of(_KIND, call, "")
    known = call.desk.catalog.rule(call.company, rule.id)
    if known is not None and not call.given(RuleForm).id:  # by the same key, and the answer was lost
        found: Effect | None = await count(call, known)
    else:
        found = await _confirmed(call, create(call.desk.catalog, rule, call.author))
    return _with(await shop.creator("rule")(call), found)


async def replace_rule(call: Call) -> Reply:
    rule = shop.record_of(_KIND, call, call.path["id"])
    found = await _confirmed(call, replace(call.desk.catalog, rule, call.version, call.author))
    return _with(await shop.replacer("rule")(call), found)


async def weigh_rule(call: Call) -> Reply:
    """Checked as if it were saved, whether it is there or not; nothing is written."""
    catalog = call.desk.catalog
    rule = shop.record_of(_KIND, call, "")
    known = catalog.rule(call.company, rule.id)
    edit = create(catalog, rule, call.author) if known is None else replace(catalog, rule, ANY, call.author)
    return Reply(value=await count(call, known if edit is None else edit.record))


async def count(call: Call, rule: object) -> Effect:
    assert isinstance(rule, Rule)
    desk = call.desk

    def ask(queries: Queries) -> Effect:
        def blocked(channel: Channel, address: str) -> bool:
            name = desk.index.suppression_name(call.company, channel, address)
            return queries.suppression(call.company, name) is not None

        return effect(queries, rule, desk.catalog, blocked, call.now)

    return await desk.index.ask(ask)


async def _confirmed(call: Call, edit: Edit | None) -> Effect | None:
    """None: nothing is to be done. Raises UnconfirmedError."""
    if edit is None:
        return None
    found = await count(call, edit.record)
    confirmed = call.query.confirm if isinstance(call.query, SaveQuery) else 0
    expect_confirmed(found, confirmed, call.desk.settings.console_ask_above)
    return found


def _with(reply: Reply, found: Effect | None) -> Reply:
    assert isinstance(reply.value, RuleView)
    fields = {name: getattr(reply.value, name) for name in RuleView.__struct_fields__}
    return dataclasses.replace(reply, value=SavedRuleView(**fields, effect=found))
