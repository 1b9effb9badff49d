"""Every row of the outcome tables, written out a second time by category as the providers document them."""

from __future__ import annotations

import pytest

from senders.outcomes import (
    HTTP_CLASSES,
    HTTP_STATUSES,
    MAILBOX_ROWS,
    SMTP_ROWS,
    TWILIO_CODES,
    MailboxTrouble,
    Phase,
    enhanced_code,
    mailbox_trouble,
    smtp_verdict,
    twilio_verdict,
)
from streams.domain.messages import Outcome, Rejected, RetryAt, Unknown
from streams.domain.reasons import Reason

GONE = Rejected("p", Reason.INVALID_RECIPIENT, "d", suppress=True)
BAD = Rejected("p", Reason.INVALID_RECIPIENT, "d")
OPTED_OUT = Rejected("p", Reason.OPTED_OUT, "d", suppress=True)
SENDER = Rejected("p", Reason.NO_SENDER, "d")
CONTENT = Rejected("p", Reason.CONTENT, "d")
REFUSED = Rejected("p", Reason.REFUSED, "d")
THROTTLED = RetryAt("p", Reason.THROTTLED, "d", after=5, pause_channel=True)
ACCOUNT = RetryAt("p", Reason.ACCOUNT, "d", after=5, pause_channel=True)
BUSY = RetryAt("p", Reason.PROVIDER_BUSY, "d", after=5)
CLOSING = RetryAt("p", Reason.PROVIDER_BUSY, "d", after=5, pause_channel=True)
SILENT = Unknown("p", Reason.NO_ANSWER, "d")

TWILIO: list[tuple[Outcome, set[int]]] = [
    (GONE, {21211, 21214, 21217, 21401, 21614, 21635, 30005, 30006}),
    (OPTED_OUT, {21610}),
    (REFUSED, {21408, 21612, 30003, 30008}),
    (SENDER, {21212, 21603, 21606, 21659, 21660, 21701, 21703, 21705, 30034}),
    (CONTENT, {21602, 21617, 21619, 30004, 30007}),
    (THROTTLED, {14107, 20429, 21611, 30001}),
    (ACCOUNT, {21609, 10001, 20003, 20005, 20006, 20008, 20404, 30002, 63038}),
]


@pytest.mark.parametrize(
    ("outcome", "code"), [(outcome, code) for outcome, codes in TWILIO for code in codes]
)
def test_a_twilio_code_decides_within_4xx(outcome: Outcome, code: int) -> None:
    assert twilio_verdict(400, code).outcome("p", "d", 5) == outcome
    assert twilio_verdict(500, code).outcome("p", "d", 5) == SILENT, "after a 5xx nothing is known"


def test_all_twilio_codes_are_tested() -> None:
    assert {code for _, codes in TWILIO for code in codes} == set(TWILIO_CODES)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (401, ACCOUNT),
        (403, ACCOUNT),
        (404, ACCOUNT),
        (408, SILENT),
        (429, THROTTLED),
        (302, ACCOUNT),
        (400, REFUSED),
        (422, REFUSED),
        (500, SILENT),
        (503, SILENT),
        (599, SILENT),
        (100, SILENT),
        (999, SILENT),
    ],
)
@pytest.mark.parametrize("code", [None, 99999])
def test_an_unknown_code_leaves_it_to_the_status(status: int, outcome: Outcome, code: int | None) -> None:
    assert twilio_verdict(status, code).outcome("p", "d", 5) == outcome
    assert set(HTTP_STATUSES) == {401, 403, 404, 408, 429}
    assert set(HTTP_CLASSES) == {3, 4, 5}


SESSION = (Phase.CONNECT, Phase.HELLO, Phase.AUTH)
ENVELOPE = (Phase.MAIL, Phase.RCPT)
TEXT = (Phase.DATA, Phase.FINAL)
ANY = tuple(Phase)

