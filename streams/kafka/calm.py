"""The libraries' log lines during an outage or a rebalance, told once and in words.

Faust guards a rebalance with a "flight recorder": when it takes longer than the session time-out, some thirty
lines with the stack of a task that merely waits are logged. aiokafka says the same of every partition.
Neither is lost: the stack is there at level DEBUG, and a line that comes again after a while is shown again.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable

REPEAT_AFTER = 10.0
"""Seconds after which the same line is shown again."""
_REMEMBERED = 64
_RECORDER = "Flight Recorder-"
_SLOW = (
    "a rebalance takes longer than the session time-out: the brokers are slow or away, or a partition is "
    "still being left or restored"
)


class FlightRecorder(logging.Filter):
    """One line instead of mode's report of a slow step (``mode.utils.logging.flight_recorder``)."""

    def filter(self, record: logging.LogRecord) -> bool:
        # A service puts "[^-Name]: " before what it says, the stack's lines excepted.
        said = re.sub(r"^\[\S+\]: ", "", str(record.msg))
        if said == "Warning: Task timed out!":
            record.msg = _SLOW
            return True
        values = record.args if isinstance(record.args, tuple) else ()
        if not (
            said.startswith(("Please make sure it's hanging", "Stack for <", "No stack for <"))
            or (values and str(values[0]).startswith(_RECORDER))
        ):
            return True
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        return logging.getLogger(record.name).isEnabledFor(logging.DEBUG)


class Once(logging.Filter):
    """The same line of the same logger at most once in ``REPEAT_AFTER`` seconds."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._told: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now = self._monotonic()
        said = record.getMessage()
        told = self._told.get(said)
        if told is not None and now - told < REPEAT_AFTER:
            return False
        self._told.pop(said, None)  # to the end of the order
        self._told[said] = now
        if len(self._told) > _REMEMBERED:
            del self._told[next(iter(self._told))]
        return True


def calm_logs() -> None:
    """For a worker's process."""
    logging.getLogger("streams.kafka.app").addFilter(FlightRecorder())
    for name in ("aiokafka", "aiokafka.consumer.fetcher", "aiokafka.consumer.group_coordinator"):
        logging.getLogger(name).addFilter(Once())
