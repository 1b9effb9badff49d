"""Hard or soft: every row of the table, and what receiving servers really say."""

from __future__ import annotations

import pytest

from schemas.records import EventStatus
from streams.domain.bounces import ROWS, Judge, judge, status_code

HARD, SOFT = EventStatus.HARD, EventStatus.SOFT
NOBODY = "550 5.1.1 No such user here"


@pytest.mark.parametrize(("row", "verdict"), ROWS, ids=[row for row, _ in ROWS])
def test_every_row_decides(row: str, verdict: EventStatus | Judge) -> None:
    codes = [code for code in _CODES if code.startswith(row) or code == row]
    first = [code for code in codes if next(r for r, _ in ROWS if _covers(r, code)) == row]
    assert first, f"nothing ever comes to the row {row}"
    for code in first:
        if isinstance(verdict, Judge):
            assert (judge(code, "said: no such user"), judge(code, "policy")) == (HARD, SOFT)
        else:
            assert judge(code, "said: no such user") == judge(code, "policy") == verdict


_CODES = [f"{a}.{b}.{c}" for a in (4, 5) for b in range(8) for c in (*range(12), 310)]


def _covers(row: str, code: str) -> bool:
    return code.startswith(row) if row.endswith(".") else row == code


@pytest.mark.parametrize(
    ("status", "diagnostic", "code", "verdict"),
    [
        ("5.1.1", "smtp; 550 5.1.1 <x@y.example>: Recipient address rejected: User unknown", "5.1.1", HARD),
        ("5.2.2", "smtp; 552 5.2.2 The email account is over quota; user not found", "5.2.2", SOFT),
        ("4.2.2", "smtp; 452 4.2.2 The email account is over quota", "4.2.2", SOFT),
        ("5.7.1", "smtp; 554 5.7.1 Service unavailable; blocked using zen.example", "5.7.1", SOFT),
        ("5.0.0", "smtp; 550-5.1.1 The email account that you tried to reach does not exist", "5.1.1", HARD),
        ("5.0.0", "smtp; 550 No Such User Here", "5.0.0", HARD),
        ("5.0.0", "Unrouteable address", "5.0.0", HARD),
        ("5.0.0", "smtp; 550 rejected by our spam filter", "5.0.0", SOFT),
        ("5.0.0", "smtp; 452 4.2.2 mailbox full", "4.2.2", SOFT),
        ("", "smtp; 550 5.4.1 Recipient address rejected: Access denied", "5.4.1", HARD),
        ("5.4.1", "no answer from host", "5.4.1", SOFT),
        ("5.4.310", "DNS domain y.example does not exist", "5.4.310", HARD),
        ("5.1.10", "smtp; 550 5.1.10 RESOLVER.ADR.RecipientNotFound", "5.1.10", HARD),
        ("", "550 user unknown", "", HARD),
        ("", "", "", SOFT),
        ("gibberish", "mail from 10.5.1.1 refused", "", SOFT),
        ("5.1.1 (bad destination)", "", "5.1.1", HARD),
    ],
)
def test_what_servers_say(status: str, diagnostic: str, code: str, verdict: EventStatus) -> None:
    found = status_code(status, diagnostic)
    assert found == code
    assert judge(found, diagnostic) is verdict


def test_the_report_s_own_code_counts_if_it_says_anything() -> None:
    assert status_code("5.7.1", NOBODY) == "5.7.1"
    assert status_code("5.0.0", NOBODY) == "5.1.1"
    assert status_code("5.0.0", "what?") == "5.0.0"