# In the order of SMTP_ROWS: at least one example of each.
SMTP: list[tuple[int, tuple[Phase, ...], str, Outcome]] = [
    (0, ANY, "421 4.7.0 Try again later", THROTTLED),
    (0, ANY, "421 4.7.28 Rate limit", THROTTLED),
    (1, ANY, "421 Service closing", CLOSING),
    (1, ANY, "421 4.3.2 Shutting down", CLOSING),
    (2, ANY, "450 4.2.1 Mailbox busy", BUSY),
    (2, ANY, "451 Greylisted", BUSY),
    (2, ANY, "452 4.3.1 No space", BUSY),
    (2, ANY, "454 4.7.0 Temporary", BUSY),
    (3, ANY, "530 5.7.0 Authentication required", ACCOUNT),
    (3, ANY, "534 5.7.9 App password required", ACCOUNT),
    (3, ANY, "535 5.7.8 Bad credentials", ACCOUNT),
    (3, ANY, "538 Encryption required", ACCOUNT),
    (4, ANY, "550 5.4.5 Daily sending quota exceeded", ACCOUNT),
    (4, ANY, "550 5.7.8 Bad credentials", ACCOUNT),
    (4, ANY, "550 5.7.9 Bad mechanism", ACCOUNT),
    (5, SESSION, "554 No service for you", ACCOUNT),
    (5, SESSION, "550 5.1.1 Whoever", ACCOUNT),
    (6, (*ENVELOPE, *TEXT), "501 5.1.7 Bad sender syntax", SENDER),
    (6, (*ENVELOPE, *TEXT), "550 5.1.8 Bad sender domain", SENDER),
    (7, (Phase.MAIL,), "550 5.1.1 Unknown sender", SENDER),
    (7, (Phase.MAIL,), "553 5.7.1 Not your address", SENDER),
    (8, (Phase.MAIL,), "550 No", SENDER),
    (8, (Phase.MAIL,), "553 No", SENDER),
    (9, (Phase.RCPT, *TEXT), "550 5.1.1 No such user", GONE),
    (9, (Phase.RCPT, *TEXT), "550 5.1.10 Null MX", GONE),
    (9, (Phase.RCPT, *TEXT), "553 5.1.2 Bad domain", GONE),
    (10, (Phase.RCPT,), "550 5.2.1 Disabled", GONE),
    (11, (Phase.RCPT, *TEXT), "552 5.2.2 Over quota", REFUSED),
    (12, (*ENVELOPE, *TEXT), "552 5.3.4 Too big", CONTENT),
    (12, (*ENVELOPE, *TEXT), "552 5.2.3 Too long", CONTENT),
    (12, (*ENVELOPE, *TEXT), "554 5.6.0 Not convertible", CONTENT),
    (13, TEXT, "550 5.7.1 Looks like spam", CONTENT),
    (13, TEXT, "554 5.7.26 Unauthenticated mail", CONTENT),
    (14, TEXT, "552 Too much", CONTENT),
    (14, TEXT, "554 Transaction failed", CONTENT),
    (15, (Phase.RCPT,), "554 5.7.1 Relay access denied", REFUSED),
    (16, (Phase.RCPT,), "550 Unavailable", BAD),
    (16, (Phase.RCPT,), "551 Not local", BAD),
    (16, (Phase.RCPT,), "553 Not allowed", BAD),
    (17, (*ENVELOPE, *TEXT), "555 5.5.4 Parameters", REFUSED),
    (17, TEXT, "550 Something new", REFUSED),
    (17, (*ENVELOPE, *TEXT), "502 What?", REFUSED),
]


@pytest.mark.parametrize(("phases", "reply", "outcome"), [row[1:] for row in SMTP])
def test_an_smtp_reply_decides_by_phase(phases: tuple[Phase, ...], reply: str, outcome: Outcome) -> None:
    code, _, text = reply.partition(" ")
    for phase in phases:
        assert smtp_verdict(phase, int(code), text).outcome("p", "d", 5) == outcome, phase


def test_all_smtp_rows_are_tested() -> None:
    assert {row[0] for row in SMTP} == set(range(len(SMTP_ROWS)))


