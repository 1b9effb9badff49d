"""``carillon dead-letters``: records that could not be worked on, and why."""

from __future__ import annotations

import click

from console.connection import connected
from console.options import given_settings, json_option, set_option
from console.output import counted, local_time, one_line, print_json, print_table
from schemas.records import DeadLetter

EXAMPLES = """\b
Examples:
  carillon dead-letters list
  carillon dead-letters list --topic orders --json | jq -r .detail
"""


@click.group("dead-letters", epilog=EXAMPLES)
def dead_letters() -> None:
    """Look at records that could not be worked on. They stop nothing: those behind them went on."""


@dead_letters.command("list", epilog=EXAMPLES)
@click.option("--topic", help="Only those that came from this topic.")
@json_option
@set_option
def list_dead_letters(topic: str | None, as_json: bool, overrides: tuple[str, ...]) -> None:
    """Say where each came from and what is wrong with it, oldest first.

    --json shows the original bytes too (key and value, base64).
    """
    with connected(given_settings(overrides)) as connection:
        found = [connection.decode("dead-letters", DeadLetter, r) for r in connection.records("dead-letters")]
    letters = sorted(
        (letter for letter in found if letter is not None and topic in (None, letter.topic)),
        key=lambda letter: letter.at,
    )
    if as_json:
        for letter in letters:
            print_json(letter)
        return
    if not letters:
        click.echo("no dead letters")
        return
    print_table(
        ("at (UTC)", "topic", "partition", "offset", "key", "error", "detail"),
        [
            (
                local_time(letter.at, "UTC"),
                letter.topic,
                str(letter.partition),
                str(letter.offset),
                one_line(letter.key.decode("utf-8", "replace"), 40),
                letter.error,
                one_line(letter.detail),
            )
            for letter in letters
        ],
    )
    click.echo(counted(len(letters), "dead letter"))
