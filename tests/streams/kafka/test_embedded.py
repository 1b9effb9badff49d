"""The embedded broker: what topics it has, what it says of its volume, and that it never outlives us."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from streams.kafka.embedded import DEFAULT_PARTITIONS, EmbeddedBroker, main

pytestmark = pytest.mark.embedded

ROOT = Path(__file__).parents[3]


def until(true: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_topics_have_the_partitions_asked_for_and_others_appear_with_four() -> None:
    with EmbeddedBroker({"rules": 1, "timers": 7}) as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        producer.produce("surprise", b"x")
        assert producer.flush(10) == 0
        topics = AdminClient({"bootstrap.servers": broker.bootstrap}).list_topics(timeout=10).topics
        assert {name: len(topic.partitions) for name, topic in topics.items()} == {
            "rules": 1,
            "timers": 7,
            "surprise": DEFAULT_PARTITIONS,
        }
        pid = broker.pid
    assert not alive(pid)


def test_usage_warns_before_and_after_records_are_lost(caplog: pytest.LogCaptureFixture) -> None:
    def fill(count: int) -> None:
        for _ in range(count):
            producer.produce("t", b"x" * 1000, partition=0)
            producer.poll(0)
        assert producer.flush(30) == 0

    with EmbeddedBroker({"t": 2}) as broker, caplog.at_level(logging.WARNING):
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        fill(1000)
        use = broker.usage()["t", 0]
        assert (use.records, use.dropped, use.near_limit) == (1000, 0, False)
        assert 1_000_000 <= use.written_bytes <= 1_100_000
        assert caplog.messages == []
        fill(3500)
        use = broker.usage()["t", 0]
        assert (use.records, use.dropped, use.near_limit) == (4500, 0, True)
        assert len(caplog.messages) == 1
        fill(3000)
        use = broker.usage()["t", 0]
        assert use.dropped > 0
        assert use.records + use.dropped == 7500
        assert "lost" in caplog.messages[-1]
        assert not broker.usage()["t", 1].near_limit


def test_it_ends_with_its_parent_even_when_that_is_killed() -> None:
    code = (
        "from streams.kafka.embedded import EmbeddedBroker\n"
        "import time\n"
        "broker = EmbeddedBroker(); broker.start(); print(broker.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
    until(lambda: not alive(pid), "the broker has followed its parent")


def test_on_the_command_line_it_serves_until_term(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    command = [
        sys.executable,
        "-m",
        "streams.kafka.embedded",
        "--ready-file",
        str(ready),
        "--topics",
        "a:3,b",
    ]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL) as broker:
        until(ready.exists, "it is ready")
        topics = AdminClient({"bootstrap.servers": ready.read_text()}).list_topics(timeout=10).topics
        assert {name: len(topic.partitions) for name, topic in topics.items()} == {"a": 3, "b": 4}
        os.kill(broker.pid, signal.SIGTERM)
        assert broker.wait(30) == 0


async def test_async_and_a_start_that_fails() -> None:
    async with EmbeddedBroker() as broker:
        assert broker.bootstrap
    with pytest.raises(RuntimeError, match="ended with code"):
        EmbeddedBroker({"bad": 0}).start()
    with pytest.raises(SystemExit):
        main(["--topics", "a:1"])
