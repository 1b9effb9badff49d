"""A real Apache Kafka as a fixture, one for the whole test session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.local_kafka import LocalKafka


@pytest.fixture(scope="session")
def local_kafka() -> Iterator[LocalKafka]:
    """One node. The log cleaner looks five times a second, so that compaction happens within a test."""
    with LocalKafka(properties={"log.cleaner.backoff.ms": "200"}) as kafka:
        yield kafka
