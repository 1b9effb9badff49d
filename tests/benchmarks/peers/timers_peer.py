"""Timers on Redis, PostgreSQL or APScheduler: ``timers_peer.py WHO FOLDER PENDING,... COUNT ROUNDS``. Prints
one JSON line for each number of pending timers. Servers are its own, on a socket in FOLDER, and end with it.
"""

from __future__ import annotations

import json
import os
import pwd
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

BATCH = 1_000
BEGIN = 1_700_000_000_000
SPREAD = 30 * 24 * 3600 * 1000
PAYLOAD = json.dumps({"status_id": "s1", "title": "Chain, cassette and brakes", "text": "x1y2z3" * 36})
_TICKS = os.sysconf("SC_CLK_TCK")

ItemT = TypeVar("ItemT")


def due_of(place: int) -> int:
    return BEGIN + place * 2_654_435_761 % SPREAD


class Operations(Protocol):
    """What is measured of a store of timers."""

    def schedule(self, places: Sequence[int]) -> None: ...

    def move(self, places: Sequence[int]) -> None: ...

    def cancel(self, places: Sequence[int]) -> None: ...

    def fire(self, count: int) -> Sequence[Any]:
        """Their names."""


class Queue(Operations, Protocol):
    server: int
    """Process id; 0: there is none."""

    def disk(self) -> int: ...

    def close(self) -> None: ...


class Redis:
    """A sorted set of due times and a hash of payloads."""

    def __init__(self, folder: Path) -> None:
        import redis  # noqa: PLC0415 - only this peer needs it

        server = need("redis-server")
        self._socket = str(folder / "redis.sock")
        self._folder = folder
        options = ["--port", "0", "--unixsocket", self._socket, "--dir", str(folder), "--save", ""]
        self._process = subprocess.Popen(
            [server, *options, "--appendonly", "yes", "--appendfsync", "everysec", "--daemonize", "no"],
            stdout=subprocess.DEVNULL,
        )
        self.server = self._process.pid
        self._client: Any = redis.Redis(unix_socket_path=self._socket)
        until(lambda: Path(self._socket).exists() and self._client.ping())

    def schedule(self, places: Sequence[int]) -> None:
        for block in blocks(places):
            pipe = self._client.pipeline(transaction=False)
            pipe.zadd("due", {f"order-{place}": due_of(place) for place in block})
            pipe.hset("rows", mapping={f"order-{place}": PAYLOAD for place in block})
            pipe.execute()

    def move(self, places: Sequence[int]) -> None:
        for block in blocks(places):
            self._client.zadd(
                "due", {f"order-{place}": due_of(place) + 3_600_000 for place in block}, xx=True
            )

    def cancel(self, places: Sequence[int]) -> None:
        for block in blocks(places):
            names = [f"order-{place}" for place in block]
            pipe = self._client.pipeline(transaction=False)
            pipe.zrem("due", *names)
            pipe.hdel("rows", *names)
            pipe.execute()

    def fire(self, count: int) -> list[str]:
        fired: list[str] = []
        while len(fired) < count:
            names = [name for name, _ in self._client.zpopmin("due", min(BATCH, count - len(fired)))]
            if not names:
                break
            pipe = self._client.pipeline(transaction=False)
            pipe.hmget("rows", names)
            pipe.hdel("rows", *names)
            pipe.execute()
            fired += [name.decode() for name in names]
        return fired

    def disk(self) -> int:
        return size(self._folder)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