@pytest.mark.parametrize("row", range(len(SMTP_ROWS)))
def test_no_row_is_out_of_reach(row: int) -> None:
    """Each row is the one that decides one of its examples: without it the answer is another, or the row
    is a narrower form of the default and says so by having the same verdict."""
    examples = [example for example in SMTP if example[0] == row]
    for _, phases, reply, _ in examples:
        code, _, text = reply.partition(" ")
        earlier = [
            one
            for one in SMTP_ROWS[:row]
            if phases[0] in one.phases
            and code.startswith(one.codes)
            and (
                not one.enhanced
                or (one.enhanced == ("",) and not enhanced_code(text))
                or (one.enhanced != ("",) and enhanced_code(text).startswith(one.enhanced))
            )
        ]
        if not earlier:
            return
    pytest.fail(f"row {row} is hidden by those before it")


@pytest.mark.parametrize("phase", list(Phase))
def test_nonsense_is_unknown_only_after_the_final_dot(phase: Phase) -> None:
    outcome = smtp_verdict(phase, 354, "go on").outcome("p", "d", 5)
    assert outcome == (SILENT if phase is Phase.FINAL else BUSY)


@pytest.mark.parametrize(
    ("text", "code"),
    [("5.1.1 No", "5.1.1"), ("5.1.10", "5.1.10"), ("no 5.1.1", ""), ("5.1", ""), ("5.1.1x", ""), ("", "")],
)
def test_enhanced_code(text: str, code: str) -> None:
    assert enhanced_code(text) == code


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize(
    ("code", "text", "trouble"),
    [
        (550, "5.4.5 Daily user sending limit exceeded", MailboxTrouble.FULL),
        (535, "5.7.8 Username and Password not accepted", MailboxTrouble.NO_ACCESS),
        (534, "5.7.9 Application-specific password required", MailboxTrouble.NO_ACCESS),
        (534, "5.7.14 Please log in via your web browser", MailboxTrouble.NO_ACCESS),
        (530, "5.7.0 Authentication Required", MailboxTrouble.NO_ACCESS),
        (538, "5.7.11 Encryption required", MailboxTrouble.NO_ACCESS),
        (421, "4.7.0 Try again later, closing connection", MailboxTrouble.TOO_FAST),
        (450, "4.2.1 The user is receiving mail at a rate that prevents", None),
        (454, "4.7.0 Too many login attempts", MailboxTrouble.TOO_FAST),
        (421, "Service not available", None),
        (451, "4.3.0 Mail server temporarily rejected message", None),
    ],
)
def test_what_a_reply_says_of_a_mailbox_in_any_phase(
    phase: Phase, code: int, text: str, trouble: MailboxTrouble | None
) -> None:
    assert mailbox_trouble(phase, code, text) is trouble


@pytest.mark.parametrize(
    ("phase", "code", "text", "trouble"),
    [
        (Phase.AUTH, 504, "5.5.4 Unrecognized authentication type", MailboxTrouble.NO_ACCESS),
        (Phase.AUTH, 500, "what", MailboxTrouble.NO_ACCESS),
        (Phase.AUTH, 454, "Temporary", None),
        (Phase.MAIL, 553, "5.1.7 The sender address is not valid", MailboxTrouble.NO_ACCESS),
        (Phase.MAIL, 550, "No", MailboxTrouble.NO_ACCESS),
        (Phase.RCPT, 550, "5.1.1 no such user", None),
        (Phase.RCPT, 553, "5.1.3 not a valid address", None),
        (Phase.FINAL, 550, "5.7.1 looks like spam", None),
        (Phase.CONNECT, 554, "no", None),
    ],
)
def test_what_a_reply_says_of_a_mailbox_in_one_phase(
    phase: Phase, code: int, text: str, trouble: MailboxTrouble | None
) -> None:
    assert mailbox_trouble(phase, code, text) is trouble


def test_every_row_about_mailboxes_decides_something() -> None:
    assert {trouble for *_, trouble in MAILBOX_ROWS} == set(MailboxTrouble)
