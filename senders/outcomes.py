"""What a provider's answer means, as data: a table for each provider with a default row at its end.

Sources: https://www.twilio.com/docs/api/errors, RFC 5321 (reply codes), RFC 3463 (enhanced codes) and
Gmail's list (https://support.google.com/a/answer/3726730). A lost connection or a missing answer is not
here: the sender knows how far it had come.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum

from streams.domain.messages import Outcome, Rejected, RetryAt, Unknown
from streams.domain.reasons import Reason


class Kind(Enum):
    REJECT = "reject"
    """Never."""
    RETRY = "retry"
    """Not now; known not to have been accepted."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    kind: Kind
    reason: Reason
    suppress: bool = False
    pause: bool = False

    def outcome(self, provider: str, detail: str, after: int = 0) -> Outcome:
        """``after``: the provider's own wish, in milliseconds."""
        if self.kind is Kind.REJECT:
            return Rejected(provider, self.reason, detail, suppress=self.suppress)
        if self.kind is Kind.RETRY:
            return RetryAt(provider, self.reason, detail, after=after, pause_channel=self.pause)
        return Unknown(provider, self.reason, detail)


_GONE = Verdict(Kind.REJECT, Reason.INVALID_RECIPIENT, suppress=True)
_BAD = Verdict(Kind.REJECT, Reason.INVALID_RECIPIENT)
_OPTED_OUT = Verdict(Kind.REJECT, Reason.OPTED_OUT, suppress=True)
_SENDER = Verdict(Kind.REJECT, Reason.NO_SENDER)
_CONTENT = Verdict(Kind.REJECT, Reason.CONTENT)
_REFUSED = Verdict(Kind.REJECT, Reason.REFUSED)
_THROTTLED = Verdict(Kind.RETRY, Reason.THROTTLED, pause=True)
_ACCOUNT = Verdict(Kind.RETRY, Reason.ACCOUNT, pause=True)
_BUSY = Verdict(Kind.RETRY, Reason.PROVIDER_BUSY)
_CLOSING = Verdict(Kind.RETRY, Reason.PROVIDER_BUSY, pause=True)
_SILENT = Verdict(Kind.UNKNOWN, Reason.NO_ANSWER)

NAMED_VERDICTS: Mapping[str, Verdict] = {
    "invalid_recipient": _GONE,
    "not_reachable": _BAD,
    "opted_out": _OPTED_OUT,
    "no_sender": _SENDER,
    "content": _CONTENT,
    "refused": _REFUSED,
    "throttled": _THROTTLED,
    "account": _ACCOUNT,
    "busy": _BUSY,
    "unknown": _SILENT,
}
"""What the description of a provider may call an outcome."""

# --- Twilio ------------------------------------------------------------------------------------------

TWILIO_CODES: Mapping[int, Verdict] = {
    # the address
    21211: _GONE,  # invalid "To"
    21214: _GONE,  # "To" can't be reached
    21217: _GONE,  # not a phone number
    21401: _GONE,  # not a phone number
    21614: _GONE,  # not a mobile number
    21635: _GONE,  # a landline
    30005: _GONE,  # unknown destination handset
    30006: _GONE,  # landline or unreachable carrier
    21610: _OPTED_OUT,  # STOP was received from this number
    # this pair of sender and recipient, or this country: the address may be fine
    21408: _REFUSED,  # no permission to send to this region
    21612: _REFUSED,  # not reachable from this sender
    30003: _REFUSED,  # handset unreachable (switched off)
    30008: _REFUSED,  # unknown error
    # the sender
    21212: _SENDER,  # invalid "From"
    21603: _SENDER,  # "From" missing
    21606: _SENDER,  # "From" is not ours, or can't send SMS
    21659: _SENDER,  # "From" is not a Twilio number
    21660: _SENDER,  # "From" belongs to another account
    21701: _SENDER,  # the messaging service doesn't exist
    21703: _SENDER,  # the messaging service has no numbers
    21705: _SENDER,  # the messaging service is invalid
    30034: _SENDER,  # number not registered for business messages
    # the text
    21602: _CONTENT,  # no body
    21617: _CONTENT,  # body longer than 1,600 characters
    21619: _CONTENT,  # neither body nor media
    30004: _CONTENT,  # blocked
    30007: _CONTENT,  # filtered by the carrier
    # pace
    14107: _THROTTLED,  # rate limit of the account's messages
    20429: _THROTTLED,  # too many requests
    21611: _THROTTLED,  # the sender's queue is full
    30001: _THROTTLED,  # queue overflow
    # the account
    10001: _ACCOUNT,  # not active
    20003: _ACCOUNT,  # wrong token
    20005: _ACCOUNT,  # not active
    20006: _ACCOUNT,  # access denied
    20008: _ACCOUNT,  # test credentials
    20404: _ACCOUNT,  # no such account
    30002: _ACCOUNT,  # suspended
    63038: _ACCOUNT,  # the account's daily limit
    21609: _ACCOUNT,  # the address for receipts won't do: our public_url, and so every message's
}
"""Codes of an HTTP 4xx answer, and of a receipt's ``ErrorCode`` (30xxx)."""

