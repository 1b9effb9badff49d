"""A worker ends when it is told to, whatever the brokers do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
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


def test_sigterm_ends_a_worker_whose_broker_is_gone_for_good(tmp_path: Path) -> None:
    with EmbeddedBroker(partition_counts(topic_plan(Settings(partitions=1)))) as broker:
        environment = os.environ | {
            "CARILLON_BROKER": broker.bootstrap,
            "CARILLON_PARTITIONS": "1",
            "CARILLON_DATA": str(tmp_path),
            "CARILLON_WEB_PORT": "0",
            "CARILLON_SESSION_TIMEOUT": "2000",
        }
        log = (tmp_path / "log").open("w")
        worker = subprocess.Popen([sys.executable, "-m", "console", "worker"], env=environment, stderr=log)
        try:
            deadline = time.monotonic() + 60
            while not ready(tmp_path):
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                assert worker.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.1)
            broker.stop()
            worker.send_signal(signal.SIGTERM)
            worker.wait(60)  # its own deadline is 25 s; without it this never returns
        finally:
            worker.kill()
            worker.wait()
            log.close()
