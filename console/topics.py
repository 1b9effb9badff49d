"""``carillon topics``: the topics that Carillon needs, created and checked."""

from __future__ import annotations

import asyncio

import click

from console.connection import explained
from console.options import given_settings, json_option, set_option
from console.output import counted, print_json, print_table, progress
from streams.domain.problems import Problem
from streams.kafka.security import librdkafka_config
from streams.kafka.topics import TopicPlan, check, create, topic_plan
from streams.settings import Settings

HOUR = 3_600_000
DAY = 24 * HOUR

EXAMPLES = """\b
Examples:
  carillon topics create                                before the first worker starts
  carillon topics create --set partitions=64 --set replication=3
  carillon topics check                                 exit code 1 if something is not as it must be
  carillon topics list --json
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
