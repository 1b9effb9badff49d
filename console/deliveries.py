"""``carillon deliveries`` and ``carillon pending``: a company's messages, from the delivery log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import click

from console.connection import Connection, connected
from console.feed import parsed_entity
from console.index.database import MEMORY, connect, make_tables
from console.index.queries import Queries, Wanted
from console.index.rows import put_deliveries
from console.moments import moment_of
from console.options import given_settings, json_option, set_option
from console.output import local_time, one_line, print_json, print_table, progress_bar
from console.rules import known_company
from console.service.messages import By, MessageView, Part, counts, day_span, view
from schemas.records import Delivery, DeliveryState
from streams.clock import clock_of
from streams.domain.catalog import Catalog

_STYLES = {Part.TO_COME: "yellow", Part.SENT: "green", Part.NOT_SENT: "red"}
_BATCH = 5_000

EXAMPLES = """\b
Examples:
  carillon pending acme --by day
  carillon pending acme --day 2026-04-08 --location north
  carillon deliveries acme --customer 4711
  carillon deliveries acme --state failed --since 24h --json | jq -r .reason_text
"""

_limit = click.option(
    "--limit", type=click.IntRange(1), default=1000, show_default=True, help="At most so many."
)


@click.command(epilog=EXAMPLES)
@click.argument("company")
@click.option("--id", "id_", help="One message, with everything that happened to it.")
@click.option("--entity", metavar="KIND/ID", help="order/..., lead/... or appointment/...")
@click.option("--customer", default="", help="Of one customer.")
@click.option("--rule", default="", help="Of one rule.")
@click.option("--location", help="Of one location.")
@click.option("--state", type=click.Choice([each.value for each in DeliveryState]), help="In one state.")
@click.option("--since", help="From this moment on: 24h, 10d, 2026-04-07, 2026-04-07T13:00.")
@click.option("--until", help="Before this moment.")
@_limit
@json_option
@set_option
def deliveries(
    company: str,
    id_: str | None,
    entity: str | None,
    customer: str,
    rule: str,
    location: str | None,
    state: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    as_json: bool,
    overrides: tuple[str, ...],
) -> None:
    """Find messages of a company by id, customer, entity, rule, location, state or time; the newest first.

    Reads the whole delivery log; a running console (carillon console) answers the same from its index.
    """
    settings = given_settings(overrides)
    now = clock_of(settings.clock).now()
    kind, entity_id = parsed_entity(entity) if entity is not None else (None, "")
    wanted = Wanted(
        kind=kind,
        entity_id=entity_id,
        customer_id=customer,
        rule_id=rule,
        location_id=location,
        states=() if state is None else (DeliveryState(state),),
        since=None if since is None else moment_of("--since", since, now),
        until=None if until is None else moment_of("--until", until, now),
    )
    with connected(settings) as connection:
        catalog, queries = _read(connection, company)
    if id_ is not None:
        found = queries.delivery(company, id_)
        if found is None:
            raise click.ClickException(f"the delivery log of {company} has no message {id_!r}")
        _print([view(found[0], catalog, found[1])], as_json=as_json)
        return
    _print([view(one, catalog) for one in queries.deliveries(company, wanted, limit)], as_json=as_json)


@click.command(epilog=EXAMPLES)
@click.argument("company")
@click.option("--by", type=click.Choice([each.value for each in By]), help="Count them by this instead.")
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help="On one day, on the location's clocks.")
@click.option("--location", help="Of one location.")
@click.option("--rule", default="", help="Of one rule.")
@_limit
@json_option
@set_option
def pending(
    company: str,
    by: str | None,
    day: datetime | None,
    location: str | None,
    rule: str,
    limit: int,
    as_json: bool,
    overrides: tuple[str, ...],
) -> None:
    """Show a company's messages to come, the next first, or how many there are by day, location or rule."""
    with connected(given_settings(overrides)) as connection:
        catalog, queries = _read(connection, company)
    span = (None, None) if day is None else day_span(catalog, company, location, day.date())
    wanted = Wanted(rule_id=rule, location_id=location, pending=True, since=span[0], until=span[1])
    if by is None:
        found = queries.deliveries(company, wanted, limit, newest=False)
        _print([view(one, catalog) for one in found], as_json=as_json)
        return
    rows = counts(queries, catalog, company, wanted, By(by))
    if as_json:
        for row in rows:
            print_json(row)
        return
    print_table((by, "name", "messages"), [(row.key, row.name, str(row.count)) for row in rows])


def _read(connection: Connection, company: str) -> tuple[Catalog, Queries]:
    """The company's part of the log, as the console's index holds it."""
    catalog = connection.catalog(("companies", "locations", "rules"))
    known_company(catalog, company)
    database = connect(MEMORY)
    make_tables(database, {})
    batch: list[Delivery] = []
    with progress_bar("reading delivery-log") as told:
        for record in connection.each("delivery-log", progress=told):
            one = connection.decode("delivery-log", Delivery, record)
            if one is not None and one.company == company:
                batch.append(one)
            if len(batch) >= _BATCH:
                put_deliveries(database, batch)
                batch = []
    put_deliveries(database, batch)
    return catalog, Queries(database)


def _print(found: Sequence[MessageView], *, as_json: bool) -> None:
    if as_json:
        for one in found:
            print_json(one)
        return
    print_table(
        ("", "when", "state", "by", "about", "customer", "rule", "to", "why", "id"),
        [
            (
                one.part,
                local_time(one.moment, one.zone),
                one.state_text,
                one.channel,
                f"{one.kind}/{one.entity_id}",
                one.customer_id,
                one.rule_name,
                one.address,
                one_line("; ".join(text for text in (one.reason_text, one.note) if text)),
                one.delivery_id,
            )
            for one in found
        ],
        [_STYLES[one.part] for one in found],
    )
    for one in found:
        for step in one.steps:
            why = one_line("; ".join(text for text in (step.reason_text, step.note) if text))
            click.echo(f"  {local_time(step.at, one.zone)}  {step.state_text}  {why}".rstrip())
