"""Runs pytest in a copy of the project again and again, each time in a fork that has already imported what
no mistake is put into: pytest and its plugins, hypothesis, the records, the slow calendar. Most mutants die
at the first test, so that starting up would be nearly all of the time.

Standard input: a line of JSON for each run, ``[[argument, ...], seconds]``; seconds of processor time.
Standard output: a line with pytest's exit code for each, ``-1`` if it needed more.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from tests.support.wall_clock import all_changes, walk

FLAGS = ["-x", "-q", "--tb=short", "-p", "no:cacheprovider", "-p", "no:cov", "-p", "no:faulthandler"]


def run(arguments: list[str], seconds: float, log: Path) -> int:
    """Pytest's exit code, or -1 if it had to be killed. What it printed is left in ``log``."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        # Its default action ends the process: a loop without end is a mistake noticed. Processor time, so
        # that other work on the machine does not look like one (and pytest-timeout has the other timer).
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
        code = int(pytest.main([*FLAGS, *arguments]))
        sys.stdout.flush()
        os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else -1


def main() -> None:
    # Stop at the first counterexample, as nobody reads a smaller one; the same examples for every mutant.
    settings.register_profile(
        "mutants", phases=[Phase.explicit, Phase.generate], database=None, derandomize=True, deadline=None
    )
    settings.load_profile("mutants")
    for zone, change in all_changes():
        walk(zone, change)
    assert not any(name.startswith("streams.domain.") for name in sys.modules)
    for line in sys.stdin:
        arguments, seconds = json.loads(line)
        sys.stdout.write(f"{run(arguments, seconds, Path('pytest.log'))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
