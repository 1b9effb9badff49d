"""What a worker writes to its log: no customer's address, whatever an error quotes.

Our own lines name partitions, offsets and ids. But an error may come from anywhere (a library, a provider,
the system) and quote what it was given; so every line, tracebacks included, goes through ``masked``.
"""

from __future__ import annotations

import faulthandler
import logging
import re
import sys
from types import TracebackType

_ADDRESS = re.compile(r"(?<![^\s<>\"'(),;\[\]{}=@])[^\s<>\"'(),;\[\]{}=@]++@[^\s<>\"'(),;\[\]{}=]+")
"""Also the name and the password in a web address: ``https://name:password@host``. From the beginning of a
word, and possessive: a long line costs no more than its length."""
_NUMBER = re.compile(r"(?:\+|%2B)\d(?:[\s().-]?\d){6,14}")
"""E.164 as we and the providers write it; without its plus it can't be told from an offset."""

QUIET = ("aiokafka", "faust", "mode", "mode.worker")
"""Libraries that would write whole records and log-in messages at DEBUG: never below WARNING."""


def masked(text: str) -> str:
    """``text`` with e-mail addresses and telephone numbers replaced by an ellipsis."""
    return _NUMBER.sub("…", _ADDRESS.sub("…", text))


class MaskingFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))


def set_up(level: str) -> None:
    """Log lines of this process go to its standard error, and so does what ends it."""
    handler = logging.StreamHandler()
    handler.setFormatter(MaskingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    sys.excepthook = _ended
    if not faulthandler.is_enabled():
        faulthandler.enable(file=2)  # a crash in one of the libraries: in which threads, and where


def _ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger("carillon").critical("ended by an error", exc_info=(kind, error, trace))
