"""A worker ends when it is told to, whatever the brokers do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.kafka.embedded import EmbeddedBroker
from streams.kafka.topics import partition_counts, topic_plan
from streams.settings import Settings

pytestmark = pytest.mark.embedded


def ready(data: Path) -> bool:
    try:
        where = json.loads((data / "web.json").read_text())
        with urllib.request.urlopen(f"http://127.0.0.1:{where['port']}/status", timeout=5) as answer:
            return bool(json.load(answer)["ready"])
    except (OSError, ValueError):
        return False


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(partition_counts(topic_plan(Settings(partitions=1)))) as broker:
        yield broker


@pytest.fixture
def worker(broker: EmbeddedBroker, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """At work; what it says is in ``log``."""
    environment = os.environ | {
        "CARILLON_BROKER": broker.bootstrap,
        "CARILLON_PARTITIONS": "1",
        "CARILLON_DATA": str(tmp_path),
        "CARILLON_WEB_PORT": "0",
        "CARILLON_SESSION_TIMEOUT": "2000",
    }
    path = tmp_path / "log"
    with path.open("w") as log:
        worker = subprocess.Popen([sys.executable, "-m", "console", "worker"], env=environment, stderr=log)
        try:
            deadline = time.monotonic() + 60
            while not ready(tmp_path):
                assert time.monotonic() < deadline, path.read_text()
                assert worker.poll() is None, path.read_text()
                time.sleep(0.1)
            yield worker
        finally:
            worker.kill()
            worker.wait()


def test_sigterm_ends_a_worker_whose_broker_is_gone_for_good(
    broker: EmbeddedBroker, worker: subprocess.Popen[bytes]
) -> None:
    broker.stop()
    worker.send_signal(signal.SIGTERM)
    worker.wait(60)  # its own deadline is 25 s; without it this never returns


def test_a_crash_in_a_library_says_where_it_was(worker: subprocess.Popen[bytes], tmp_path: Path) -> None:
    worker.send_signal(signal.SIGSEGV)
    assert worker.wait(60) == -signal.SIGSEGV
    told = (tmp_path / "log").read_text()
    assert "Segmentation fault" in told
    assert "most recent call first" in told
