"""What a local provider has accepted: in memory and, if a folder is given, appended to a file of JSON lines
before the answer goes out, so that whoever was told "accepted" finds it there after a kill -9."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


class Ledger:
    """Entries in the order in which they were accepted; an existing file is read first."""

    def __init__(self, file: Path | None = None) -> None:
        self.entries: list[Entry] = []
        self._file = None
        self._grown = asyncio.Event()
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.exists():
                self.entries = [json.loads(line) for line in _whole_lines(file)]
            self._file = file.open("ab", buffering=0)

    def append(self, entry: Mapping[str, Any]) -> Entry:
        kept = dict(entry)
        if self._file is not None:
            self._file.write(json.dumps(kept, ensure_ascii=False).encode() + b"\n")
        self.entries.append(kept)
        self._grown.set()
        return kept

    async def reached(self, count: int, timeout: float = 10.0) -> list[Entry]:
        """Waits until ``count`` messages were accepted. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            while len(self.entries) < count:
                self._grown.clear()
                await self._grown.wait()
        return self.entries

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _whole_lines(file: Path) -> list[bytes]:
    """A line cut off by a crash was never answered for: it is taken back."""
    data = file.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        file.write_bytes(whole)
    return whole.splitlines()


def write_ready_file(file: Path, facts: Mapping[str, Any]) -> None:
    """One JSON object, there as a whole or not at all: whoever started the process waits for it."""
    partial = file.with_name(file.name + ".partial")
    partial.write_text(json.dumps(dict(facts)) + "\n")
    partial.replace(file)
