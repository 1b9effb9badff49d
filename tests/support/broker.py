"""The embedded broker as fixtures. Tests share one broker and keep apart by topic names of their own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from streams.kafka.embedded import EmbeddedBroker

_NUMBERS = count(1)


@pytest.fixture(scope="session")
def bootstrap() -> Iterator[str]:
    """``host:port`` of a broker whose topics appear on first use, with 4 partitions."""
    with EmbeddedBroker() as broker:
        yield broker.bootstrap


@pytest.fixture
def topic() -> str:
    """A name that no other test uses."""
    return f"topic-{next(_NUMBERS)}"
