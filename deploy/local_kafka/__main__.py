"""``python -m deploy.local_kafka up|down|status``, and ``start|stop|kill NUMBER`` of a node."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deploy.local_kafka.jars import LocalKafkaError
from deploy.local_kafka.standing import default_folder, described, down, kill, start, status, stop, up


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: done (``status``: running); 1: it failed (``status``: not running)."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local_kafka", description=__doc__)
    parser.add_argument("action", choices=("up", "down", "status", "start", "stop", "kill"))
    parser.add_argument("number", type=int, nargs="?", help="of the node to start, stop or kill")
    parser.add_argument("--folder", type=Path, default=default_folder(), help="data, logs and process ids")
    parser.add_argument("--nodes", type=int, choices=(1, 3), default=1)
    options = parser.parse_args(arguments)
    if (options.number is None) == (options.action in ("start", "stop", "kill")):
        parser.error("start, stop and kill need the number of a node; the others take none")
    try:
        return _do(options.action, options.folder.resolve(), options.nodes, options.number)
    except LocalKafkaError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _do(action: str, folder: Path, nodes: int, number: int) -> int:
    if action == "down":
        _say("stopped" if down(folder) else "nothing is running")
        return 0
    if action == "stop":
        stop(folder, number)
    elif action == "kill":
        kill(folder, number)
    elif action == "start":
        start(folder, number)
    standing = up(folder, nodes=nodes) if action == "up" else status(folder)
    if standing is None:
        _say("nothing is running")
        return int(action == "status")
    _say(described(standing))
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
