"""A process to be killed: writes batches over three families for ever and says how far it got.

``python -m tests.streams.state.writer_process PATH FLUSH_EVERY``. Batch n puts row n, moves the due row
of n and sets the position to n. FLUSH_EVERY 0 leaves flushing to RocksDB (small write buffers).
"""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

from streams.state.rocks import MIB, RocksStore, SharedMemory

FAMILIES = ("due", "rows", "position")


def main(path: Path, flush_every: int) -> None:
    store = RocksStore(path, FAMILIES, cache=SharedMemory(cache_bytes=4 * MIB, buffer_bytes=MIB))
    for number in count(1):
        key = number.to_bytes(8, "big")
        store.write(
            [
                ("rows", key, b"r" * 500),
                ("due", key, b"d" * 50),
                ("due", (number - 10).to_bytes(8, "big") if number > 10 else b"-", None),
                ("position", b"position", key),
            ]
        )
        if flush_every and number % flush_every == 0:
            store.flush()
            sys.stdout.write(f"flushed {number}\n")
        elif number % 500 == 0:
            sys.stdout.write(f"written {number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
