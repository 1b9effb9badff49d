"""What a report of failed delivery says about the address: hard (it does not exist, nothing goes there any
more) or soft (this message did not arrive, the next one may).

A hard bounce blocks an address until somebody lifts it, so everything that may lie at us, at the text or at
the moment is soft: full mailboxes, filters, block lists, routing. Sources: RFC 3463 and IANA's registry of
enhanced status codes; Exchange's and Postfix's own habits where a row says so.
"""

from __future__ import annotations

import re
from enum import Enum

from schemas.records import EventStatus

HARD, SOFT = EventStatus.HARD, EventStatus.SOFT


class Judge(Enum):
    """Where the code alone does not say it."""

    BY_WORDS = "by words"
    """Hard if the diagnostic text says that there is no such user, else soft."""


ROWS: tuple[tuple[str, EventStatus | Judge], ...] = (
    ("4.", SOFT),  # tried for days, then given up: the server, not the address
    ("5.0.", Judge.BY_WORDS),  # Exim says 5.0.0 to everything
    ("5.1.0", Judge.BY_WORDS),
    ("5.1.7", SOFT),  # the sender's address
    ("5.1.8", SOFT),  # the sender's domain
    ("5.1.9", SOFT),  # relayed to a system that does not report
    ("5.1.", HARD),  # the address: unknown, malformed, moved, a domain without mail
    ("5.2.1", HARD),  # mailbox disabled
    ("5.2.", SOFT),  # full, message too long, list
    ("5.4.1", Judge.BY_WORDS),  # "no answer from host"; Exchange: no such recipient
    ("5.4.4", HARD),  # the domain does not exist (Postfix)
    ("5.4.310", HARD),  # the domain does not exist (Exchange)
    ("5.5.0", Judge.BY_WORDS),
    ("5.", SOFT),  # the system, the route, the protocol, the text, a policy
)
"""The first that matches: a whole code, or the beginning of one that ends with a dot."""

_NO_SUCH_USER = re.compile(
    r"no such (?:user|recipient|mailbox|address|person)|(?:user|recipient|mailbox|address|account)s? (?:is )?"
    r"(?:unknown|not found|(?:does not|doesn'?t) exist|not exist)|(?:unknown|invalid|non-?existent) "
    r"(?:local |virtual )?(?:user|recipient|mailbox|address|account)|unrouteable address|does not have an? "
    r"[\w.-]+ account|recipient address rejected: access denied|recipient not found|user not local",
    re.IGNORECASE,
)
_CODE = re.compile(r"(?<![\d.])[45]\.\d{1,3}\.\d{1,3}(?![\d.])")


def status_code(status: str, diagnostic: str) -> str:
    """The most telling code of RFC 3463: the report's own unless it says nothing (``5.0.0``) and the
    receiving server's words have a better one. Empty: none at all."""
    own = _CODE.search(status)
    if own is None or own[0].endswith(".0.0"):
        told = _CODE.search(diagnostic)
        if told is not None:
            return told[0]
    return own[0] if own is not None else ""


def judge(code: str, diagnostic: str) -> EventStatus:
    """HARD or SOFT for a failure. ``code``: as of ``status_code``; without one the words decide."""
    verdict = next((row[1] for row in ROWS if _fits(code, row[0])), Judge.BY_WORDS)
    if isinstance(verdict, Judge):
        return HARD if _NO_SUCH_USER.search(diagnostic) else SOFT
    return verdict


def _fits(code: str, row: str) -> bool:
    return code.startswith(row) if row.endswith(".") else code == row
