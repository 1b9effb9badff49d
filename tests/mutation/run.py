"""Do the tests of the domain notice mistakes? ``make mutants`` puts one after the other into a copy.

Each mutant (``tests.mutation.mutants``) faces its module's own test file, and what survives that the rest
of the domain's tests. Exit code 1 if more than one in ten survives, 2 if the tests fail without a mistake.

    python -m tests.mutation.run --module hours --sample 50 --seed 7
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.mutation.mutants import Mutant, mutants

ROOT = Path(__file__).parents[2]
DOMAIN = Path("streams/domain")
TESTS = Path("tests/streams/domain")
LIMIT = 0.10

Trials = tuple[tuple[tuple[str, ...], float], ...]
"""Runs of pytest, one after the other: its arguments, and the seconds of processor time it may take."""


@dataclass(frozen=True, slots=True)
class Job:
    """One mutant of one module, and the test runs it faces."""

    module: Path
    mutant: Mutant
    trials: Trials


class Copy:
    """A copy of the project, and a process in it that runs its tests (``tests.mutation.worker``)."""

    def __init__(self, folder: Path) -> None:
        ignore = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "demo-out", "*.egg-info")
        shutil.copytree(ROOT, folder, ignore=ignore)
        self.folder = folder
        # No bytecode: a module changed twice within a second, at equal length, would come from the cache.
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(folder)}
        self._worker = subprocess.Popen(
            [sys.executable, "-m", "tests.mutation.worker"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def passes(self, tests: tuple[str, ...], limit: float) -> bool:
        """Whether pytest passes here within ``limit`` seconds of processor time."""
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        self._worker.stdin.write(json.dumps([tests, limit]) + "\n")
        self._worker.stdin.flush()
        answer = self._worker.stdout.readline()
        if not answer:
            raise RuntimeError("the process that runs the tests has died")
        return int(answer) == 0

    def log(self) -> str:
        """What the last run of pytest printed."""
        return (self.folder / "pytest.log").read_text()

    def close(self) -> None:
        self._worker.communicate()  # closes its input, at which it ends


def survives(job: Job, copies: queue.Queue[Copy]) -> bool:
    """Puts the mistake into a free copy, runs the tests, and takes it out again."""
    copy = copies.get()
    target = copy.folder / job.module
    original = target.read_text()
    try:
        target.write_text(job.mutant.source)
        return all(copy.passes(tests, limit) for tests, limit in job.trials)
    finally:
        target.write_text(original)
        copies.put(copy)


def trials_of(module: Path, copy: Copy, *, own_only: bool) -> Trials | None:
    """The test runs that a module's mutants face, timed without a mistake; None: the tests fail."""
    own = TESTS / f"test_{module.stem}.py"
    has_own = (copy.folder / own).exists()
    runs: list[tuple[str, ...]] = [(str(own),)] if has_own else []
    if not (has_own and own_only):
        runs.append((str(TESTS), f"--ignore={own}"))
    timed = []
    for tests in runs:
        start = time.monotonic()
        if not copy.passes(tests, 1800):
            sys.stderr.write(copy.log()[-4000:])
            return None
        timed.append((tests, 10 + 3 * (time.monotonic() - start)))
    return tuple(timed)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation.run", description=__doc__)
    parser.add_argument("--module", action="append", help="a module of streams/domain; again for more")
    parser.add_argument("--sample", type=int, help="so many mutants, chosen by the seed (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="test runs at the same time")
    parser.add_argument("--own-tests", action="store_true", help="only the module's own test file, if any")
    options = parser.parse_args()

    names = options.module or sorted(path.stem for path in (ROOT / DOMAIN).glob("*.py"))
    console = Console()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, ExitStack() as stack:
        copies: queue.Queue[Copy] = queue.Queue()
        for number in range(options.jobs):
            copy = Copy(Path(folder) / str(number))
            stack.callback(copy.close)
            copies.put(copy)
        chosen = [
            (DOMAIN / f"{name}.py", mutant)
            for name in names
            for mutant in mutants((ROOT / DOMAIN / f"{name}.py").read_text())
        ]
        if options.sample is not None and options.sample < len(chosen):
            chosen = random.Random(options.seed).sample(chosen, options.sample)
        with console.status("Running the tests without a mistake"):
            copy = copies.get()
            trials = {}
            for module in sorted({module for module, _ in chosen}):
                timed = trials_of(module, copy, own_only=options.own_tests)
                if timed is None:
                    console.print(f"The tests for {module} fail without a mistake: nothing to learn.")
                    return 2
                trials[module] = timed
            copies.put(copy)
        jobs = [Job(module, mutant, trials[module]) for module, mutant in chosen]
        alive = _run(jobs, copies, options.jobs, console)
    console.print(f"{len(jobs) - len(alive)} of {len(jobs)} mistakes were noticed, {len(alive)} survived.")
    return int(len(alive) > LIMIT * len(jobs))


def _run(jobs: list[Job], copies: queue.Queue[Copy], workers: int, console: Console) -> list[Job]:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    alive: list[Job] = []
    with Progress(*columns, console=console) as progress, ThreadPoolExecutor(workers) as pool:
        task = progress.add_task("mutants, 0 alive", total=len(jobs))
        running = {pool.submit(survives, job, copies): job for job in jobs}
        for done in as_completed(running):
            if done.result():
                job = running[done]
                alive.append(job)
                progress.console.print(
                    f"survived  {job.module}:{job.mutant.line}  {job.mutant.was}  ->  {job.mutant.became}",
                    markup=False,
                    highlight=False,
                    soft_wrap=True,
                )
            progress.update(task, advance=1, description=f"mutants, {len(alive)} alive")
    return alive


if __name__ == "__main__":
    sys.exit(main())
