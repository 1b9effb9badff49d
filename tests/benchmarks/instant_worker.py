"""``carillon worker`` whose SMS provider answers at once, within the process: a program that the benchmarks
start, configured by the worker's own settings. With ``entities`` as argument it runs without sender agents.

The provider is the simplest implementation of ``senders.sender.Sender``: nothing of the HTTP client or of a
network is measured, everything up to the provider call is.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import agents.worker
from console.cli import main as carillon
from schemas.records import Channel
from senders.pacing import Bucket
from senders.sender import Sender
from senders.settings import SenderSettings
from streams.clock import Clock
from streams.domain.messages import Accepted, Inquiry, Message, NotFound, Outcome


class Instant:
    """Accepts every message at once."""

    channel = Channel.SMS
    name = "instant"
    bucket: Bucket | None = None

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    async def send(self, message: Message) -> Outcome:
        return Accepted("instant", f"SM{next(self._numbers):032d}", segments=1)

    async def inquire(self, message: Message, since: int, until: int) -> Inquiry:
        return NotFound("instant")

    async def close(self) -> None:
        """Nothing to release."""


def senders(_: SenderSettings, __: Clock) -> Mapping[Channel, list[Sender]]:
    return {Channel.SMS: [Instant()]}


def main() -> None:
    worker: Any = agents.worker
    worker.build_senders = senders
    if "entities" in sys.argv[1:]:
        nothing = SimpleNamespace(register=lambda *_: None)
        worker.timers = worker.consents = nothing
    sys.argv = ["carillon", "worker"]
    carillon()


if __name__ == "__main__":
    main()
