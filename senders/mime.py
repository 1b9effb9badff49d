"""An e-mail's bytes. The standard library's EmailMessage takes 1.6 ms for one message, several times what
sending it costs; this writes the few forms that we need, and a property test holds them against the
library's parser.

RFC 5322 (headers), 2045-2047 (MIME, encoded words), 6532 (UTF-8 headers), 8058 (one-click unsubscribe).
"""

from __future__ import annotations

import binascii
import re
import unicodedata
from base64 import b64encode
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import lru_cache

import idna

from streams.domain.messages import EmailMessage

_CRLF = "\r\n"
_LONGEST_PLAIN = 60
"""Characters of a header that go as they are; with its name that stays under the 78 of RFC 5322 2.1.1."""
_WORD_BYTES = 45
"""Of UTF-8 in one encoded word: 60 in base64, 72 with its frame; RFC 2047 allows 75."""

_LOCAL = re.compile(r"[^\s\x00-\x20\x7f-\x9f\"(),:;<>@\[\\\]]+")
_MESSAGE_ID = re.compile(r"<?([!-;=?-~]+@[!-;=?-~]+?)>?")
_QUOTED = re.compile(r'(["\\])')
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
_DOMAINS = 10_000
"""Remembered in ASCII, some 2 MB: encoding the two of a message takes longer than the rest of its headers."""
_URL = re.compile(r"https?://[!-;=?-~]+")
_LONGEST_URL = 900
"""A header line has room for 998 characters (RFC 5322 2.1.1), and an address can't be folded. A longer one
(of ids that are hundreds of characters long) is left out."""


class HeaderError(ValueError):
    """A value can't stand in a header. ``header`` names it; the message doesn't repeat the value."""

    def __init__(self, header: str, problem: str) -> None:
        super().__init__(f"{header}: {problem}")
        self.header = header


@dataclass(frozen=True, slots=True)
class Mime:
    """A message as it goes over the wire, before dot-stuffing; ends with CRLF."""

    data: bytes = field(repr=False)
    sender: str
    """Envelope addresses: the domain in ASCII, the local part perhaps not."""
    recipient: str
    needs_utf8: bool
    """One of the local parts is not ASCII: the server must support SMTPUTF8 (RFC 6531)."""


def build(message: EmailMessage, date_ms: int, *, from_address: str = "", reply_to: str = "") -> Mime:
    """Text and HTML as multipart/alternative, or the one of them that is not empty.

    ``date_ms``: milliseconds since the epoch. ``from_address``: instead of the message's own.
    Raises HeaderError for control characters (CR and LF above all), or a malformed address.
    """
    sender = address("From", from_address or message.from_address)
    recipient = address("To", message.to_address)
    match = _MESSAGE_ID.fullmatch(message.message_id)
    if match is None:
        raise HeaderError("Message-ID", "not of the form local@domain")
    lines = [
        f"From: {_mailbox('From', message.from_name, sender)}",
        f"To: {_mailbox('To', message.to_name, recipient)}",
        f"Subject: {_unstructured('Subject', message.subject)}",
        f"Date: {formatdate(date_ms // 1000)}",
        f"Message-ID: <{match[1]}>",
        "MIME-Version: 1.0",
        # RFC 3834: no out-of-office replies to this.
        "Auto-Submitted: auto-generated",
    ]
    if reply_to:
        lines.append(f"Reply-To: {address('Reply-To', reply_to)}")
    lines += _unsubscribe(message.unsubscribe_url)
    head = _CRLF.join(lines).encode() + b"\r\n"
    text, html = _part("plain", message.text), _part("html", message.html)
    if not message.html:
        body = text
    elif not message.text:
        body = html
    else:
        # "=_" appears in no quoted-printable text, so no part can hold the boundary.
        mark = b"=_" + binascii.hexlify(match[1].encode())[:32]
        body = (
            b'Content-Type: multipart/alternative; boundary="%b"\r\n\r\n' % mark
            + b"--%b\r\n%b\r\n--%b\r\n%b\r\n--%b--\r\n" % (mark, text, mark, html, mark)
        )
    return Mime(head + body, sender, recipient, not (sender.isascii() and recipient.isascii()))


