"""Fixtures of the commands' tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import count

import pytest
from click.testing import CliRunner, Result

from console.cli import main
from streams.kafka.embedded import EmbeddedBroker
from streams.kafka.topics import create, partition_counts, topic_plan
from streams.settings import Settings

Carillon = Callable[..., Result]

_NUMBERS = count(1)
PLANNED = "planned-"
"""Prefix of a set of topics with the planned partition counts. The broker makes some eight topics a second
so, and at once those that appear on first use (with 4 partitions), which is all the same to most tests."""


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BROKER", "PARTITIONS", "TOPIC_PREFIX", "REGISTRY"):
        monkeypatch.delenv(f"CARILLON_{name}", raising=False)


@pytest.fixture
def carillon() -> Carillon:
    """Runs the command; no terminal, so nothing is asked."""
    return lambda *arguments: CliRunner().invoke(main, arguments)


@pytest.fixture(scope="session")
def command_broker() -> Iterator[str]:
    with EmbeddedBroker(partition_counts(topic_plan(Settings(topic_prefix=PLANNED, partitions=3)))) as broker:
        yield broker.bootstrap


@pytest.fixture
def own_topics(command_broker: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Topics that no other test uses, named in the environment."""
    settings = Settings(broker=command_broker, topic_prefix=f"t{next(_NUMBERS)}-", partitions=4)
    monkeypatch.setenv("CARILLON_BROKER", settings.broker)
    monkeypatch.setenv("CARILLON_TOPIC_PREFIX", settings.topic_prefix)
    asyncio.run(create(settings.broker, {}, topic_plan(settings)))
    return settings
