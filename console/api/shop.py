"""Companies, rules, templates, locations, statuses, mailboxes: read and edited."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from console.api.calls import Call, Handler, Reply, cursor_of, place_of
from console.api.forms import (
    BulkForm,
    Form,
    MailboxForm,
    NameQuery,
    Page,
    RuleQuery,
)
from console.api.problems import field_errors
from console.api.views import BulkResult, BulkView, CompanyBrief, MailboxView, Paged, RuleView, Segments
from console.rules import occasion, segment_range
from console.service import bulk
from console.service.edits import ANY, create, delete, replace
from console.service.errors import InUseError, NotThereError, RefusedError
from console.service.kinds import KINDS, RecordKind
from console.service.people import EVERY, role_of
from console.shop_difference import ShopRecord
from schemas.records import Channel, Company, Location, Mailbox, Role, Rule, Status, Template
from streams.domain.catalog import Catalog
from streams.domain.problems import Problem

T = TypeVar("T")

READ_ONLY = frozenset({"id", "company", "version", "changed_at", "changed_by"})

RECORDS: dict[str, Any] = {
    "company": Company,
    "rule": Rule,
    "template": Template,
    "location": Location,
    "status": Status,
    "mailbox": Mailbox,
}


# --- reading


Costs = dict[tuple[str, Channel], Segments | None]
"""What one message costs, by template: many rules send the same one."""


def seen(record: ShopRecord, catalog: Catalog, costs: Costs | None = None) -> Any:
    """As it is shown. ``costs``: of the same page."""
    if isinstance(record, Rule):
        fields = {name: getattr(record, name) for name in Rule.__struct_fields__}
        return RuleView(
            **fields,
            occasion=occasion(record),
            segments=_segments(record, catalog, {} if costs is None else costs),
        )
    if isinstance(record, Mailbox):
        # Where its secret is, is for those who operate the workers.
        return MailboxView(
            id=record.id,
            company=record.company,
            address=record.address,
            provider=record.provider,
            users=record.users,
            connected=record.connected,
            version=record.version,
        )
    return record


def _segments(rule: Rule, catalog: Catalog, costs: Costs) -> Segments | None:
    key = (rule.template_id, rule.channel)
    if key not in costs:
        found = segment_range(rule, catalog)
        costs[key] = None if found is None else Segments(least=found[0], most=found[1])
    return costs[key]


async def list_companies(call: Call) -> Reply:
    found = []
    for company in call.desk.catalog.companies():
        role = role_of(call.user, company.id)
        if role is not None:
            found.append(CompanyBrief(id=company.id, name=company.name, role=role))
    return Reply(value=_page(found, call.queried(Page), lambda one: one.id))


async def get_company(call: Call) -> Reply:
    company = call.desk.catalog.company(call.company)
    assert company is not None  # the doors have looked
    return Reply(value=company, version=company.version)


def lister(name: str) -> Handler:
    kind = KINDS[name]

    async def list_records(call: Call) -> Reply:
        catalog = call.desk.catalog
        found = [one for one in kind.of(catalog, call.company) if _wanted(one, call.query)]
        page = _page(found, call.queried(Page), lambda one: one.id)
        costs: Costs = {}
        return Reply(
            value=Paged(items=tuple(seen(one, catalog, costs) for one in page.items), next=page.next)
        )

    return list_records


def getter(name: str) -> Handler:
    kind = KINDS[name]

    async def get_record(call: Call) -> Reply:
        found = kind.find(call.desk.catalog, call.company, call.path["id"])
        if found is None:
            raise NotThereError
        return Reply(value=seen(found, call.desk.catalog), version=found.version)

    return get_record


def _wanted(record: ShopRecord, query: Form) -> bool:
    if isinstance(query, RuleQuery) and isinstance(record, Rule):
        where = record.locations is None or query.location_id in record.locations
        return (
            query.entity in (None, record.entity)
            and query.kind in (None, record.kind)
            and query.channel in (None, record.channel)
            and query.enabled in (None, record.enabled)
            and query.template_id in ("", record.template_id)
            and (query.location_id is None or where)
            and _named(record, query.q)
        )
    return not isinstance(query, NameQuery) or _named(record, query.q)


def _named(record: Any, text: str) -> bool:
    """Whether its id or one of its names has ``text`` in it."""
    names = [record.id, getattr(record, "name", ""), getattr(record, "address", "")]
    names += getattr(record, "names", {}).values()
    return any(text.casefold() in name.casefold() for name in names)


def _page(found: Iterable[T], query: Page, key: Callable[[T], str]) -> Paged[T]:
    """By id."""
    after = place_of(query.cursor, tuple[str])
    rows = sorted(found, key=key)
    if after is not None:
        rows = [one for one in rows if key(one) > after[0]]
    page = tuple(rows[: query.limit])
    return Paged(items=page, next=cursor_of(key(page[-1])) if len(rows) > len(page) else None)


# --- writing


def creator(name: str) -> Handler:
    kind = KINDS[name]

    async def create_record(call: Call) -> Reply:
        record = record_of(kind, call, "")
        desk = call.desk
        made = not call.given(Form).id  # type: ignore[attr-defined]  # all forms of records have one
        async with desk.lock(call.company):
            old = kind.find(desk.catalog, call.company, record.id)
            if made and old is not None:
                # The same key, and the answer was lost: it has been made.
                return _made(kind, old, desk.catalog)
            edit = create(desk.catalog, record, call.author)
            await desk.write([edit])
            return _made(kind, read_back(kind, call, record.id), desk.catalog)

    return create_record


def replacer(name: str) -> Handler:
    kind = KINDS[name]

    async def replace_record(call: Call) -> Reply:
        id_ = call.company if name == "company" else call.path["id"]
        desk = call.desk
        async with desk.lock(call.company):
            record = record_of(kind, call, id_)
            if isinstance(record, Company):
                _check_senders(call, record)
            edit = replace(desk.catalog, record, call.version, call.author)
            if edit is not None:
                await desk.write([edit])
            new = read_back(kind, call, id_)
            return Reply(value=seen(new, desk.catalog), version=new.version)

    return replace_record


def deleter(name: str) -> Handler:
    kind = KINDS[name]

    async def delete_record(call: Call) -> Reply:
        desk = call.desk
        async with desk.lock(call.company):
            edit = delete(desk.catalog, kind, call.company, call.path["id"], call.version, call.author)
            await desk.write([edit])
        return Reply(status=204)

    return delete_record


async def bulk_rules(call: Call) -> Reply:
    form, desk = call.given(BulkForm), call.desk
    order = bulk.Order(
        action=form.action,
        items=[(one.id, ANY if one.version is None else one.version) for one in form.items],
        template_id=form.template_id,
        channel=form.channel,
        mailbox_id=form.mailbox_id,
        locations=form.locations,
    )
    if len(form.items) * max(1, len(form.locations)) > _MOST_COPIES:
        problem = Problem("locations", f"at most {_MOST_COPIES} copies at once", "range")
        raise RefusedError([problem])
    async with desk.lock(call.company):
        items = bulk.decide(order, call.company, desk.catalog, call.author)
        edits = [item.edit for item in items if item.edit is not None]
        if not form.dry_run:
            await desk.write(edits)
    results = tuple(
        BulkResult(
            id=item.id,
            result=item.result,
            location_id=item.location_id,
            new_id=item.new_id,
            version=item.version,
            errors=field_errors(item.problems),
        )
        for item in items
    )
    return Reply(value=BulkView(dry_run=form.dry_run, done=len(edits), results=results))


_MOST_COPIES = 2_000


def record_of(kind: RecordKind, call: Call, id_: str) -> Any:
    """The form as a record of the company. ``id_`` is the path's; empty: the form's, or a new one."""
    form: Any = call.body
    if id_ and form.id not in ("", id_):
        raise RefusedError([Problem("id", f"is {id_!r} in the path; an id is never changed")])
    if getattr(form, "company", None) not in (None, call.company):
        raise RefusedError([Problem("company", f"is {call.company!r} in the path")])
    own = {"id": id_ or form.id or new_id(call.key), "version": 0}
    if kind.name != "company":
        own["company"] = call.company
    if isinstance(form, MailboxForm):
        return _mailbox(form, call, id_)
    fields = {
        name: getattr(form, name) for name in RECORDS[kind.name].__struct_fields__ if name not in READ_ONLY
    }
    return msgspec.convert(msgspec.to_builtins(own | fields), RECORDS[kind.name])


_SENDERS = ("sms_sender", "email_sender_address")
"""Who a company's messages come from. A number or an address of somebody else's would send in their name, and
take the answers that are theirs: given by those who have every company alone."""


def _check_senders(call: Call, new: Company) -> None:
    old = call.desk.catalog.company(call.company)
    if old is None or call.user.roles.get(EVERY) is Role.ADMIN:
        return
    problems = [
        Problem(name, "is set by those who operate Carillon", "access")
        for name in _SENDERS
        if getattr(new, name) != getattr(old, name)
    ]
    if problems:
        raise RefusedError(problems)


def _mailbox(form: MailboxForm, call: Call, id_: str) -> Mailbox:
    old = call.desk.catalog.mailbox(call.company, id_)
    if old is None:
        raise NotThereError
    if form.connected and not old.connected:
        raise RefusedError(
            [Problem("connected", "a mailbox is connected by logging in to it", "combination")]
        )
    return msgspec.structs.replace(old, users=form.users, connected=form.connected)


def new_id(key: str) -> str:
    """The same for the same Idempotency-Key: also after a crash nothing is made twice."""
    return (
        hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:24]
        if key
        else uuid.uuid4().hex[:24]
    )


def _made(kind: RecordKind, record: ShopRecord, catalog: Catalog) -> Reply:
    return Reply(value=seen(record, catalog), status=201, version=record.version)


def read_back(kind: RecordKind, call: Call, id_: str) -> ShopRecord:
    found = kind.find(call.desk.catalog, call.company, id_)
    if found is None:  # another console, or carillon apply, has deleted it meanwhile
        raise InUseError(f"the {kind.name} {id_!r} was deleted at the same moment")
    return found
