"""``carillon channels``: what goes out stopped at once, and let go again."""

from __future__ import annotations

from datetime import UTC, datetime

import click
import msgspec

from console.connection import Connection, RawPublication, connected
from console.options import given_settings, json_option, set_option
from console.output import print_json, print_table
from schemas.records import Channel
from senders.pauses import Pause, Pauses, pause_key
from streams.clock import clock_of
from streams.kafka.producer import ProduceError

EXAMPLES = """\b
Examples:
  carillon channels pause sms --why "wrong texts in template 7"
  carillon channels pause email --company acme
  carillon channels list
  carillon channels resume sms
"""

_channel = click.argument("channel", type=click.Choice([str(channel) for channel in Channel]))
_company = click.option("--company", default="", metavar="COMPANY", help="Only this company's messages.")


@click.group(epilog=EXAMPLES)
def channels() -> None:
    """Stop a channel, or a company's messages on it, on all workers within seconds, and let them go again.

    What is at a provider already can't be called back. What waits goes out when the channel is resumed, if it
    is still of use then; the rest ends as expired. What providers themselves have stopped is on each worker's
    /status.
    """


@channels.command("list", epilog=EXAMPLES)
@json_option
@set_option
def list_pauses(as_json: bool, overrides: tuple[str, ...]) -> None:
    """What is paused now, since when, by whom and why."""
    with connected(given_settings(overrides)) as connection:
        held = _read(connection)
    for (channel, company), pause in held.all().items() if as_json else ():
        print_json({"channel": channel, "company": company, **msgspec.to_builtins(pause)})
    if not as_json:
        print_table(
            ("channel", "company", "since", "by", "why"),
            [
                (str(channel), company or "all", _moment(pause.since), pause.by, pause.why)
                for (channel, company), pause in held.all().items()
            ],
        )


@channels.command("pause", epilog=EXAMPLES)
@_channel
@_company
@click.option("--why", default="", help="For those who find it paused.")
@click.option("--as", "by", default="", metavar="USER", help="Who pauses it.")
@set_option
def pause_channel(channel: str, company: str, why: str, by: str, overrides: tuple[str, ...]) -> None:
    """Stop a channel. Pausing what is paused changes who and why."""
    settings = given_settings(overrides)
    pause = Pause(since=clock_of(settings.clock).now(), by=by, why=why)
    with connected(settings) as connection:
        _put(connection, pause_key(Channel(channel), company), msgspec.json.encode(pause))
    click.echo(f"{_named(channel, company)} is paused")


@channels.command("resume", epilog=EXAMPLES)
@_channel
@_company
@set_option
def resume_channel(channel: str, company: str, overrides: tuple[str, ...]) -> None:
    """Let go what waits. Exit code 1 if it was not paused."""
    with connected(given_settings(overrides)) as connection:
        if (Channel(channel), company) not in _read(connection).all():
            raise click.ClickException(
                f'{_named(channel, company)} is not paused; see "carillon channels list"'
            )
        _put(connection, pause_key(Channel(channel), company), None)
    click.echo(f"{_named(channel, company)} goes on")


def _moment(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _named(channel: str, company: str) -> str:
    return f"{channel} of {company}" if company else f"{channel} of all companies"


def _read(connection: Connection) -> Pauses:
    held = Pauses()
    for record in connection.records("pauses"):
        try:
            held.apply(record.key, record.value or None)
        except ValueError as error:
            click.echo(f"pauses offset {record.offset} left out: {error}", err=True)
    return held


def _put(connection: Connection, key: bytes, value: bytes | None) -> None:
    connection.partition_counts(["pauses"])
    with connection.writer() as writer:
        [written] = writer.put([RawPublication("pauses", 0, key, value, ())])
    if isinstance(written, ProduceError):
        raise written
