"""Reports of failed delivery as mail servers send them to the sender of an e-mail (RFC 3464, RFC 6522), and
the plain notes of older ones.

Whoever knows the address of our bounces can write anything to it: nothing here is to be believed but a link
of ours (``streams.domain.links``) in what was returned. Never raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, message_from_string, policy
from email.message import Message
from email.utils import parseaddr, parsedate_to_datetime

from schemas.records import EventStatus
from streams.domain.addresses import normal_email
from streams.domain.bounces import judge, status_code

LONGEST = 1024 * 1024
"""Bytes; what follows is cut. The report stands before what was returned, and headers before a body."""

_MOST_PARTS = 100
_DIAGNOSTIC = 1000
"""Characters of a server's words that are looked at."""

_NOT_FAILED = frozenset({"delayed", "delivered", "relayed", "expanded"})
_HEADERS = frozenset({"text/rfc822-headers", "message/rfc822-headers", "message/global-headers"})
_REPLY = re.compile(r"\b[45]\d\d[ -].{0,300}", re.DOTALL)
_ORIGINAL_ID = re.compile(r"^Message-ID:\s*(<[^<>\s]{1,300}>)", re.IGNORECASE | re.MULTILINE)
_ORIGINAL_FROM = re.compile(r"^From:[ \t]*(.{1,300})$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounce:
    """One message of somebody's that did not arrive."""

    verdict: EventStatus
    """HARD or SOFT."""
    code: str
    """RFC 3463; empty: none was given."""
    recipient: str = field(repr=False)
    """Whom the report names, normalised; empty: nobody."""
    message_id: str
    """Of the returned message, with its angle brackets; empty: not told."""
    sender: str
    """The returned message's From, normalised; empty: not told."""
    returned: str = field(repr=False)
    """The headers of the returned message, or where no part has them the whole text."""
    at: int | None
    """When it was tried last, in milliseconds since the epoch, by the reporting server's clock."""


def read_bounce(raw: bytes) -> Bounce | None:
    """None for what reports no failed delivery: delays, receipts, answers of people and machines, spam."""
    try:
        return _read(raw[:LONGEST])
    except Exception:  # noqa: BLE001 - the library's parser raises many kinds at hostile mail, and it is none of ours
        return None


def _read(raw: bytes) -> Bounce | None:
    mail = message_from_bytes(raw, policy=policy.compat32)
    parts = _parts(mail)
    reports = [part for part in parts if part.get_content_type() == "message/delivery-status"]
    found = _of_report(reports[0]) if reports else _of_note(mail, parts)
    if found is None:
        return None
    verdict, code, recipient, at = found
    returned = _returned(mail, parts)
    message_id = _ORIGINAL_ID.search(returned)
    sender = _ORIGINAL_FROM.search(returned)
    return Bounce(
        verdict=verdict,
        code=code,
        recipient=recipient,
        message_id=message_id[1] if message_id else "",
        sender=normal_email(parseaddr(sender[1])[1]) or "" if sender else "",
        returned=returned,
        at=at if at is not None else _moment(mail.get("Date")),
    )


_Found = tuple[EventStatus, str, str, int | None]


def _of_report(report: Message) -> _Found | None:
    """Of several recipients (an address that stands for a list) the address is bad only if it is for all."""
    blocks = report.get_payload()
    fields = [block for block in blocks if isinstance(block, Message)] if isinstance(blocks, list) else []
    told = [block for block in fields if block.get("Action") or block.get("Final-Recipient")]
    failed = [block for block in told if _word(block.get("Action")) not in _NOT_FAILED]
    if not failed:
        return None
    judged = []
    for block in failed:
        diagnostic = _text(block.get("Diagnostic-Code"))
        code = status_code(_text(block.get("Status")), diagnostic)
        judged.append((judge(code, diagnostic), code, block))
    soft = [one for one in judged if one[0] is EventStatus.SOFT]
    verdict, code, block = soft[0] if soft else judged[0]
    if len(failed) < len(told):
        verdict = EventStatus.SOFT
    recipient = _recipient(block.get("Original-Recipient")) or _recipient(block.get("Final-Recipient"))
    return verdict, code, recipient, _moment(block.get("Last-Attempt-Date"))


def _of_note(mail: Message, parts: Iterable[Message]) -> _Found | None:
    """Older servers write a letter; Exim and Gmail mark it with a header."""
    failed = _text(mail.get("X-Failed-Recipients"))
    if not failed:
        return None
    text = "\n".join(_body(part) for part in parts if part.get_content_maintype() == "text")
    # The first reply in the letter stands before what is returned, which may quote anything.
    reply = _REPLY.search(text)
    diagnostic = " ".join((reply[0] if reply else text[:_DIAGNOSTIC]).split())
    code = status_code("", diagnostic)
    return judge(code, diagnostic), code, normal_email(failed.partition(",")[0].strip()) or "", None


def _returned(mail: Message, parts: Iterable[Message]) -> str:
    for part in parts:
        if part is mail:
            continue
        kind = part.get_content_type()
        if kind in _HEADERS:
            return _header_text(message_from_string(_body(part)))
        inner = part.get_payload()
        if kind in ("message/rfc822", "message/global") and isinstance(inner, list) and inner:
            returned = inner[0]
            if isinstance(returned, Message):
                return _header_text(returned)
    return "\n".join(_body(part) for part in parts if part.get_content_maintype() == "text")


def _parts(mail: Message) -> list[Message]:
    """In the order of the mail, without what lies within a returned message."""
    found: list[Message] = []
    waiting = [mail]
    while waiting and len(found) < _MOST_PARTS:
        part = waiting.pop()
        found.append(part)
        inner = part.get_payload()
        if part.get_content_maintype() == "multipart" and isinstance(inner, list):
            waiting += (one for one in reversed(inner) if isinstance(one, Message))
    return found


def _header_text(message: Message) -> str:
    return "\n".join(_header_lines(message))


def _header_lines(message: Message) -> Iterator[str]:
    for name, value in message.items():
        yield f"{name}: {_text(value)}"


def _body(part: Message) -> str:
    inner = part.get_payload(decode=True)
    if isinstance(inner, bytes):
        return inner.decode("utf-8", "replace").replace("\r\n", "\n")
    # message/rfc822-headers: the library takes every message/* for a whole message.
    nested = part.get_payload()
    whole = nested[0] if isinstance(nested, list) and nested else None
    return _header_text(whole) if isinstance(whole, Message) else ""


def _text(value: object) -> str:
    """A header on one line; nothing for none."""
    return " ".join(str(value).split())[:10_000] if value is not None else ""


def _word(value: object) -> str:
    return _text(value).split(" ", 1)[0].rstrip(";").lower()


def _recipient(value: object) -> str:
    """``rfc822; ann@mail.example`` (RFC 3464 2.3.1) as an address."""
    address = _text(value).rpartition(";")[2].strip().strip("<>")
    return normal_email(address) or ""


def _moment(value: object) -> int | None:
    try:
        return int(parsedate_to_datetime(_text(value)).timestamp() * 1000)
    except (ValueError, TypeError, OverflowError):
        return None
