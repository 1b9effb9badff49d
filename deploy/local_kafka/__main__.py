"""``python -m deploy.local_kafka up|down|status``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deploy.local_kafka.jars import LocalKafkaError
from deploy.local_kafka.standing import default_folder, down, status, up


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: done (``status``: running); 1: it failed (``status``: not running)."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local_kafka", description=__doc__)
    parser.add_argument("action", choices=("up", "down", "status"))
    parser.add_argument("--folder", type=Path, default=default_folder(), help="data, logs and process ids")
    parser.add_argument("--nodes", type=int, choices=(1, 3), default=1)
    options = parser.parse_args(arguments)
    folder = options.folder.resolve()
    try:
        if options.action == "down":
            _say("stopped" if down(folder) else "nothing is running")
            return 0
        standing = up(folder, nodes=options.nodes) if options.action == "up" else status(folder)
    except LocalKafkaError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if standing is None:
        _say("nothing is running")
        return 1
    _say(f"Kafka runs at {standing.bootstrap}\nfiles: {standing.folder}\nprocesses: {standing.pids}")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