def address(header: str, value: str) -> str:
    """``value`` with its domain in ASCII (IDNA 2008). Raises HeaderError; quoted local parts and address
    literals are refused, no customer has one."""
    local, at, domain = value.rpartition("@")
    if not at or not _LOCAL.fullmatch(local) or len(_utf8(header, local)) > 64:
        raise HeaderError(header, "not an e-mail address")
    if local.startswith(".") or local.endswith(".") or ".." in local:
        raise HeaderError(header, "not an e-mail address")
    ascii_domain = _ascii_domain(domain)
    if not ascii_domain:
        raise HeaderError(header, "the address has no valid domain")
    # RFC 6532 3.1: the form in which equal addresses look equal.
    return f"{local if local.isascii() else unicodedata.normalize('NFC', local)}@{ascii_domain}"


@lru_cache(_DOMAINS)
def _ascii_domain(domain: str) -> str:
    """Empty: it is none."""
    try:
        ascii_domain = idna.encode(domain, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        return ""
    return "" if ascii_domain.endswith(".") else ascii_domain


def _unsubscribe(url: str) -> list[str]:
    """RFC 2369 3.2; RFC 8058 for one click, which is for https only."""
    if not url or len(url) > _LONGEST_URL:
        return []
    if not _URL.fullmatch(url):
        raise HeaderError("List-Unsubscribe", "not a web address")
    one_click = ["List-Unsubscribe-Post: List-Unsubscribe=One-Click"] if url.startswith("https:") else []
    return [f"List-Unsubscribe: <{url}>", *one_click]


def _mailbox(header: str, name: str, addr: str) -> str:
    name = name.strip()
    if not name:
        return addr
    if not _plain(header, name):
        return f"{_encoded_words(header, name)}\r\n <{addr}>"
    phrase = name if _ATOMS.fullmatch(name) else '"' + _QUOTED.sub(r"\\\1", name) + '"'
    return f"{phrase}\r\n <{addr}>" if len(name) + len(addr) > _LONGEST_PLAIN else f"{phrase} <{addr}>"


def _unstructured(header: str, value: str) -> str:
    return value if _plain(header, value) else _encoded_words(header, value)


def _plain(header: str, value: str) -> bool:
    """Whether the value may stand as it is. Raises HeaderError for what must not stand at all."""
    if any(unicodedata.category(char) in {"Cc", "Zl", "Zp"} and char != "\t" for char in value):
        raise HeaderError(header, "control characters and line breaks are not allowed")
    return (
        len(value) <= _LONGEST_PLAIN
        and value.isascii()
        and value.isprintable()
        and value == value.strip()
        and "  " not in value
        and "=?" not in value
    )


def _encoded_words(header: str, value: str) -> str:
    """RFC 2047, base64, no character divided, one word a line."""
    words: list[str] = []
    raw = _utf8(header, value)
    start = 0
    while start < len(raw):
        end = min(start + _WORD_BYTES, len(raw))
        while end < len(raw) and raw[end] & 0xC0 == 0x80:
            end -= 1
        words.append(f"=?utf-8?b?{b64encode(raw[start:end]).decode()}?=")
        start = end
    return "\r\n ".join(words)


def _utf8(header: str, value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise HeaderError(header, "not Unicode (half of a surrogate pair)") from None


def _part(subtype: str, content: str) -> bytes:
    lines = content.replace("\r\n", "\n").replace("\r", "\n")
    if not lines.endswith("\n"):
        lines += "\n"
    raw = _utf8("body", lines).replace(b"\n", b"\r\n")
    return (
        b'Content-Type: text/%b; charset="utf-8"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n%b'
        % (subtype.encode(), binascii.b2a_qp(raw, istext=True))
    )
