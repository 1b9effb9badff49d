"""Runs stories by seed, on all processors, and makes a short story of what fails.

python -m tests.simulation.run --seeds 2000            # make sim SEEDS=2000
python -m tests.simulation.run --seed 117              # one seed, shortened if it fails
python -m tests.simulation.run --seed 117 --keep 3,5,8 # only these items of its story
python -m tests.simulation.run --seed 0 --scene 'gate.Gate.until_owned#1' # one that leads to an await
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import re
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.simulation import awaits
from tests.simulation.checks import violations
from tests.simulation.items import Fault, Story
from tests.simulation.scenes import drawn, scene
from tests.simulation.story import story
from tests.simulation.world import Outcome, World

CHUNK = 20
TRIES = 25
"""Scenes for one await (``scenes``): nearly all are met in the first or second."""
_ROUGH = frozenset({"kill", "freeze", "broker"})
MOST_SHOWN = 5
ENOUGH = 1_000
"""Seeds in which every await must have been met by a death."""


@dataclass(frozen=True, slots=True)
class Result:
    seed: int
    scene: str
    """The await that it was to lead to; none: a day like any other."""
    violations: tuple[str, ...]
    hit: frozenset[str]
    """Awaits at which a worker died."""
    froze: frozenset[str]
    kills: int
    frozen: int
    taken: int
    records: int


def told(
    seed: int,
    *,
    focus: Sequence[str] = (),
    calm: bool = False,
    later: bool = False,
    ambush: bool = False,
    shuffled: bool = False,
    traits: Sequence[str] = (),
) -> Story:
    """``focus``: parts of source lines; workers die only at awaits in such lines. ``calm``: nobody dies or
    freezes and the brokers answer. ``later``: 36 days go by at the end. ``ambush``: messages queue when
    something is withdrawn. ``shuffled``: changes come late, or twice. ``traits``: a directed story with these
    (``scenes``) instead."""
    if traits:
        return drawn(seed, frozenset(traits))
    sites = awaits.sites()
    if lost := [part for part in focus if not any(part in line for line in sites.values())]:
        raise ValueError(f"no await in agents/ has a line with {lost}: look for what it says now")
    some = tuple(site for site, line in sites.items() if not focus or any(part in line for part in focus))
    one = story(seed, sites=some, ambush=ambush, shuffled=shuffled)
    if calm:
        one = one.only([item for item in one.items if not (isinstance(item, Fault) and item.what in _ROUGH)])
    return replace(one, setting=replace(one.setting, later=True)) if later else one


def play(one: Story) -> tuple[Outcome, list[str]]:
    """One run, and what it broke."""
    out = World(one).run()
    return out, violations(out)


def run_seed(seed: int, **how: Any) -> Result:
    """``how``: see ``told``."""
    return result_of(told(seed, **how))


def result_of(one: Story) -> Result:
    out, broken = play(one)
    taken = sum(len(provider.taken) for provider in out.providers.values())
    return Result(
        *(one.seed, one.scene, tuple(broken), frozenset(out.hit), frozenset(out.froze)),
        *(out.kills, out.frozen, taken, len(out.log)),
    )


def run_chunk(seeds: Sequence[int]) -> list[Result]:
    logging.disable(logging.CRITICAL)  # workers die in every run; what matters is judged
    gc.disable()  # it would find next to nothing until a run is over
    try:
        return [run_seed(seed) for seed in seeds]
    finally:
        gc.enable()
        gc.collect()


def play_scene(at: tuple[int, str]) -> Result:
    """The seed and the await that its story leads to."""
    seed, site = at
    logging.disable(logging.CRITICAL)
    gc.disable()
    try:
        return result_of(scene(seed, site))
    finally:
        gc.enable()


def pool_of_processes() -> ProcessPoolExecutor:
    """One for each processor, started anew: a fork of a process in which librdkafka or RocksDB have threads
    dies when it collects what they left behind."""
    return ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn"))


def pursue(pool: ProcessPoolExecutor, sites: Iterable[str]) -> tuple[list[Result], list[str]]:
    """Plays scenes for each of these awaits until somebody has died there; also gives those at which
    nobody did."""
    left = list(sites)
    results: list[Result] = []
    for seed in range(TRIES):
        if left:
            results += pool.map(play_scene, [(seed, site) for site in left])
            hit = frozenset().union(*(result.hit for result in results))
            left = [site for site in left if site not in hit]
    return results, left


def kind_of(violation: str) -> str:
    """What a story must keep when it is shortened: the promise that is broken, and how."""
    found = re.match(r"P\d [a-z0-9 ,]*[a-z]{3,}|\D{3,30}", violation)
    return found.group() if found is not None else violation[:20]


def shorten(one: Story, broken: Sequence[str]) -> Story:
    """Drops items while the same promise is still broken: halves first, then single ones."""
    wanted = {kind_of(text) for text in broken}

    def still(items: Sequence[object]) -> bool:
        return any(kind_of(text) in wanted for text in play(one.only(items))[1])  # type: ignore[arg-type]  # items

    items = list(one.items)
    size = max(1, len(items) // 2)
    while True:
        start = 0
        while start < len(items):
            fewer = items[:start] + items[start + size :]
            if still(fewer):
                items = fewer
            else:
                start += size
        if size == 1:
            return one.only(items)
        size = max(1, size // 2)


def command(result: Result) -> str:
    """Tells the story, and shortens it."""
    where = f" --scene '{result.scene}'" if result.scene else ""
    return f"python -m tests.simulation.run --seed {result.seed}{where}"


def show(seed: int, console: Console, *, site: str = "", keep: Sequence[int] | None = None) -> bool:
    """Plays one seed (of ``site``'s scenes, if given) and tells its story, shortened if it fails; True: all
    promises were kept."""
    whole = scene(seed, site) if site else told(seed)
    one = whole if keep is None else whole.only([whole.items[number] for number in keep])
    _, broken = play(one)
    if broken and keep is None:
        one = shorten(one, broken)
        _, broken = play(one)
    console.print(f"seed {seed}: {one.setting}", highlight=False, markup=False)
    numbers = [whole.items.index(item) for item in one.items]
    if broken:
        for rule in (item for item in one.reference if item.topic == "rules"):
            console.print(f"  {rule}", highlight=False, markup=False, soft_wrap=True)
        for number, item in zip(numbers, one.items, strict=True):
            console.print(f"{number:4} {item}", highlight=False, markup=False, soft_wrap=True)
        for text in broken:
            console.print(f"BROKEN {text}", style="red", highlight=False, markup=False, soft_wrap=True)
        kept = ",".join(map(str, numbers))
        again = f"python -m tests.simulation.run --seed {seed}" + (f" --scene '{site}'" if site else "")
        console.print(f"{again} --keep {kept}", markup=False, soft_wrap=True)
    else:
        console.print("all promises kept")
    return not broken


def sweep(first: int, count: int, console: Console) -> tuple[list[Result], list[str]]:
    """The results, and the awaits at which nobody died although there were enough seeds, and scenes."""
    chunks = [range(seed, min(seed + CHUNK, first + count)) for seed in range(first, first + count, CHUNK)]
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    results: list[Result] = []
    with pool_of_processes() as pool, Progress(*columns, console=console) as progress:
        task = progress.add_task("seeds", total=count)
        for chunk in pool.map(run_chunk, chunks):
            results += chunk
            failed = sum(bool(result.violations) for result in results)
            progress.update(task, completed=len(results), description=f"seeds, {failed} failed")
        hit = frozenset().union(*(result.hit for result in results))
        if count < ENOUGH:
            return results, []
        more, missed = pursue(pool, awaits.sites().keys() - hit)
    return results + more, missed


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests.simulation.run", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="only this one, told as a story")
    parser.add_argument("--scene", default="", help="the await that the seed's story is to lead to")
    parser.add_argument("--keep", help="numbers of the items that the story keeps: 3,5,8")
    options = parser.parse_args(arguments)
    console = Console()
    logging.disable(logging.CRITICAL)
    if options.seed is not None:
        keep = [int(number) for number in options.keep.split(",") if number] if options.keep else None
        return 0 if show(options.seed, console, site=options.scene, keep=keep) else 1
    results, missed = sweep(options.first, options.seeds, console)
    failed = [result for result in results if result.violations]
    hit = frozenset().union(*(result.hit for result in results))
    console.print(
        f"{len(results)} stories, {len(failed)} failed; {sum(r.kills for r in results)} kills, "
        f"at {len(hit)} of {len(awaits.sites())} awaits; {sum(r.frozen for r in results)} workers frozen; "
        f"{sum(r.taken for r in results)} messages taken by the providers, "
        f"{sum(r.records for r in results)} log records"
    )
    if missed:
        console.print(f"nobody died at: {', '.join(missed)}", style="red", markup=False)
    if failed:
        kinds: dict[str, list[str]] = {}
        for result in failed:
            for kind in dict.fromkeys(map(kind_of, result.violations)):
                kinds.setdefault(kind, []).append(command(result))
        for kind, seeds in sorted(kinds.items(), key=lambda item: -len(item[1])):
            console.print(f"{len(seeds):4} {kind}: {seeds[:MOST_SHOWN]}", markup=False)
        show(failed[0].seed, console, site=failed[0].scene)
    return 1 if failed or missed else 0


if __name__ == "__main__":
    sys.exit(main())
