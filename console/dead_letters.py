"""``carillon dead-letters``: records that could not be worked on: which, why, and how they go back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from console.connection import Connection, connected
from console.feed import reason_text
from console.letters import (
    Standing,
    choice_of,
    is_cut,
    letters,
    named,
    overview,
)
from console.options import given_settings, json_option, set_option
from console.output import counted, local_time, one_line, print_json, print_table
from console.repairs import as_text, hex_dump, judge, plain, pretty
from console.replay import replay
from schemas.records import DeadLetter
from schemas.wire import schema_id_of
from streams.clock import clock_of
from streams.domain.reasons import Reason

F = TypeVar("F", bound=Callable[..., Any])

EXAMPLES = """\b
Examples:
  carillon dead-letters list --since 24h
  carillon dead-letters show orders/3/17
  carillon dead-letters replay orders/3/17 --edit
  carillon dead-letters list --topic orders --json | jq -r .detail
"""

_SHOWN_TEXT = 4_000
"""Characters of a value that a person sees; --save has all of it."""

_TO_DO: dict[str, str] = {
    Reason.UNDECODABLE: (
        "If the publisher has sent the change again meanwhile, there is nothing to do. Else have it "
        "published again under a newer version, or put back a repaired value: "
        "carillon dead-letters replay {id} --edit"
    ),
    Reason.UNKNOWN_SCHEMA: (
        "Register the schema (or bring back the registry), then: carillon dead-letters replay {id}"
    ),
    Reason.CONTRACT: (
        "Tell the publisher, or the next change breaks the same way. Repair this one: "
        "carillon dead-letters replay {id} --edit"
    ),
    Reason.CRASHED: (
        "Look for what the workers logged when they ended, just before it was set aside, and report it. When "
        "the program has been repaired: carillon dead-letters replay {id}"
    ),
}
_CUT = (
    "Only the beginning is here: the value is larger than Carillon takes. Have a smaller one published, or "
    "put one back: carillon dead-letters replay {id} --value FILE. The whole lies at its place until that "
    "topic's retention removes it."
)


def filters(function: F) -> F:
    """``--topic``, ``--error``, ``--since``, ``--until``."""
    for option in (
        click.option("--until", metavar="WHEN", help="Set aside before then."),
        click.option("--since", metavar="WHEN", help="Set aside then or later: 24h (ago), 2026-04-07T13:00."),
        click.option("--error", metavar="CODE", help="Only those with this code (contract, crashed, ...)."),
        click.option("--topic", help="Only those that came from this topic."),
    ):
        function = option(function)
    return function


@click.group("dead-letters", epilog=EXAMPLES)
def dead_letters() -> None:
    """Look at records that could not be worked on, and put repaired ones back.

    They stop nothing: those behind them went on. A dead letter is named by the place that its record came
    from, TOPIC/PARTITION/OFFSET.
    """


@dead_letters.command("list", epilog=EXAMPLES)
@filters
@click.option("--all", "everything", is_flag=True, help="Also those that have been dealt with.")
@json_option
@set_option
def list_dead_letters(
    topic: str | None,
    error: str | None,
    since: str | None,
    until: str | None,
    everything: bool,
    as_json: bool,
    overrides: tuple[str, ...],
) -> None:
    """Say where each came from and what is wrong with it, oldest first.

    Those that were put back are left out (--all shows them too). --json shows the original bytes as well
    (key and value, base64), in the order in which they lie in the topic.
    """
    settings = given_settings(overrides)
    with connected(settings) as connection:
        now = clock_of(settings.clock).now()
        choice = choice_of(connection, now, topic=topic, error=error, since=since, until=until)
        fitting = [each for each in overview(connection) if choice.takes(each.letter)]
        chosen = [each for each in fitting if everything or each.settled_at is None]
        if as_json:
            for told in _whole(connection, chosen):
                print_json(told)
            return
    done = len(fitting) - len(chosen)
    left_out = f" ({done} dealt with: --all shows them too)" if done else ""
    if not chosen:
        click.echo(f"no dead letters{left_out}")
        return
    print_table(
        ("id", "set aside (UTC)", "key", "error", "detail", *(["dealt with"] if everything else [])),
        [_row(each, everything) for each in chosen],
    )
    click.echo(f"{counted(len(chosen), 'dead letter')}{left_out}")


@dead_letters.command("show", epilog=EXAMPLES)
@click.argument("name", metavar="ID")
@click.option(
    "--save",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the original value to this file, byte by byte.",
)
@json_option
@set_option
def show_dead_letter(name: str, save: Path | None, as_json: bool, overrides: tuple[str, ...]) -> None:
    """Show all of one: where it came from, what is wrong, what to do, and the record itself.

    ID is as "list" shows it: orders/3/17. The record is decoded as far as it can be; what is no text is shown
    in hexadecimal. It may hold names and addresses of customers.
    """
    with connected(given_settings(overrides)) as connection:
        standing = named(overview(connection), name)
        [(_, letter)] = letters(connection, [standing.name])
        if save is not None:
            _save(save, letter.value)
        if as_json:
            print_json(_as_json(connection, standing, letter))
            return
        for line in _told(connection, standing, letter):
            click.echo(line)
    if save is not None:
        click.echo(f"\nwrote {counted(len(letter.value), 'byte')} to {save}")


dead_letters.add_command(replay)


def _row(standing: Standing, everything: bool) -> tuple[str, ...]:
    letter = standing.letter
    cells = (
        str(standing.name),
        local_time(letter.at, "UTC"),
        one_line(letter.key.decode("utf-8", "replace"), 40),
        letter.error,
        one_line(letter.detail),
    )
    return (*cells, one_line(standing.settled)) if everything else cells


def _whole(connection: Connection, chosen: list[Standing]) -> Iterator[dict[str, Any]]:
    by_name = {each.name: each for each in chosen}
    for name, letter in letters(connection, by_name.keys()):
        yield _fields(by_name[name], letter)


def _fields(standing: Standing, letter: DeadLetter) -> dict[str, Any]:
    fields: dict[str, Any] = {"id": str(standing.name)}
    fields |= msgspec.to_builtins(letter)
    return fields | {"settled_at": standing.settled_at, "settled": standing.settled}


def _as_json(connection: Connection, standing: Standing, letter: DeadLetter) -> dict[str, Any]:
    fields, broken = plain(connection, letter.value)
    verdict = judge(connection, letter.topic, letter.key, letter.value)
    return _fields(standing, letter) | {
        "reason_text": reason_text(letter.error),
        "to_do": _to_do(standing, letter),
        "refused_today": _refused_today(letter, verdict.problem),
        "decoded": fields,
        "decoded_problem": broken,
    }


def _told(connection: Connection, standing: Standing, letter: DeadLetter) -> Iterator[str]:
    verdict = judge(connection, letter.topic, letter.key, letter.value)
    problem = _refused_today(letter, verdict.problem)
    yield f"dead letter   {standing.name}"
    yield f"came from     topic {letter.topic}, partition {letter.partition}, offset {letter.offset}"
    yield f"published     {local_time(letter.timestamp, 'UTC')} UTC"
    yield f"set aside     {local_time(letter.at, 'UTC')} UTC"
    yield f"key           {one_line(letter.key.decode('utf-8', 'replace')) or '(none)'}"
    yield f"error         {letter.error}: {reason_text(letter.error)}"
    yield f"detail        {one_line(letter.detail, 500)}"
    today = f"a worker would refuse it: {one_line(problem, 500)}" if problem else "a worker would take it"
    yield f"today         {today}"
    for note in verdict.notes:
        yield f"              {one_line(note, 500)}"
    if standing.settled_at is not None:
        yield f"dealt with    {local_time(standing.settled_at, 'UTC')} UTC: {one_line(standing.settled)}"
    else:
        yield f"what to do    {_to_do(standing, letter)}"
    yield ""
    yield from _value(connection, letter)


def _to_do(standing: Standing, letter: DeadLetter) -> str:
    if standing.settled_at is not None:
        return ""
    advice = _CUT if is_cut(letter) else _TO_DO.get(letter.error, "{id} goes back by dead-letters replay")
    return advice.format(id=standing.name)


def _refused_today(letter: DeadLetter, problem: str) -> str:
    return "only the beginning of the value is here" if is_cut(letter) else problem


def _value(connection: Connection, letter: DeadLetter) -> Iterator[str]:
    value = letter.value
    size = counted(len(value), "byte")
    if not value:
        yield "the value is empty"
        return
    fields, broken = plain(connection, value)
    schema_id = schema_id_of(value)
    form = (
        "JSON"
        if value[:1] == b"{"
        else f"Avro, schema id {schema_id}"
        if schema_id is not None
        else "unknown form"
    )
    yield f"value ({form}, {size}):"
    if fields is not None:
        yield from _cut_text(pretty(fields))
    if broken:
        yield f"! {one_line(broken, 500)}"
    if fields is None:
        text = as_text(value)
        yield from _cut_text(text) if text is not None else hex_dump(value)
        if text is None and len(value) > 256:
            yield f"... {len(value) - 256} more (--save FILE writes all)"


def _cut_text(text: str) -> Iterator[str]:
    for line in text[:_SHOWN_TEXT].splitlines():
        yield "  " + "".join(char if char.isprintable() else " " for char in line)
    if len(text) > _SHOWN_TEXT:
        yield f"... {len(text) - _SHOWN_TEXT} characters more (--save FILE writes all)"


def _save(path: Path, value: bytes) -> None:
    try:
        path.write_bytes(value)
    except OSError as error:
        raise click.ClickException(f"{path} can't be written: {error.strerror}") from None
