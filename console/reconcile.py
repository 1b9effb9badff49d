"""``carillon reconcile``: does what was planned, what was said of it, and what the provider has add up?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import click

from agents.accounts import sender_settings
from console.accepts import Accepts
from console.books import Books, Period
from console.connection import Connection, connected
from console.findings import Finding, Found
from console.moments import length_of, moment_of
from console.options import given_settings, json_option, set_option
from console.output import counted, local_time, one_line, print_json, print_table, progress, progress_bar
from console.stories import impossible
from schemas.records import Channel, Company, DeliveryState
from senders.settings import TwilioSettings
from senders.twilio_sms import Listed, ListError, TwilioSms
from streams.clock import SystemClock, clock_of

_LINES = 50
"""Of one kind that a person is shown."""

EXAMPLES = """\b
Examples:
  carillon reconcile                          the last 24 hours
  carillon reconcile --since 40d              also finds what was planned weeks ago and lost since
  carillon reconcile --since 2026-04-07 --until 2026-04-08 --company acme
  carillon reconcile --json | jq -r 'select(.kind == "lost") | .entity'
"""


@dataclass(slots=True)
class Counts:
    """What was looked at."""

    deliveries: int
    commands: int
    emails: int
    earlier: int
    """Planned before what was read."""
    accepts: int | None = None
    """None: the provider was not asked."""
    foreign: int = 0


@click.command(epilog=EXAMPLES)
@click.option(
    "--since", default="24h", show_default=True, metavar="WHEN", help="24h (ago), 2026-04-07T13:00."
)
@click.option("--until", default="", metavar="WHEN", help="The end of the period; left out: now.")
@click.option(
    "--grace",
    default="15m",
    show_default=True,
    metavar="LENGTH",
    help="What moved so recently may be under way, and is not judged.",
)
@click.option("--company", help="Only this company's messages.")
@click.option("--no-provider", is_flag=True, help="Don't ask the SMS provider for its list.")
@json_option
@set_option
def reconcile(
    since: str,
    until: str,
    grace: str,
    company: str | None,
    no_provider: bool,
    as_json: bool,
    overrides: tuple[str, ...],
) -> None:
    """Compare commands, delivery log, what the workers still hold and the SMS provider's list, and say what
    does not add up.

    Each finding comes with what it means and what to do. A delivery is looked at if anything happened to it
    in the period. Needs the settings of the workers (the provider's account, CARILLON_HASH_KEY). Changes
    nothing and disturbs nobody. Holds about 1.5 KB for each delivery of the period and half of one for each
    SMS. Mail relays have no list to be asked for: of e-mails, commands, log and stores alone are compared.
    Exit code 1 if anything does not add up.
    """
    settings = given_settings(overrides)
    clock = clock_of(settings.clock)
    now = clock.now()
    period = Period(
        since=moment_of("--since", since, now),
        until=moment_of("--until", until, now) if until else now,
        now=now,
        grace=length_of("--grace", grace),
        by_wall=settings.clock == "system",
    )
    if period.since >= period.until:
        raise click.UsageError("--since must lie before --until")
    with connected(settings) as connection:
        found, counts = _compare(connection, period, company, ask_provider=not no_provider)
    if as_json:
        for each in found:
            print_json(_as_json(each))
    else:
        _print(found)
        _sum_up(period, counts, found)
    if found:
        raise click.exceptions.Exit(1)


def _compare(
    connection: Connection, period: Period, company: str | None, *, ask_provider: bool
) -> tuple[list[Found], Counts]:
    companies = list(connection.catalog(("companies",)).companies())
    if company is not None:
        known = ", ".join(sorted(each.id for each in companies))
        companies = [each for each in companies if each.id == company]
        if not companies:
            raise click.ClickException(f"there is no company {company!r}; there are: {known or 'none'}")
    with closing(Books(connection, period, company)) as books:
        books.read_log()
        found = list(books.findings())
        stories = books.stories
        found += [
            each
            for each in map(impossible, stories.by_id.values())
            if each is not None and (each.at or 0) >= period.since
        ]
        counts = Counts(
            deliveries=len(stories.by_id),
            commands=books.commands,
            emails=sum(
                story.channel == Channel.EMAIL and story.state == DeliveryState.SENT
                for story in stories.by_id.values()
            ),
            earlier=sum(1 for _ in stories.planned_before()),
        )
        if ask_provider:
            account = _account(connection)
            if account is not None:
                secret = connection.settings.hash_key.reveal().encode()
                accepts = Accepts(stories.by_id.values(), companies, secret)
                found += _asked(account, accepts, period, companies)
                counts.accepts, counts.foreign = len(accepts), accepts.foreign
    return found, counts


def _account(connection: Connection) -> TwilioSettings | None:
    """The workers' account at the SMS provider; None, and a line that says so, where none is set."""
    account = sender_settings(connection.settings).sms
    if account is None:
        click.echo("no SMS provider is set (CARILLON_SMS_ACCOUNT): its list was not asked for", err=True)
    return account


def _asked(
    account: TwilioSettings, accepts: Accepts, period: Period, companies: Sequence[Company]
) -> Iterator[Found]:
    """The provider's list, page by page, and what does not agree with it."""
    sender = TwilioSms(account, SystemClock())
    with asyncio.Runner() as runner:
        try:
            progress("reading the provider's list ...")
            runner.run(_read_list(sender, accepts, period))

            def look_up(sid: str) -> Listed | None:
                return runner.run(sender.look_up(sid))

            with progress_bar("comparing with the provider's list") as told:
                yield from accepts.findings(period.since, period.settled, look_up, told)
        except ListError as error:
            raise click.ClickException(f"{error}. --no-provider compares the rest") from None
        finally:
            runner.run(sender.close())


async def _read_list(sender: TwilioSms, accepts: Accepts, period: Period) -> None:
    with progress_bar("reading the provider's list") as told:
        async for page in sender.listed(period.since, period.until, period.now):
            accepts.add(page)
            told(len(accepts), None)


# --- what is shown


def _as_json(found: Found) -> dict[str, object]:
    kind = found.kind
    told: dict[str, object] = {"kind": str(kind), "means": kind.means, "do": kind.do}
    told |= {"company": found.company, "entity": found.entity, "delivery_id": found.delivery_id}
    told |= {"rule_id": found.rule_id, "at": found.at, "provider_id": found.provider_id, "to": found.to}
    return told | {"detail": found.detail}


def _print(found: Sequence[Found]) -> None:
    for kind in Finding:
        group = [each for each in found if each.kind is kind]
        if not group:
            continue
        click.secho(f"{kind}: {len(group)}", bold=True)
        click.echo(f"  {kind.means}")
        click.echo(f"  What to do: {kind.do}")
        print_table(*_table(group[:_LINES]))
        if len(group) > _LINES:
            click.echo(f"... {len(group) - _LINES} more: --json shows all")
        click.echo()


def _table(group: Iterable[Found]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns in which nobody has anything are left out."""
    headers = ("at (UTC)", "company", "entity", "rule", "to", "provider's id", "delivery", "detail")
    rows = [
        (
            local_time(each.at, "UTC") if each.at is not None else "",
            one_line(each.company),
            one_line(each.entity),
            one_line(each.rule_id),
            each.to,
            one_line(each.provider_id),
            each.delivery_id,
            one_line(each.detail),
        )
        for each in group
    ]
    used = [number for number in range(len(headers)) if any(row[number] for row in rows)]
    return tuple(headers[n] for n in used), [tuple(row[n] for n in used) for row in rows]


def _sum_up(period: Period, counts: Counts, found: Sequence[Found]) -> None:
    since, until = local_time(period.since, "UTC"), local_time(period.until, "UTC")
    click.echo(
        f"{since} to {until} UTC: {counted(counts.deliveries, 'delivery', 'deliveries')}, "
        f"{counted(counts.commands, 'command')}"
    )
    if counts.accepts is not None:
        others = (
            f"; {counts.foreign} more from senders that are no company's: not judged"
            if counts.foreign
            else ""
        )
        click.echo(f"the provider's list: {counted(counts.accepts, 'SMS', 'SMS')}{others}")
    if counts.emails:
        click.echo(f"e-mails sent: {counts.emails} (a relay has no list to ask: its own log knows the rest)")
    if counts.earlier:
        click.echo(f"planned before the period, so that their planning was not looked at: {counts.earlier}")
    if found:
        click.secho(f"{counted(len(found), 'thing does', 'things do')} not add up", fg="red")
    else:
        click.echo("everything adds up")
