"""A real Apache Kafka as a fixture, one for the whole test session."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from deploy.local_kafka import LocalKafka, LocalKafkaError
from deploy.local_kafka.jars import jars, java

PROPERTIES = {"log.cleaner.backoff.ms": "200", "group.min.session.timeout.ms": "1000"}
"""The log cleaner looks five times a second, so that compaction happens within a test; and a test need not
wait six seconds until the group gives up a worker that was killed."""


@pytest.fixture(scope="session")
def local_kafka() -> Iterator[LocalKafka]:
    """One node."""
    need_kafka()
    with LocalKafka(properties=PROPERTIES) as kafka:
        yield kafka


def need_kafka() -> None:
    """Skips on a machine without Java or Maven; in CI (``CI=true``) that is a failure like any other."""
    try:
        java()
        jars()
    except LocalKafkaError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no real Kafka on this machine, and CI would not skip this: {error}")
