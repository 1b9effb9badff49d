"""A process to be killed: writes batches over three families for ever and says how far it got.

``python -m tests.streams.state.writer_process PATH EVERY HOW``. Batch n puts row n, moves the due row
of n and sets the position to n. Every so many batches HOW ``flush`` waits until they are on the disk,
``save`` goes on writing meanwhile; ``leave`` leaves it to RocksDB (small write buffers).
"""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

from streams.state.rocks import MIB, RocksStore, SharedMemory

FAMILIES = ("due", "rows", "position")


def main(path: Path, every: int, how: str) -> None:
    buffer = 64 * MIB if how == "save" else MIB  # nothing but what is saved
    store = RocksStore(path, FAMILIES, cache=SharedMemory(cache_bytes=4 * MIB, buffer_bytes=buffer))
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
        if how == "save" and number % every == 0:
            store.save()
        if how == "flush" and number % every == 0:
            store.flush()
            sys.stdout.write(f"flushed {number}\n")
        elif number % 500 == 0:
            sys.stdout.write(f"written {number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
