"""``carillon kafka``: a real Apache Kafka broker on this machine, for trying things out without Docker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from console.output import progress
from deploy.local_kafka import LocalKafkaError
from deploy.local_kafka.standing import (
    Standing,
    default_folder,
    described,
    down,
    kill,
    start,
    status,
    stop,
    up,
)

EXAMPLES = """\b
Examples:
  carillon kafka up                   needs Java 17 and, the first time, Maven (some 120 MB of jars)
  export CARILLON_BROKER=...          as "up" says
  carillon kafka up --nodes 3         a cluster, of which a node may fail
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

_number = click.argument("number", type=click.IntRange(1, 3))

NODE_EXAMPLES = """\b
Examples:
  carillon kafka up --nodes 3
  carillon kafka kill 2               the others take over
  carillon kafka start 2              it catches up
"""


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
    with _errors():
        _describe(up(folder.resolve(), nodes=int(nodes)))


@kafka.command("down", epilog=EXAMPLES)
@_folder
def down_command(folder: Path) -> None:
    """Stop it; what it held is gone."""
    with _errors():
        click.echo("stopped" if down(folder.resolve()) else "nothing is running")


@kafka.command("status", epilog=EXAMPLES)
@_folder
def status_command(folder: Path) -> None:
    """Say where it runs, node by node; exit code 1 if none does."""
    standing = status(folder.resolve())
    if standing is None:
        raise click.ClickException('nothing is running; "carillon kafka up" starts it')
    _describe(standing)


@kafka.command("stop", epilog=NODE_EXAMPLES)
@_number
@_folder
def stop_command(number: int, folder: Path) -> None:
    """Stop a node in good order; what it holds stays."""
    with _errors():
        stop(folder.resolve(), number)
    click.echo(f"node {number} is stopped")


@kafka.command("kill", epilog=NODE_EXAMPLES)
@_number
@_folder
def kill_command(number: int, folder: Path) -> None:
    """Kill a node (SIGKILL), as a crash would; what it holds stays."""
    with _errors():
        kill(folder.resolve(), number)
    click.echo(f"node {number} is killed")


@kafka.command("start", epilog=NODE_EXAMPLES)
@_number
@_folder
def start_command(number: int, folder: Path) -> None:
    """Start a stopped or killed node again, on its port and data."""
    with _errors():
        _describe(start(folder.resolve(), number))


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except LocalKafkaError as error:
        raise click.ClickException(str(error)) from None


def _describe(standing: Standing) -> None:
    click.echo(described(standing))
    click.echo(f"To use it: export CARILLON_BROKER={standing.bootstrap}")
    if len(standing.nodes) > 1:
        click.echo(f"           export CARILLON_REPLICATION={len(standing.nodes)}")