HTTP_STATUSES: Mapping[int, Verdict] = {
    401: _ACCOUNT,
    403: _ACCOUNT,
    404: _ACCOUNT,
    408: _SILENT,  # a gateway gave up waiting; for which side is not said
    429: _THROTTLED,
}
"""Where the code is not in the table."""

HTTP_CLASSES: Mapping[int, Verdict] = {
    3: _ACCOUNT,  # a redirect is not followed with a message and a token in hand: api_base is wrong
    4: _REFUSED,
    5: _SILENT,  # 500, 502, 503, 504 may come after the message was queued
}
HTTP_DEFAULT = _SILENT


def twilio_verdict(status: int, code: int | None) -> Verdict:
    """For an HTTP answer that is not 2xx. A 5xx is unknown whatever code it carries."""
    if status // 100 == 4 and code is not None and code in TWILIO_CODES:
        return TWILIO_CODES[code]
    return http_verdict(status)


def http_verdict(status: int) -> Verdict:
    """For an HTTP answer of which nothing more is known."""
    family = status // 100
    return HTTP_STATUSES.get(status) or HTTP_CLASSES.get(family) or HTTP_DEFAULT


# --- SMTP --------------------------------------------------------------------------------------------


class Phase(StrEnum):
    """How far an e-mail had come. Only after ``FINAL`` began can it have been accepted."""

    CONNECT = "connect"
    """TCP, TLS, greeting."""
    HELLO = "hello"
    """EHLO, STARTTLS."""
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    """The command, and the body but for its final dot."""
    FINAL = "final"
    """The final dot was handed to the operating system."""


_SESSION = frozenset({Phase.CONNECT, Phase.HELLO, Phase.AUTH})
_ENVELOPE = frozenset({Phase.MAIL, Phase.RCPT})
_TEXT = frozenset({Phase.DATA, Phase.FINAL})
_ANY = frozenset(Phase)


@dataclass(frozen=True, slots=True)
class SmtpRow:
    """Matches a reply whose code and enhanced code begin with one of these; empty: any."""

    phases: frozenset[Phase]
    codes: tuple[str, ...]
    enhanced: tuple[str, ...]
    verdict: Verdict


