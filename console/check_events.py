"""``carillon check-events``: would Carillon accept these changes, and what would each send?"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import Progress

from console.options import json_option
from console.output import counted, local_time, on_terminal, one_line, print_json
from console.preview import ChangePreview, PlannedMessage, preview, sample_customer
from console.shopfile import ShopFile, check, load
from schemas.check_events import EventReport, check_file, check_key, split_line
from schemas.codec import decode_json
from schemas.errors import DecodeError
from schemas.records import Customer, DeliveryState, EntityKind
from streams.domain.catalog import Catalog, Reference
from streams.domain.reasons import Reason

_BIG = 1024 * 1024
"""Bytes of a file from which on a person sees how far it has got."""
_SENT = {DeliveryState.SENT, DeliveryState.DELIVERED}
_TEXTS = {str(reason): reason.text for reason in Reason}

EXAMPLES = """\b
Examples:
  carillon check-events orders.jsonl
  carillon check-events changes.avro --kind appointment --json
  carillon check-events examples/day/orders.jsonl --shop examples/shop.yaml
  carillon check-events examples/day/orders.jsonl --shop examples/shop.yaml \\
      --customers examples/day/customers.jsonl
"""

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("check-events", epilog=EXAMPLES)
@click.argument("file", type=_file)
@click.option(
    "--kind",
    type=click.Choice([str(kind) for kind in EntityKind]),
    help="What the file is about; may be left out where its name says so (orders.jsonl).",
)
@click.option("--shop", type=_file, help="A shop file: also show what each change would send.")
@click.option(
    "--customers",
    type=_file,
    help="Customers as they are published (JSON lines), for --shop; else everybody agreed to everything.",
)
@json_option
def check_events(
    file: Path, kind: str | None, shop: Path | None, customers: Path | None, as_json: bool
) -> None:
    """Say of each record in FILE whether it would be accepted, or which field is wrong.

    FILE has one change a line in JSON (ours or Debezium's; "KEY<TAB>JSON" as kcat -K '\\t' reads it is fine
    too), or is an Avro container file. With --shop it runs the changes through the real rules, each when
    it occurred, and shows every message: when it would go, its text, or why it would not. No broker is
    needed and nothing is sent. Exit code 1 if any record is refused.
    """
    entity = _kind(file, kind)
    catalog = None if shop is None else _catalog(shop)
    known = _customers(customers) if customers is not None else None
    with _reading(file) as reports:
        found = check_file(file, entity)
        if catalog is None:
            refused, accepted = _judge(reports(found), as_json)
        else:
            refused, accepted = _judge_and_preview(list(reports(found)), entity, catalog, known, as_json)
    if not as_json:
        click.echo(f"{file}: {counted(accepted, 'record')} accepted, {refused} refused")
        if shop is None and not refused:
            click.echo("(--shop SHOP.yaml also shows what each would send)")
    if refused:
        raise click.exceptions.Exit(1)


def _judge(reports: Iterable[EventReport], as_json: bool) -> tuple[int, int]:
    refused = accepted = 0
    for report in reports:
        refused += report.problem is not None
        accepted += report.problem is None
        _print_report(report, None, as_json)
    return refused, accepted


def _judge_and_preview(
    reports: list[EventReport],
    kind: EntityKind,
    catalog: Catalog,
    known: dict[tuple[str, str], Customer] | None,
    as_json: bool,
) -> tuple[int, int]:
    changes = [(report.position, report.change) for report in reports if report.change is not None]
    previews = {each.position: each for each in preview(kind, changes, catalog, _giver(known))}
    for report in reports:
        _print_report(report, previews.get(report.position), as_json)
    return len(reports) - len(changes), len(changes)


def _print_report(report: EventReport, shown: ChangePreview | None, as_json: bool) -> None:
    if as_json:
        print_json(_as_json(report, shown))
        return
    change = report.change
    if change is None:
        click.secho(f"{report.position}: refused: {report.problem}", fg="red", color=on_terminal())
        return
    what = one_line(f"{change.operation} {change.company}/{change.entity_id} version {change.version}")
    click.echo(f"{report.position}: accepted: {what}")
    if shown is None:
        return
    for note in shown.notes:
        click.secho(f"     ! {one_line(note)}", fg="yellow", color=on_terminal())
    for message in shown.messages:
        for line in _lines(message):
            click.echo(f"     {line}".rstrip())
    if not shown.messages and not shown.notes:
        click.echo("     sends nothing: no rule asks for a message")


def _lines(message: PlannedMessage) -> Iterator[str]:
    head = f"{message.channel} {message.rule_id} to {message.customer_id}"
    if message.state in _SENT:
        held = f" ({_TEXTS[message.held]})" if message.held else ""
        yield f"> {head}, {local_time(message.at, message.zone)} {message.zone}{held}"
        for line in message.text.splitlines():
            yield f"    {one_line(line, 500)}" if line.strip() else ""
        return
    due = f", due {local_time(message.due_at, message.zone)} {message.zone}" if message.due_at else ""
    by = f" (line {message.ended_by})" if message.ended_by else ""
    yield f"x {head}{due}: {message.state}{by}: {_TEXTS.get(message.reason, message.reason)}"


def _as_json(report: EventReport, shown: ChangePreview | None) -> object:
    problem = report.problem
    told: dict[str, object] = {"position": report.position, "accepted": problem is None}
    if problem is not None:
        told |= {"reason": str(problem.reason), "field": problem.field, "detail": problem.detail}
    if report.change is not None:
        told |= {"company": report.change.company, "entity_id": report.change.entity_id}
    if shown is not None:
        told |= {
            "messages": [
                msgspec.to_builtins(message) | {"reason_text": _TEXTS.get(message.reason, message.reason)}
                for message in shown.messages
            ],
            "notes": shown.notes,
        }
    return told


def _kind(file: Path, given: str | None) -> EntityKind:
    if given is not None:
        return EntityKind(given)
    named = [kind for kind in EntityKind if kind in file.name.lower()]
    if len(named) == 1:
        return named[0]
    raise click.UsageError(
        f"{file.name} does not say what it is about; add --kind order, --kind lead or --kind appointment"
    )


def _catalog(path: Path) -> Catalog:
    """The shop file alone, as if it had been applied by somebody who may use all its mailboxes."""
    shop = load(path)
    problems = shop if not isinstance(shop, ShopFile) else check(shop, Catalog(), None)
    # Who may choose a mailbox is decided when the file is applied.
    problems = [problem for problem in problems if not problem.field.endswith(".mailbox")]
    if problems or not isinstance(shop, ShopFile):
        for problem in problems:
            click.echo(f"{path}: {problem}", err=True)
        raise click.ClickException(f"{counted(len(problems), 'problem')} in {path}")
    catalog = Catalog()
    records: list[Reference] = [shop.company, *shop.locations, *shop.statuses, *shop.mailboxes]
    records += [*shop.templates, *shop.rules]
    for record in records:
        catalog.apply(record)
    return catalog


def _customers(path: Path) -> dict[tuple[str, str], Customer]:
    found: dict[tuple[str, str], Customer] = {}
    problems = []
    with path.open("rb") as file:
        for position, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                key, value = split_line(line.strip())
                customer = decode_json(Customer, value)
                check_key(key, customer.company, customer.customer_id)
            except DecodeError as error:
                problems.append(f"{path}: {position}: {error}")
                continue
            found[customer.company, customer.customer_id] = customer
    if problems:
        raise click.ClickException("\n".join(problems))
    return found


def _giver(known: dict[tuple[str, str], Customer] | None) -> Callable[[str, str], Customer]:
    if known is None:
        return sample_customer
    # Somebody who is not in the file agreed to nothing.
    return lambda company, id_: (
        known.get((company, id_)) or Customer(company=company, customer_id=id_, version=0)
    )


@contextmanager
def _reading(file: Path) -> Iterator[Callable[[Iterable[EventReport]], Iterable[EventReport]]]:
    """Shows how many records have been read, on a terminal, for files that take a while."""
    if file.stat().st_size < _BIG or not sys.stderr.isatty():
        yield lambda reports: reports
        return
    with Progress(console=Console(stderr=True), transient=True) as bar:
        yield lambda reports: bar.track(reports, description=f"reading {file.name}", total=None)
