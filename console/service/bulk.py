"""The same edit on many rules: each is done whole or not at all, with a result for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from console.service.edits import ANY, Author, Edit, delete, save
from console.service.errors import RefusedError
from console.service.kinds import KINDS
from schemas.records import Channel, Rule
from streams.domain import bulk
from streams.domain.catalog import Catalog
from streams.domain.problems import Problem


class Action(StrEnum):
    DELETE = "delete"
    ENABLE = "enable"
    DISABLE = "disable"
    CHANGE_TEMPLATE = "change_template"
    CHANGE_CHANNEL = "change_channel"
    COPY_TO_LOCATIONS = "copy_to_locations"


class Result(StrEnum):
    DONE = "done"
    """Or, of a dry run: it would be."""
    UNCHANGED = "unchanged"
    REFUSED = "refused"
    CHANGED = "changed"
    """By somebody else, since it was read."""
    NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """``items``: ids of rules, each with the version that it must have (ANY: whichever)."""

    action: Action
    items: Sequence[tuple[str, int]]
    template_id: str = ""
    channel: Channel | None = None
    mailbox_id: str = ""
    locations: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """What becomes of one rule; of copies, one rule at one location."""

    id: str
    result: Result
    location_id: str = ""
    new_id: str = ""
    version: int | None = None
    """That it has afterwards; None: there is none, or nothing was done."""
    problems: Sequence[Problem] = ()
    edit: Edit | None = None


def check(order: Order) -> None:
    """Raises RefusedError for what is wrong with the order itself."""
    problems = []
    wants = {
        Action.CHANGE_TEMPLATE: ("template_id", bool(order.template_id)),
        Action.CHANGE_CHANNEL: ("channel", order.channel is not None),
        Action.COPY_TO_LOCATIONS: ("locations", bool(order.locations)),
    }
    for action, (field, given) in wants.items():
        if action is order.action and not given:
            problems.append(Problem(field, f"{action.value} needs it", "missing"))
        if action is not order.action and given:
            problems.append(Problem(field, f"belongs to {action.value}", "combination"))
    if order.mailbox_id and order.channel is not Channel.EMAIL:
        problems.append(Problem("mailbox_id", "belongs to change_channel with email", "combination"))
    if not order.items:
        problems.append(Problem("items", "names no rule", "missing"))
    seen: set[str] = set()
    for number, (id_, _) in enumerate(order.items):
        if id_ in seen:
            problems.append(Problem(f"items[{number}].id", f"{id_[:60]!r} is named twice", "taken"))
        seen.add(id_)
    if problems:
        raise RefusedError(problems)


def decide(order: Order, company: str, catalog: Catalog, author: Author) -> list[Item]:
    """In the order of ``items``. Raises RefusedError as ``check`` does."""
    check(order)
    found: dict[str, Rule] = {}
    refused: dict[str, Item] = {}
    for id_, version in order.items:
        rule = catalog.rule(company, id_)
        if rule is None:
            refused[id_] = Item(id=id_, result=Result.NOT_FOUND)
        elif version not in (ANY, rule.version):
            refused[id_] = Item(id=id_, result=Result.CHANGED, version=rule.version)
        else:
            found[id_] = rule
    done: dict[str, list[Item]] = {id_: [] for id_ in found}
    for item in _decided(order, list(found.values()), company, catalog, author):
        done[item.id].append(item)
    return [item for id_, _ in order.items for item in (done.get(id_) or [refused[id_]])]


def _decided(order: Order, rules: list[Rule], company: str, catalog: Catalog, author: Author) -> list[Item]:
    user, now = author.user or None, author.now
    if order.action is Action.DELETE:
        return [_deleted(rule, company, catalog, author) for rule in rules]
    if order.action is Action.COPY_TO_LOCATIONS:
        copies = bulk.copy_to_locations(rules, order.locations, catalog, user, now=now)
        return [_item(copy.source_id, None, copy.outcome, author, copy.location_id) for copy in copies]
    if order.action is Action.CHANGE_TEMPLATE:
        outcomes = bulk.change_template(rules, order.template_id, catalog, user, now=now)
    elif order.action is Action.CHANGE_CHANNEL:
        assert order.channel is not None  # checked
        outcomes = bulk.change_channel(
            rules, order.channel, catalog, user, now=now, mailbox_id=order.mailbox_id
        )
    else:
        outcomes = bulk.set_enabled(rules, order.action is Action.ENABLE, catalog, user, now=now)
    return [_item(rule.id, rule, outcome, author) for rule, outcome in zip(rules, outcomes, strict=True)]


def _deleted(rule: Rule, company: str, catalog: Catalog, author: Author) -> Item:
    edit = delete(catalog, KINDS["rule"], company, rule.id, rule.version, author)
    return Item(id=rule.id, result=Result.DONE, edit=edit)


def _item(id_: str, old: Rule | None, outcome: bulk.Outcome, author: Author, location: str = "") -> Item:
    if isinstance(outcome, list):
        return Item(id=id_, result=Result.REFUSED, location_id=location, problems=outcome)
    if outcome is old:
        return Item(id=id_, result=Result.UNCHANGED, version=outcome.version)
    return Item(
        id=id_,
        result=Result.DONE,
        location_id=location,
        new_id=outcome.id if old is None else "",
        version=outcome.version,
        edit=save(old, outcome, author),
    )
