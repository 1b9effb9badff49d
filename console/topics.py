"""``carillon topics``: the topics that Carillon needs, created and checked."""

from __future__ import annotations

import asyncio

import click

from console.connection import RawPublication, connected, explained
from console.options import given_settings, json_option, set_option
from console.output import counted, print_json, print_table, progress
from streams.domain.problems import Problem
from streams.kafka.changelog import ChangelogError, read_changelog
from streams.kafka.producer import ProduceError
from streams.kafka.security import librdkafka_config
from streams.kafka.topics import CHANGELOGS, TopicPlan, check, create, topic_plan
from streams.settings import Settings
from streams.stages.fencing import EPOCH_HEADER, Fence, LogRecord, StateTooNew, claim_record, header_of

HOUR = 3_600_000
DAY = 24 * HOUR

EXAMPLES = """\b
Examples:
  carillon topics create                                before the first worker starts
  carillon topics create --set partitions=64 --set replication=3
  carillon topics check                                 exit code 1 if something is not as it must be
  carillon topics list --json
  carillon topics give-up timers-changelog 3            only when a worker asks for it
"""


@click.group(epilog=EXAMPLES)
def topics() -> None:
    """Create and check the topics that Carillon reads and writes.

    The settings say how: CARILLON_PARTITIONS (fixed once they are created), CARILLON_REPLICATION and
    CARILLON_TOPIC_PREFIX.
    """


@topics.command("create", epilog=EXAMPLES)
@set_option
def create_topics(overrides: tuple[str, ...]) -> None:
    """Create the topics that are missing, and check those that exist.

    What exists is never changed. Exit code 1 if it is not as it must be.
    """
    settings = given_settings(overrides)
    plan = topic_plan(settings)
    progress(f"creating what is missing of {len(plan)} topics at {settings.broker} ...")
    with explained(settings):
        report = asyncio.run(create(settings.broker, librdkafka_config(settings), plan))
    partitions = {topic.name: topic.partitions for topic in plan}
    for name in report.created:
        click.echo(f"created {name} ({counted(partitions[name], 'partition')})")
    click.echo(
        f"{counted(len(report.created), 'topic')} created, "
        f"{len(report.existing)} existed at {settings.broker}"
    )
    _judge(settings, plan)


@topics.command("check", epilog=EXAMPLES)
@set_option
@json_option
def check_topics(overrides: tuple[str, ...], as_json: bool) -> None:
    """Compare partition counts, compaction and retention with what they must be.

    Prints each problem with what to do; exit code 1 if there is any.
    """
    settings = given_settings(overrides)
    plan = topic_plan(settings)
    if as_json:
        problems = _problems(settings, plan)
        for problem in problems:
            print_json({"topic": problem.field, "problem": problem.message})
        if problems:
            raise click.exceptions.Exit(1)
        return
    _judge(settings, plan)
    click.echo(f"all {len(plan)} topics at {settings.broker} are as they must be")


@topics.command("list", epilog=EXAMPLES)
@set_option
@json_option
def list_topics(overrides: tuple[str, ...], as_json: bool) -> None:
    """The topics as "create" makes them with these settings. Contacts no broker."""
    plan = topic_plan(given_settings(overrides))
    if as_json:
        for topic in plan:
            print_json(topic)
        return
    print_table(
        ("topic", "partitions", "copies", "kept", "filled by"),
        [
            (topic.name, str(topic.partitions), str(topic.replication), _kept(topic), _owner(topic))
            for topic in plan
        ],
    )


@topics.command("give-up", epilog=EXAMPLES)
@click.argument("changelog", type=click.Choice(CHANGELOGS), metavar="CHANGELOG")
@click.argument("partition", type=click.IntRange(0))
@set_option
def give_up(changelog: str, partition: int, overrides: tuple[str, ...]) -> None:
    """Go on without what a changelog held that was deleted and made anew.

    A worker that is given such a partition waits until the worker that had it last has put back what it held
    (docs/operating.md, Deleting topics). If that disk is gone, this lets it go on. What was pending in the
    partition is lost, and so is the memory of what was sent: a reminder may come again. A changelog that is
    in use is left as it is.
    """
    settings = given_settings(overrides)
    place = f"{settings.topic_prefix}{changelog}[{partition}]"
    fence, end = _owners_of(settings, changelog, partition)
    if fence.begun:
        raise click.ClickException(f"{place} is in use: nothing in it needs to be given up")
    key, value = claim_record(fence.epoch + 1, end, "carillon topics give-up")
    headers = [(EPOCH_HEADER, header_of(fence.epoch + 1))]
    with connected(settings) as connection, connection.writer() as writer:
        [written] = writer.put([RawPublication(changelog, partition, key, value, headers)])
    if isinstance(written, ProduceError):
        raise click.ClickException(str(written))
    fence, _ = _owners_of(settings, changelog, partition)
    if not fence.begun:
        raise click.ClickException(f"somebody else wrote to {place} at the same moment: try again")
    click.echo(f"{place}: what it held is given up; a worker goes on with it within seconds")


def _owners_of(settings: Settings, changelog: str, partition: int) -> tuple[Fence, int]:
    """What is known of the changelog's owners, and where it ends."""
    fence = Fence()
    topic = settings.topic_prefix + changelog
    security = librdkafka_config(settings)

    def look(records: list[LogRecord]) -> None:
        fence.admit(records)

    try:
        return fence, asyncio.run(
            read_changelog(settings.broker, security, topic, partition, None, look, stall_timeout=10)
        )
    except (ChangelogError, StateTooNew) as error:
        raise click.ClickException(str(error)) from None


def _judge(settings: Settings, plan: tuple[TopicPlan, ...]) -> None:
    """Prints what is wrong; ends with exit code 1 if anything is."""
    problems = _problems(settings, plan)
    for problem in problems:
        click.echo(f"{problem}", err=True)
    if problems:
        raise click.ClickException(f"{counted(len(problems), 'problem')} with the topics, see above")


def _problems(settings: Settings, plan: tuple[TopicPlan, ...]) -> list[Problem]:
    with explained(settings):
        return asyncio.run(check(settings.broker, librdkafka_config(settings), plan, timeout=10))


def _kept(topic: TopicPlan) -> str:
    if topic.cleanup == "compact":
        return "newest of each key"
    retention = int(topic.config["retention.ms"])
    return counted(retention // DAY, "day") if retention >= DAY else counted(retention // HOUR, "hour")


def _owner(topic: TopicPlan) -> str:
    return "Carillon" if topic.owned else "its publisher"