SMTP_ROWS: tuple[SmtpRow, ...] = (
    # not now
    SmtpRow(_ANY, ("421",), ("4.7.",), _THROTTLED),  # Gmail: too fast, for all of the account
    SmtpRow(_ANY, ("421",), (), _CLOSING),
    SmtpRow(_ANY, ("4",), (), _BUSY),  # 450 451 452: mailbox busy, local error, storage, greylisted
    # the account: nothing of this session depends on the message
    SmtpRow(_ANY, ("530", "534", "535", "538"), (), _ACCOUNT),
    SmtpRow(_ANY, ("5",), ("5.4.5", "5.7.8", "5.7.9"), _ACCOUNT),  # Gmail's daily limit; credentials
    SmtpRow(_SESSION, ("5",), (), _ACCOUNT),
    # the sender
    SmtpRow(_ANY, ("5",), ("5.1.7", "5.1.8"), _SENDER),  # the *sender's* address, in spite of 5.1
    SmtpRow(frozenset({Phase.MAIL}), ("5",), ("5.1.", "5.7."), _SENDER),
    SmtpRow(frozenset({Phase.MAIL}), ("550", "553"), (), _SENDER),
    # the address
    SmtpRow(_ANY, ("5",), ("5.1.",), _GONE),
    SmtpRow(frozenset({Phase.RCPT}), ("5",), ("5.2.1",), _GONE),  # mailbox disabled
    SmtpRow(_ANY, ("5",), ("5.2.2",), _REFUSED),  # mailbox full: not for ever
    # the text
    SmtpRow(_ANY, ("5",), ("5.2.3", "5.3.4", "5.6."), _CONTENT),  # too long, or not convertible
    SmtpRow(_TEXT, ("5",), ("5.7.",), _CONTENT),  # policy, having seen it
    SmtpRow(_TEXT, ("552", "554"), ("",), _CONTENT),
    SmtpRow(_ENVELOPE, ("5",), ("5.7.",), _REFUSED),  # policy, not having seen it: relaying, block lists
    # no enhanced code: a 550 may be "no such user" or a block list, so the address is not blocked for it
    SmtpRow(frozenset({Phase.RCPT}), ("550", "551", "553"), ("",), _BAD),
    SmtpRow(_ANY, ("5",), (), _REFUSED),
)
"""The first that matches. ``("",)`` in ``enhanced``: only a reply without an enhanced code."""

SMTP_DEFAULT = _BUSY
"""A reply that is none (a greeting that isn't SMTP, 354 to MAIL) before the final dot."""

SMTP_DEFAULT_FINAL = _SILENT
"""The same after it."""

_ENHANCED = re.compile(r"^([245]\.\d{1,3}\.\d{1,3})(?=\s|$)")


def enhanced_code(text: str) -> str:
    """RFC 2034: at the start of the reply's text; "" where there is none."""
    match = _ENHANCED.match(text)
    return match[1] if match else ""


def smtp_verdict(phase: Phase, code: int, text: str) -> Verdict:
    """For a reply that is not the one hoped for in this phase."""
    digits, enhanced = str(code), enhanced_code(text)
    for row in SMTP_ROWS:
        if phase in row.phases and digits.startswith(row.codes) and _fits(enhanced, row.enhanced):
            return row.verdict
    return SMTP_DEFAULT_FINAL if phase is Phase.FINAL else SMTP_DEFAULT


# --- a company's mailbox at Gmail ---------------------------------------------------------------------


class MailboxTrouble(Enum):
    """What a reply says of the mailbox that the message was to leave by, and not of the message."""

    NO_ACCESS = "no access"
    FULL = "full"
    """No more today."""
    TOO_FAST = "too fast"


MAILBOX_ROWS: tuple[tuple[frozenset[Phase], tuple[str, ...], tuple[str, ...], MailboxTrouble], ...] = (
    (_ANY, ("5",), ("5.4.5",), MailboxTrouble.FULL),  # daily user sending limit exceeded
    (_ANY, ("530", "534", "535", "538"), (), MailboxTrouble.NO_ACCESS),
    (_ANY, ("5",), ("5.7.8", "5.7.9", "5.7.14"), MailboxTrouble.NO_ACCESS),  # 5.7.14: log in by browser
    (frozenset({Phase.AUTH}), ("5",), (), MailboxTrouble.NO_ACCESS),
    (frozenset({Phase.MAIL}), ("550", "553"), (), MailboxTrouble.NO_ACCESS),  # not with this sender
    (_ANY, ("421", "454"), ("4.7.",), MailboxTrouble.TOO_FAST),  # 450 4.2.1 is about the recipient
)
"""The first that matches; none: ``SMTP_ROWS`` decide, but never to pause more than this mailbox."""


def mailbox_trouble(phase: Phase, code: int, text: str) -> MailboxTrouble | None:
    digits, enhanced = str(code), enhanced_code(text)
    for phases, codes, wanted, trouble in MAILBOX_ROWS:
        if phase in phases and digits.startswith(codes) and _fits(enhanced, wanted):
            return trouble
    return None


def _fits(enhanced: str, wanted: tuple[str, ...]) -> bool:
    if wanted == ("",):
        return not enhanced
    return not wanted or any(
        enhanced.startswith(one) if one.endswith(".") else enhanced == one for one in wanted
    )