class Postgres:
    """A table with an index on the due time; who fires locks and skips what others have locked."""

    def __init__(self, folder: Path) -> None:
        import psycopg  # noqa: PLC0415 - only this peer needs it

        binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        if not binaries:
            raise LookupError("no PostgreSQL server in /usr/lib/postgresql")
        self._folder = folder / "data"
        user: str | None = None
        if os.getuid() == 0:  # it refuses to run as root
            user = "postgres"
            owner = pwd.getpwnam(user)
            for parent in (folder, *folder.parents):
                if parent.stat().st_uid == 0 and not parent.stat().st_mode & 1:
                    parent.chmod(parent.stat().st_mode | 0o011)
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        initdb = [str(binaries[-1] / "initdb"), "-D", str(self._folder), "-A", "trust", "-U", "bench"]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, user=user, cwd="/")
        options = ["-k", str(folder), "-c", "listen_addresses=", "-c", "synchronous_commit=off"]
        options += ["-c", "shared_buffers=256MB", "-c", "max_wal_size=4GB"]
        self._process = subprocess.Popen(
            [str(binaries[-1] / "postgres"), "-D", str(self._folder), *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=user,
            cwd="/",
        )
        self.server = self._process.pid

        def connected() -> bool:
            try:
                self._db: Any = psycopg.connect(host=str(folder), dbname="postgres", user="bench")
            except psycopg.OperationalError:
                return False
            return True

        until(connected)
        with self._db.transaction():
            self._db.execute("create table timers (id text primary key, due bigint not null, payload text)")
            self._db.execute("create index on timers (due)")

    def schedule(self, places: Sequence[int]) -> None:
        for block in blocks(places):
            with self._db.transaction(), self._db.cursor() as cursor:
                cursor.execute(
                    "insert into timers select * from unnest(%s::text[], %s::bigint[], %s::text[])",
                    ([f"order-{p}" for p in block], [due_of(p) for p in block], [PAYLOAD] * len(block)),
                )

    def move(self, places: Sequence[int]) -> None:
        for block in blocks(places):
            with self._db.transaction(), self._db.cursor() as cursor:
                cursor.execute(
                    "update timers set due = due + 3600000 where id = any(%s)",
                    ([f"order-{p}" for p in block],),
                )

    def cancel(self, places: Sequence[int]) -> None:
        for block in blocks(places):
            with self._db.transaction(), self._db.cursor() as cursor:
                cursor.execute("delete from timers where id = any(%s)", ([f"order-{p}" for p in block],))

    def fire(self, count: int) -> list[str]:
        fired: list[str] = []
        while len(fired) < count:
            with self._db.transaction(), self._db.cursor() as cursor:
                cursor.execute(
                    "delete from timers where id in (select id from timers order by due "
                    "for update skip locked limit %s) returning id, payload",
                    (min(BATCH, count - len(fired)),),
                )
                rows = cursor.fetchall()
            if not rows:
                break
            fired += [row[0] for row in rows]
        return fired

    def disk(self) -> int:
        return size(self._folder / "base")

    def close(self) -> None:
        self._db.close()
        self._process.terminate()
        self._process.wait()


class ApScheduler:
    """Job store in memory. Firing takes the due jobs out, as its scheduler does, and calls nothing."""

    server = 0

    def __init__(self, _: Path) -> None:
        from apscheduler.schedulers.background import BackgroundScheduler  # noqa: PLC0415 - only this peer needs it

        self._scheduler: Any = BackgroundScheduler(timezone=UTC)
        self._scheduler.start(paused=True)

    def _when(self, place: int, later: int = 0) -> datetime:
        return datetime.fromtimestamp((due_of(place) + later) / 1000, UTC) + timedelta(days=3650)

    def schedule(self, places: Sequence[int]) -> None:
        for place in places:
            self._scheduler.add_job(
                print, "date", run_date=self._when(place), args=(PAYLOAD,), id=f"order-{place}"
            )

    def move(self, places: Sequence[int]) -> None:
        for place in places:
            if self._scheduler.get_job(f"order-{place}") is not None:
                when = self._when(place, 3_600_000)
                self._scheduler.reschedule_job(f"order-{place}", trigger="date", run_date=when)

    def cancel(self, places: Sequence[int]) -> None:
        for place in places:
            if self._scheduler.get_job(f"order-{place}") is not None:
                self._scheduler.remove_job(f"order-{place}")

    def fire(self, count: int) -> list[str]:
        jobs = self._scheduler.get_jobs()[:count]
        names = [job.id for job in jobs]
        for job in jobs:
            job.remove()
        return names

    def disk(self) -> int:
        return 0

    def close(self) -> None:
        self._scheduler.shutdown(wait=False)


def need(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise LookupError(f"no {name} in PATH")
    return found


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not true():
        if time.monotonic() > end:
            raise LookupError("its server does not start")
        time.sleep(0.05)


def blocks(places: Sequence[ItemT]) -> list[Sequence[ItemT]]:
    return [places[begin : begin + BATCH] for begin in range(0, len(places), BATCH)]


def size(folder: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def family(server: int) -> list[int]:
    """The server and its children, and this process."""
    found = [os.getpid()]
    if server:
        found.append(server)
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                if int(fields[1]) == server:
                    found.append(int(entry.name))
    return found


def used(server: int) -> float:
    total = 0
    for pid in family(server):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += sum(map(int, fields[11:15]))
    return total / _TICKS


def memory(server: int) -> float:
    """MB, with what servers share counted once for each: an upper bound."""
    total = 0
    for pid in family(server)[1 if server else 0 :]:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                total += int(line.split()[1])
    return total / 1024


QUEUES: dict[str, Callable[[Path], Queue]] = {
    "redis": Redis,
    "postgres": Postgres,
    "apscheduler": ApScheduler,
}


class Alive:
    """Which numbers are pending; a byte each, so that ten million of them don't show in the memory used."""

    def __init__(self) -> None:
        self._there = bytearray()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, fresh: range) -> None:
        """The next ones."""
        self._there += b"\1" * len(fresh)
        self._count += len(fresh)

    def remove(self, places: Iterable[int]) -> None:
        for place in places:
            self._count -= self._there[place]
            self._there[place] = 0

    def sample(self, dice: random.Random, count: int) -> list[int]:
        found: dict[int, None] = {}
        while len(found) < count:
            place = dice.randrange(len(self._there))
            if self._there[place]:
                found[place] = None
        return list(found)


class Run:
    """A store of timers, and which of them are pending. ``spent``: CPU seconds so far, known in steps of
    ``step``; ``place_of``: which timer the name of one that has fired is."""

    def __init__(
        self,
        store: Operations,
        spent: Callable[[], float],
        place_of: Callable[[Any], int],
        *,
        step: float = 1e-9,
    ) -> None:
        self.alive = Alive()
        self._store = store
        self._spent = spent
        self._place_of = place_of
        self._step = step
        self._there = 0
        self._dice = random.Random(1)

    def fill(self, pending: int) -> None:
        while self._there < pending:
            fresh = self._next(min(pending - self._there, 100_000))
            self._store.schedule(fresh)
            self.alive.add(fresh)

    def measure(self, count: int, rounds: int) -> dict[str, list[float]]:
        """Timers a CPU second by operation, a figure for each round."""
        rates: dict[str, list[float]] = {}

        def timed(what: str, act: Callable[[Any], Any], given: Any) -> Any:
            began = self._spent()
            found = act(given)
            spent = max(self._spent() - began, self._step)
            rates.setdefault(what, []).append(len(given if found is None else found) / spent)
            return found

        for _ in range(rounds):
            fresh = self._next(count)
            timed("new", self._store.schedule, fresh)
            self.alive.add(fresh)
            some = self.alive.sample(self._dice, count)
            timed("moved", self._store.move, some)
            timed("cancelled", self._store.cancel, some[: count // 2])
            self.alive.remove(some[: count // 2])
            fired = timed("fired", self._store.fire, min(count, len(self.alive)))
            self.alive.remove(map(self._place_of, fired))
        return rates

    def _next(self, count: int) -> range:
        self._there += count
        return range(self._there - count, self._there)


def main(who: str, folder: Path, pendings: Sequence[int], count: int, rounds: int) -> None:
    queue = QUEUES[who](folder)
    run = Run(
        queue, lambda: used(queue.server), lambda name: int(name.removeprefix("order-")), step=1 / _TICKS
    )
    try:
        for pending in pendings:
            run.fill(pending)
            row = {"who": who, "pending": pending, "rates": run.measure(count, rounds)}
            row["memory"] = memory(queue.server)
            row["disk"] = queue.disk() / len(run.alive) if len(run.alive) > count else 0.0
            print(json.dumps(row), flush=True)  # noqa: T201
    finally:
        queue.close()


if __name__ == "__main__":
    try:
        asked = [int(number) for number in sys.argv[3].split(",")]
        main(sys.argv[1], Path(sys.argv[2]), asked, int(sys.argv[4]), int(sys.argv[5]))
    except (LookupError, ImportError, OSError) as error:
        sys.exit(str(error))
