"""Deliveries, feed, pending, suppressions, audit."""

from __future__ import annotations

from console.api.calls import Call, Reply, cursor_of, place_of
from console.api.forms import (
    AuditQuery,
    CountQuery,
    DeliveryQuery,
    PendingQuery,
    SuppressionForm,
    SuppressionQuery,
    TrafficQuery,
)
from console.api.views import Paged, SuppressionView
from console.index.queries import Place, Wanted
from console.service import channels, messages
from console.service.edits import block, lift
from console.service.errors import NotThereError, RefusedError
from console.service.people import RANK, role_of
from schemas.records import Channel, EntityKind, Role, Suppression
from streams.domain.addresses import normal_email, normal_phone
from streams.domain.blocks import with_cause
from streams.domain.bulk import next_version
from streams.domain.ids import mask
from streams.domain.problems import Problem

_STAFF = "staff"
"""The cause of a block that is set here: a START of the customer's does not lift it."""

# --- messages


async def list_deliveries(call: Call) -> Reply:
    query = call.queried(DeliveryQuery)
    wanted = Wanted(
        kind=query.kind,
        entity_id=query.entity_id,
        customer_id=query.customer_id,
        rule_id=query.rule_id,
        location_id=query.location_id,
        states=() if query.state is None else (query.state,),
        since=query.since,
        until=query.until,
    )
    return await _messages(call, wanted, query.limit, query.cursor, newest=True)


async def list_pending(call: Call) -> Reply:
    query = call.queried(PendingQuery)
    since = until = None
    if query.day is not None:
        try:
            since, until = messages.day_span(call.desk.catalog, call.company, query.location_id, query.day)
        except OverflowError:  # the first and the last day that there are
            raise RefusedError([Problem("day", "is out of range", "range")]) from None
    wanted = Wanted(
        rule_id=query.rule_id, location_id=query.location_id, pending=True, since=since, until=until
    )
    return await _messages(call, wanted, query.limit, query.cursor, newest=False)


async def count_pending(call: Call) -> Reply:
    query = call.queried(CountQuery)
    wanted = Wanted(rule_id=query.rule_id, location_id=query.location_id, pending=True)
    catalog = call.desk.catalog
    found = await call.desk.index.ask(
        lambda queries: messages.counts(queries, catalog, call.company, wanted, query.by)
    )
    return Reply(value=Paged(items=tuple(found), next=None))


async def get_traffic(call: Call) -> Reply:
    days, desk = call.queried(TrafficQuery).days, call.desk
    found = await desk.index.ask(
        lambda queries: channels.traffic(queries, desk.catalog, desk.pauses, call.company, days, call.now)
    )
    return Reply(value=found)


async def get_delivery(call: Call) -> Reply:
    found = await call.desk.index.ask(lambda queries: queries.delivery(call.company, call.path["id"]))
    if found is None:
        raise NotThereError
    return Reply(value=messages.view(found[0], call.desk.catalog, found[1]))


async def get_feed(call: Call) -> Reply:
    """An entity of which nothing was ever planned has an empty feed: we don't know whether it exists."""
    if call.path["kind"] not in set(EntityKind):
        raise NotThereError
    kind = EntityKind(call.path["kind"])
    found = await call.desk.index.ask(lambda queries: queries.feed(call.company, kind, call.path["id"]))
    shown = tuple(messages.view(one, call.desk.catalog, steps) for one, steps in found)
    return Reply(value=Paged(items=shown, next=None))


async def _messages(call: Call, wanted: Wanted, limit: int, cursor: str, *, newest: bool) -> Reply:
    after = place_of(cursor, Place)
    found = await call.desk.index.ask(
        lambda queries: queries.deliveries(call.company, wanted, limit + 1, after, newest=newest)
    )
    page = found[:limit]
    last = cursor_of(page[-1].moment, page[-1].delivery.delivery_id) if len(found) > limit else None
    return Reply(value=Paged(items=tuple(messages.view(one, call.desk.catalog) for one in page), next=last))


# --- suppressions


async def list_suppressions(call: Call) -> Reply:
    query = call.queried(SuppressionQuery)
    after = place_of(query.cursor, tuple[str])
    found = await call.desk.index.ask(
        lambda queries: queries.suppressions(
            call.company, query.limit + 1, "" if after is None else after[0], query.channel
        )
    )
    page = found[: query.limit]
    last = cursor_of(_id(call, page[-1])) if len(found) > query.limit else None
    return Reply(value=Paged(items=tuple(_suppression(call, one) for one in page), next=last))


async def find_suppression(call: Call) -> Reply:
    """One or none."""
    form = call.given(SuppressionForm)
    address = _normal(form.channel, form.address)
    found = await _held(call, call.desk.index.suppression_name(call.company, form.channel, address))
    return Reply(value=Paged(items=() if found is None else (_suppression(call, found),), next=None))


async def add_suppression(call: Call) -> Reply:
    form, desk = call.given(SuppressionForm), call.desk
    address = _normal(form.channel, form.address)
    async with desk.lock(call.company):
        found = await _held(call, call.desk.index.suppression_name(call.company, form.channel, address))
        reason = with_cause("" if found is None else found.reason, _STAFF)
        if found is None or found.reason != reason:
            found = Suppression(
                company=call.company,
                channel=form.channel,
                address=address,
                reason=reason,
                since=call.now if found is None else found.since,
                version=next_version(0 if found is None else found.version, call.now),
            )
            await desk.write([block(found, call.author)])
    return Reply(value=_suppression(call, found), status=201)


async def lift_suppression(call: Call) -> Reply:
    desk = call.desk
    async with desk.lock(call.company):
        found = await _held(call, call.path["id"])
        if found is None:
            raise NotThereError
        await desk.write([lift(found, call.author)])
    return Reply(status=204)


async def _held(call: Call, id_: str) -> Suppression | None:
    return await call.desk.index.ask(lambda queries: queries.suppression(call.company, id_))


def _id(call: Call, one: Suppression) -> str:
    return call.desk.index.suppression_name(one.company, one.channel, one.address)


def _suppression(call: Call, one: Suppression) -> SuppressionView:
    role = role_of(call.user, call.company)
    clear = role is not None and RANK[role] >= RANK[Role.ADMIN]
    return SuppressionView(
        id=_id(call, one),
        channel=one.channel,
        address=one.address if clear else mask(one.address),
        reason=one.reason,
        since=one.since,
    )


def _normal(channel: Channel, address: str) -> str:
    found = normal_phone(address, None) if channel is Channel.SMS else normal_email(address)
    if found is None:
        what = "a number such as +48221234567" if channel is Channel.SMS else "an e-mail address"
        raise RefusedError([Problem("address", f"is not {what}")])
    return found.lower()


# --- audit


async def list_audit(call: Call) -> Reply:
    query = call.queried(AuditQuery)
    after = place_of(query.cursor, Place)
    found = await call.desk.index.ask(
        lambda queries: queries.audit(
            call.company,
            query.limit + 1,
            after,
            user=query.user,
            kind=query.kind,
            record_id=query.record_id,
        )
    )
    page = found[: query.limit]
    last = cursor_of(page[-1].at, page[-1].id) if len(found) > query.limit else None
    return Reply(value=Paged(items=tuple(page), next=last))
