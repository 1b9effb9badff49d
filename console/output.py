"""What commands print: tables for people, lines of JSON for scripts, moments in a zone's own time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import click
import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from streams.domain.zones import zone_of


def on_terminal() -> bool:
    """Whether a person watches: colour, progress and questions are for them."""
    return sys.stdout.isatty()


def may_ask() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str] = ()) -> None:
    """Ruled and coloured on a terminal, aligned with blanks elsewhere. ``styles``: rich's, one a row."""
    if on_terminal():
        table = Table(box=None, header_style="bold", pad_edge=False)
        for header in headers:
            table.add_column(header, overflow="fold")
        for number, row in enumerate(rows):
            # As Text: what publishers wrote must not be read as markup.
            table.add_row(*map(Text, row), style=styles[number] if styles else None)
        Console().print(table)
        return
    lines = [list(headers), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def print_json(value: object) -> None:
    """One line. Records are written with all their fields; bytes as base64."""
    click.echo(msgspec.json.encode(value))


def progress(text: str) -> None:
    """What is being waited for: on standard error, so that it disturbs no script."""
    if sys.stderr.isatty():
        click.secho(text, dim=True, err=True)


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """To be given (done, all) now and then; drawn on standard error, and only for people."""
    if not sys.stderr.isatty():
        yield lambda done, whole: None
        return
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, whole: bar.update(task, completed=done, total=whole)


def local_time(at: int, zone: str) -> str:
    """``Tue 7 Apr 2026 13:00`` on the zone's clocks."""
    moment = datetime.fromtimestamp(at / 1000, zone_of(zone))
    return f"{moment:%a} {moment.day} {moment:%b %Y %H:%M}"


def counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def one_line(text: str, limit: int = 200) -> str:
    """Without line ends and control characters, so that a record can't write over the terminal."""
    clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"
