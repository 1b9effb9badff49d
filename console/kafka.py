"""``carillon kafka``: a real Apache Kafka broker on this machine, for trying things out without Docker."""

from __future__ import annotations

from pathlib import Path

import click

from console.output import progress
from deploy.local_kafka import LocalKafkaError
from deploy.local_kafka.standing import Standing, default_folder, down, status, up

EXAMPLES = """\b
Examples:
  carillon kafka up                   needs Java 17 and, the first time, Maven (some 120 MB of jars)
  export CARILLON_BROKER=...          as "up" says
  carillon kafka down

\b
The same without this command: python -m deploy.local_kafka up
"""

_folder = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=default_folder,
    help="Where data, logs and process ids lie.",
)


@click.group(epilog=EXAMPLES)
def kafka() -> None:
    """Start and stop a local Apache Kafka, to try Carillon out without Docker.

    It listens on a free port of this machine only, keeps nothing when it is started anew, and is no
    broker for production.
    """


@kafka.command("up", epilog=EXAMPLES)
@_folder
@click.option("--nodes", type=click.Choice(["1", "3"]), default="1", help="One broker, or three.")
def up_command(folder: Path, nodes: str) -> None:
    """Start it with empty topics, unless it is running; it stays until "down"."""
    progress("starting Apache Kafka (the first time its jars are fetched, which takes a minute) ...")
    try:
        _describe(up(folder.resolve(), nodes=int(nodes)))
    except LocalKafkaError as error:
        raise click.ClickException(str(error)) from None


@kafka.command("down", epilog=EXAMPLES)
@_folder
def down_command(folder: Path) -> None:
    """Stop it; what it held is gone."""
    try:
        click.echo("stopped" if down(folder.resolve()) else "nothing is running")
    except LocalKafkaError as error:
        raise click.ClickException(str(error)) from None


@kafka.command("status", epilog=EXAMPLES)
@_folder
def status_command(folder: Path) -> None:
    """Say where it runs; exit code 1 if it does not."""
    standing = status(folder.resolve())
    if standing is None:
        raise click.ClickException('nothing is running; "carillon kafka up" starts it')
    _describe(standing)


def _describe(standing: Standing) -> None:
    click.echo(f"Kafka runs at {standing.bootstrap}")
    click.echo(f"  files      {standing.folder}")
    click.echo(f"  processes  {', '.join(map(str, standing.pids))}")
    click.echo(f"To use it: export CARILLON_BROKER={standing.bootstrap}")
