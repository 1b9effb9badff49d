"""``carillon worker`` whose providers answer at once, within the process: a program that the benchmarks
start, configured by the worker's own settings. ``--entities``: it runs without sender agents.
``--workers N``: so many of them, each in a folder of its own within CARILLON_DATA, until this one is ended.

The provider is the simplest implementation of ``senders.sender.Sender``: nothing of the HTTP client or of a
network is measured, everything up to the provider call is.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import agents.worker
from console.cli import main as carillon
from schemas.records import Channel
from senders.pacing import Bucket
from senders.sender import Sender
from senders.settings import SenderSettings
from senders.usage import Usage
from streams.clock import Clock
from streams.domain.messages import Accepted, Inquiry, Message, NotFound, Outcome


class Instant:
    """Accepts every message at once. Its id of a message says when (``called_at``)."""

    bucket: Bucket | None = None

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.name = f"instant-{channel}"
        self._numbers = itertools.count(1)

    async def send(self, message: Message) -> Outcome:
        number, called = next(self._numbers), time.time_ns() // 1_000_000
        return Accepted(self.name, f"SM{called:016d}{number:016d}", segments=1)

    async def inquire(self, message: Message, since: int, until: int) -> Inquiry:
        return NotFound(self.name)

    async def close(self) -> None:
        """Nothing to release."""


def called_at(provider_id: str) -> int:
    """When it was called, in milliseconds since the epoch."""
    return int(provider_id[2:18])


def senders(_: SenderSettings, __: Clock, ___: Usage | None = None) -> dict[Channel, list[Sender]]:
    """Instead of ``senders.factory.build_senders``."""
    return {channel: [Instant(channel)] for channel in Channel}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entities", action="store_true")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    if options.workers > 1:
        several(options.workers, ["--entities"] if options.entities else [])
        return
    worker: Any = agents.worker
    worker.build_senders = senders
    if options.entities:
        nothing = SimpleNamespace(register=lambda *_: None)
        worker.timers = worker.consents = nothing
    sys.argv = ["carillon", "worker"]
    carillon()


def several(count: int, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "tests.benchmarks.instant_worker", *arguments]
    data = os.environ["CARILLON_DATA"]
    workers = [
        subprocess.Popen(command, env=os.environ | {"CARILLON_DATA": f"{data}/worker-{number}"})
        for number in range(1, count + 1)
    ]

    def end(*_: object) -> None:
        for worker in workers:
            worker.terminate()

    signal.signal(signal.SIGTERM, end)
    sys.exit(max(abs(worker.wait()) for worker in workers))


if __name__ == "__main__":
    main()
