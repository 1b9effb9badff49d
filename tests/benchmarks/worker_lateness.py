"""How much later than its moment an outcome is recorded; a part of ``tests.benchmarks.worker_timers``.

From the delivery log: a steady mixed load (messages due, new timers, moves), many spread over one second,
many in one instant; and meanwhile those of a company that is not concerned, and e-mails of those that are.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from tests.benchmarks.commands import DAY, HOUR
from tests.benchmarks.measure import Spread, Table, load_now, say
from tests.benchmarks.peers.handover import summary
from tests.benchmarks.world import World, now_ms, sent_at, until_sent

OTHER = 7
"""Number of the company whose messages a burst of the others must not delay."""
WINDOWS = {"steady mixed load": 20_000, "spread over one second": 1_000, "in one instant": 1}
"""Milliseconds over which the moments of each scene are spread."""


def lateness(world: World, burst: int, runs: int) -> Table:
    made = Table(
        "lateness",
        "Lateness of messages, through the whole worker",
        (
            "",
            "messages",
            "p50 ms",
            "p99 ms",
            "most ms",
            "another company's most ms",
            "another channel's",
            "load",
        ),
    )
    there = int(world.worker.status()["pending"])
    dice = random.Random(1)
    found: dict[str, list[Sequence[float]]] = {what: [] for what in WINDOWS}
    for turn in range(runs):
        for what in WINDOWS:
            say(f"lateness, round {turn + 1} of {runs}: {what}")
            found[what].append((*_scene(world, what, burst, dice), load_now()))
    for what, scenes in found.items():
        columns = [Spread.of(column) for column in zip(*scenes, strict=True)]
        made.rows.append((what, *map(str, columns)))
        _, middle, last, most, *beside = (column.middle for column in columns[:-1])
        made.values |= {f"{what} p50": middle, f"{what} p99": last, f"{what} most": most}
        made.values |= {f"{what} beside": max(beside)}
    made.notes = [
        f"{there:,} timers pending; from the moment to the time that the outcome bears",
        f"{runs} times: median (least-greatest)",
        "one company of ten has messages of its own all the while, and the others have e-mails: the last "
        "columns are the latest of those",
    ]
    return made


def _scene(world: World, what: str, burst: int, dice: random.Random) -> list[float]:
    """How many messages; of their lateness in milliseconds p50, p99 and the most; the most of another
    company's, and of another channel's."""
    window, steady = WINDOWS[what], what.startswith("steady")
    count = min(burst, 2_000) if steady else burst
    mine = [n for n in world.fresh(count) if not _is_other(world, n)]
    beside = [n for n in world.fresh(2_000) if _is_other(world, n)]
    mails = [n for n in world.fresh(220) if not _is_other(world, n)]
    # Time enough to have them all armed before the first is due.
    begin = now_ms() + 10_000 + int(2 * world.arming * count)
    # Those beside it come throughout the burst and the ten seconds after it.
    dues = {n: begin + dice.randrange(window) for n in mine}
    dues |= {n: begin + dice.randrange(window + 10_000) for n in (*beside, *mails)}
    rules = dict.fromkeys(mails, "mail")
    mark = world.mark()
    world.send(world.commands.remind(n, due, rules.get(n, "rem")) for n, due in sorted(dues.items()))
    if steady:
        _mixed(world, begin + window)
    else:
        time.sleep(max(0.0, (begin - now_ms()) / 1000))
    until_sent(max(dues.values()), world.worker)
    late: dict[str, list[float]] = {"crowd": [], "company": [], "channel": []}
    for name, at in sent_at(world.log(mark), dues).items():
        line = "channel" if name in rules else "company" if _is_other(world, name) else "crowd"
        late[line].append(at - dues[name])
    crowd = summary(late["crowd"])
    return [*crowd, max(late["company"]), max(late["channel"])]


def _is_other(world: World, order: int) -> bool:
    return world.load.place_of(order)[0] == OTHER


def _mixed(world: World, until: int) -> None:
    """New timers and moves, 200 a second, while messages come due."""
    far = now_ms() + 10 * DAY
    while now_ms() < until:
        fresh = world.fresh(10)
        world.send(world.commands.remind(n, far) for n in fresh)
        world.send(world.commands.remind(n, far + HOUR) for n in fresh)
        time.sleep(0.1)
