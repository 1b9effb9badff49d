"""Hand-over by Redis or PostgreSQL: ``python -m tests.benchmarks.peers.handover_peer WHO FOLDER PENDING
STEADY BURST``. Prints one JSON line for each scene (``handover.Played``)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from tests.benchmarks.peers import handover, timers_peer
from tests.benchmarks.peers.handover import BLOCK, Timer
from tests.benchmarks.peers.timers_peer import PAYLOAD


class Peer(handover.Store, Protocol):
    def close(self) -> None: ...


class Redis(timers_peer.Redis):
    def put(self, timers: Sequence[Timer]) -> None:
        for block in timers_peer.blocks(timers):
            pipe = self._client.pipeline(transaction=False)
            pipe.zadd("due", dict(block))
            pipe.hset("rows", mapping={name: PAYLOAD for name, _ in block})
            pipe.execute()

    def reschedule(self, timers: Sequence[Timer]) -> None:
        for block in timers_peer.blocks(timers):
            self._client.zadd("due", dict(block), xx=True)

    def due(self, now: int) -> Iterator[list[Timer]]:
        while found := self._client.zrangebyscore("due", 0, now, start=0, num=BLOCK, withscores=True):
            names = [name for name, _ in found]
            pipe = self._client.pipeline(transaction=False)
            pipe.hmget("rows", names)
            pipe.zrem("due", *names)
            pipe.hdel("rows", *names)
            pipe.execute()
            yield [(name.decode(), int(due)) for name, due in found]
            if len(found) < BLOCK:
                return


class Postgres(timers_peer.Postgres):
    def put(self, timers: Sequence[Timer]) -> None:
        for block in timers_peer.blocks(timers):
            with self._db.transaction(), self._db.cursor() as cursor:
                cursor.execute(
                    "insert into timers select * from unnest(%s::text[], %s::bigint[], %s::text[])",
                    ([name for name, _ in block], [due for _, due in block], [PAYLOAD] * len(block)),
                )

    def reschedule(self, timers: Sequence[Timer]) -> None:
        for block in timers_peer.blocks(timers):
            with self._db.transaction(), self._db.cursor() as cursor:
                cursor.execute(
                    "update timers set due = new.due from unnest(%s::text[], %s::bigint[]) as new (id, due) "
                    "where timers.id = new.id",
                    ([name for name, _ in block], [due for _, due in block]),
                )

    def due(self, now: int) -> Iterator[list[Timer]]:
        while True:
            with self._db.transaction(), self._db.cursor() as cursor:
                cursor.execute(
                    "delete from timers where id in (select id from timers where due <= %s order by due "
                    "for update skip locked limit %s) returning id, due, payload",
                    (now, BLOCK),
                )
                rows = cursor.fetchall()
            if rows:
                yield [(name, due) for name, due, _ in rows]
            if len(rows) < BLOCK:
                return


PEERS: dict[str, Callable[[Path], Peer]] = {"redis": Redis, "postgres": Postgres}


def main(who: str, folder: Path, numbers: Sequence[int]) -> None:
    peer = PEERS[who](folder)
    try:
        for line in handover.play(who, peer, *numbers):
            print(line, flush=True)  # noqa: T201 - read by whoever started it
    finally:
        peer.close()


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]), [int(text) for text in sys.argv[3:]])
    except (LookupError, ImportError, OSError, ValueError) as error:
        sys.exit(str(error))
