"""Runs a local provider as a process: ``python -m deploy.fakes.sms``, ``.mail`` and ``.gmail``."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from deploy.fakes.ledger import write_ready_file
from streams.clock import FileClock


class Provider(Protocol):
    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...

    @property
    def ports(self) -> Mapping[str, int]:
        """Besides ``port``, by the names that the ready file gives them."""

    async def start(self, host: str, port: int) -> None: ...

    async def stop(self) -> None: ...


Build = Callable[[Path | None, Callable[[], int]], Provider]
"""From the folder to keep messages in, and the time in milliseconds."""


def main(name: str, build: Build) -> None:
    parser = argparse.ArgumentParser(prog=f"python -m deploy.fakes.{name}")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: the system chooses")
    parser.add_argument("--ready-file", type=Path, help="written as JSON once the port is open")
    parser.add_argument("--ledger", type=Path, help="folder that keeps what was accepted")
    parser.add_argument("--clock", type=Path, help="file of the demo's clock; else the system's")
    options = parser.parse_args()
    clock = options.clock
    now = FileClock(clock).now if clock is not None else lambda: time.time_ns() // 1_000_000
    asyncio.run(_serve(build(options.ledger, now), options.host, options.port, options.ready_file))


async def _serve(provider: Provider, host: str, port: int, ready: Path | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await provider.start(host, port)
    if ready is not None:
        where = {"host": provider.host, "port": provider.port, "pid": os.getpid(), **provider.ports}
        write_ready_file(ready, where)
    await stop.wait()
    await provider.stop()
