"""What saving a rule would do: how many messages it arms, and whom of the customers they would not reach."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from console.index.queries import Queries, Wanted
from console.service.alone import with_these
from console.service.errors import UnconfirmedError
from schemas.records import Channel, Customer, Rule, RuleKind
from streams.domain.catalog import Catalog
from streams.domain.decide import Pending, Wait, address_of, on_arming, refusal
from streams.domain.ids import delivery_id
from streams.domain.triggers import reminders
from streams.stages.entity_state import EntityState

MOST = 100_000
"""Entities that are looked at; with more of them the numbers are the least that it can be."""

Blocked = Callable[[Channel, str], bool]
"""Whether an address, normalised, is not written to."""


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """As far as the console knows at the moment: entities and consents are read a second later than by the
    workers. A notification arms nothing by being saved: it speaks of what happens from now on."""

    messages: int
    """To come by this rule, once it is saved."""
    customers: int
    """To whom they would go."""
    not_agreed: int
    """Of these: who have not agreed to the channel, have no address for it, or one that is blocked. Their
    messages are not sent unless that changes."""
    too_late: int
    """Reminders whose moment has passed already: they are not sent."""
    pending: int
    """To come now by the rule as it is, before it is saved."""
    complete: bool
    """False: there are more entities than were looked at."""


def effect(queries: Queries, rule: Rule, catalog: Catalog, blocked: Blocked, now: int) -> Effect:
    """``rule``: as it would be saved, checked. ``catalog``: of the shop as it is."""
    company = rule.company
    pending = queries.counts(company, Wanted(rule_id=rule.id, pending=True)).total()
    messages = too_late = looked = 0
    reached: dict[str, bool] = {}
    if rule.kind is RuleKind.REMINDER and rule.enabled:
        alone = with_these(catalog, company, rule)
        for entity_id, state, customer in queries.upcoming(company, rule.entity, now):
            looked += 1
            if looked > MOST:
                break
            if not state.raw or rule not in reminders(alone, company, rule.entity, state.facts()):
                continue
            decision = on_arming(_armed(rule, entity_id, state), rule, alone, state.facts(), now)
            if not isinstance(decision, Wait):
                too_late += 1
                continue
            messages += 1
            if state.customer_id not in reached:
                reached[state.customer_id] = _reached(rule, customer, alone, blocked)
    return Effect(
        messages=messages,
        customers=len(reached),
        not_agreed=sum(not reaches for reaches in reached.values()),
        too_late=too_late,
        pending=pending,
        complete=looked <= MOST,
    )


def expect_confirmed(found: Effect, confirmed: int, limit: int) -> None:
    """Raises UnconfirmedError where a rule arms more than ``limit`` messages that are not to come already,
    and whoever saves it has not been shown as many."""
    if found.messages - found.pending > limit and found.messages > confirmed:
        raise UnconfirmedError(found)


def _armed(rule: Rule, entity_id: str, state: EntityState) -> Pending:
    anchor = str(state.scheduled_at)
    return Pending(
        delivery_id=delivery_id(rule.company, rule.id, rule.entity, entity_id, anchor, state.customer_id),
        company=rule.company,
        kind=rule.entity,
        entity_id=entity_id,
        rule_id=rule.id,
        rule_version=rule.version,
        customer_id=state.customer_id,
        anchor=anchor,
        event_id="",
        occurred_at=state.occurred_at,
        status_id=state.status_id,
        target=-1,
        allowed=-1,
        held=False,
        waiting_since=-1,
    )


def _reached(rule: Rule, customer: Customer | None, catalog: Catalog, blocked: Blocked) -> bool:
    if customer is None or refusal(rule.channel, rule.company, customer, catalog) is not None:
        return False
    address = address_of(rule.channel, customer)
    return address is not None and not blocked(rule.channel, address)
