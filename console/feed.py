"""``carillon feed``: everything that was, will be and was not sent about one entity."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import click
import msgspec

from console.connection import Connection, connected
from console.options import given_settings, json_option, set_option
from console.output import local_time, one_line, print_json, print_table, progress
from schemas.records import Delivery, DeliveryState, EntityKind
from streams.clock import clock_of
from streams.domain.catalog import Catalog
from streams.domain.ids import log_key
from streams.domain.reasons import Reason

Part = Literal["to come", "sent", "not sent"]

STATES: dict[DeliveryState, tuple[Part, str]] = {
    DeliveryState.SCHEDULED: ("to come", "scheduled"),
    DeliveryState.HELD: ("to come", "held"),
    DeliveryState.RETRYING: ("to come", "tried again"),
    DeliveryState.SENDING: ("to come", "being sent"),
    DeliveryState.UNKNOWN: ("to come", "unknown, the provider is being asked"),
    DeliveryState.SENT: ("sent", "sent"),
    DeliveryState.DELIVERED: ("sent", "delivered"),
    DeliveryState.BOUNCED: ("sent", "sent, but came back"),
    DeliveryState.UNKNOWN_CLOSED: ("sent", "perhaps sent"),
    DeliveryState.FAILED: ("not sent", "failed"),
    DeliveryState.SUPPRESSED: ("not sent", "suppressed"),
    DeliveryState.CANCELLED: ("not sent", "cancelled"),
    DeliveryState.SUPERSEDED: ("not sent", "replaced"),
    DeliveryState.STALE: ("not sent", "no longer true"),
    DeliveryState.EXPIRED: ("not sent", "too late"),
}
"""Where each state stands in the feed, and the word that staff read."""

_OVERDUE = 60_000
"""A message that should have gone this long ago (milliseconds) waits for a worker or a provider."""

_STYLES = {"to come": "yellow", "sent": "green", "not sent": "red"}

EXAMPLES = """\b
Examples:
  carillon feed order/R-1042
  carillon feed appointment/A-5 --company acme
  carillon feed lead/L-9 --json | jq -r '[.state, .reason_text] | @tsv'
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One message in its newest state."""

    delivery: Delivery
    moment: int
    """When it goes (to come), went, or was given up."""
    location_id: str
    """The last location that the log names for the entity."""


@click.command(epilog=EXAMPLES)
@click.argument("entity", metavar="KIND/ID")
@click.option("--company", help="Whose entity; may be left out while there is only one company.")
@json_option
@set_option
def feed(entity: str, company: str | None, as_json: bool, overrides: tuple[str, ...]) -> None:
    """Show what was, will be and was not sent about an order, a lead or an appointment, and why.

    KIND/ID is order/..., lead/... or appointment/.... Times are those of the entity's location (else of
    the company). Reads the delivery log; nothing is changed.
    """
    kind, id_ = parsed_entity(entity)
    settings = given_settings(overrides)
    with connected(settings) as connection:
        catalog = connection.catalog(("companies", "locations", "rules"))
        company = company or _only_company(catalog)
        progress(f"reading the delivery log of {entity} ...")
        entries = newest(_deliveries(connection, company, kind, id_))
    if as_json:
        for entry in entries:
            print_json(_as_json(entry, catalog))
        return
    if not entries:
        if catalog.company(company) is None:
            known = ", ".join(sorted(each.id for each in catalog.companies()))
            raise click.ClickException(f"there is no company {company!r}; there are: {known or 'none'}")
        click.echo(f"nothing in the delivery log of {company} about {entity}")
        return
    _print(entries, catalog, clock_of(settings.clock).now())


def newest(deliveries: Iterable[Delivery]) -> list[Entry]:
    """The newest state of each delivery, without repeats, by moment."""
    last: dict[str, Delivery] = {}
    location_id = ""
    for delivery in deliveries:
        held = last.get(delivery.delivery_id)
        if held is None or delivery.transition > held.transition:
            last[delivery.delivery_id] = delivery
        location_id = delivery.location_id or location_id
    entries = [Entry(each, _moment(each), each.location_id or location_id) for each in last.values()]
    return sorted(entries, key=lambda entry: (entry.moment, entry.delivery.rule_id))


def reason_text(code: str) -> str:
    """The sentence for staff; a code of a newer version as it is."""
    return _TEXTS.get(code, code)


_TEXTS = {str(reason): reason.text for reason in Reason}


def _moment(delivery: Delivery) -> int:
    if STATES[delivery.state][0] != "to come":
        return delivery.at
    if delivery.next_at is not None:
        return delivery.next_at
    return delivery.at if delivery.due_at is None else delivery.due_at


def parsed_entity(entity: str) -> tuple[EntityKind, str]:
    """``order/R-1042``. Raises click's BadParameter."""
    kind, slash, id_ = entity.partition("/")
    if not slash or not id_ or kind not in set(EntityKind):
        raise click.BadParameter(
            f"expected order/ID, lead/ID or appointment/ID, got {entity!r}", param_hint="KIND/ID"
        )
    return EntityKind(kind), id_


def _only_company(catalog: Catalog) -> str:
    ids = sorted(company.id for company in catalog.companies())
    if len(ids) == 1:
        return ids[0]
    what = f"there are {len(ids)} companies: {', '.join(ids)}" if ids else "no company is set up"
    raise click.UsageError(f"--company is needed: {what}")


def _deliveries(connection: Connection, company: str, kind: EntityKind, id_: str) -> list[Delivery]:
    records = connection.records("delivery-log", key=log_key(company, kind, id_))
    found = (connection.decode("delivery-log", Delivery, record) for record in records)
    return [delivery for delivery in found if delivery is not None]


def _as_json(entry: Entry, catalog: Catalog) -> object:
    delivery = entry.delivery
    part, _ = STATES[delivery.state]
    zone = catalog.zone(delivery.company, entry.location_id)
    told = {"part": part, "reason_text": reason_text(delivery.reason), "moment": entry.moment, "zone": zone}
    return msgspec.to_builtins(delivery) | told


def _print(entries: list[Entry], catalog: Catalog, now: int) -> None:
    rows: list[tuple[str, ...]] = []
    styles: list[str] = []
    zones: dict[str, None] = {}
    for entry in entries:
        delivery = entry.delivery
        part, word = STATES[delivery.state]
        zone = catalog.zone(delivery.company, entry.location_id)
        zones[zone] = None
        if part == "to come" and entry.moment < now - _OVERDUE:
            word += ", overdue"
        rule = catalog.rule(delivery.company, delivery.rule_id)
        why = reason_text(delivery.reason) if delivery.reason else ""
        rows.append(
            (
                part,
                local_time(entry.moment, zone),
                word,
                delivery.channel,
                rule.name if rule is not None and rule.name else delivery.rule_id,
                delivery.address_masked,
                one_line("; ".join(text for text in (why, delivery.note) if text)),
            )
        )
        styles.append(_STYLES[part])
    print_table(("", "when", "state", "by", "rule", "to", "why"), rows, styles)
    click.echo(f"times: {', '.join(zones)}")
