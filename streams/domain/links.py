"""Links that lead back to us: where receipts are posted, and where a customer unsubscribes.

Each carries a token that names one message. It is sealed (AES-SIV, RFC 5297: authenticated and deterministic,
its tag is compared in constant time), not only signed, because links end in the logs of proxies and mail
scanners, and an unsubscribe link must name the address. The same message has the same link for ever; a token
of one purpose is none for another.
"""

from __future__ import annotations

import binascii
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

LONGEST_TOKEN = 6_000
"""Characters. Six ids of 200 characters beyond ASCII and an address fit; web servers take 8,000 a line."""

_VERSION = b"\x01"
"""First byte of every token: how the rest is made."""


class Purpose(StrEnum):
    """Each is the path that its tokens stand behind."""

    RECEIPT = "/v1/sms/status/"
    UNSUBSCRIBE = "/v1/unsubscribe/"


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRef:
    """The message that a link belongs to: its slot and its delivery."""

    company: str
    kind: str
    entity_id: str
    customer_id: str
    rule_id: str
    event_id: str
    """Empty for a reminder."""
    delivery_id: str
    """32 hexadecimal digits."""
    address: str = field(default="", repr=False)
    """Where it was sent to; needed in a link to unsubscribe."""


_Fields = tuple[str, str, str, str, str, str, bytes, str]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Fields).decode


class Links:
    """``public_url``: where the gateway is reached. ``keys``: secrets of any length, the newest first; new
    links are made with that one, links of the others still open. ValueError for no key or an empty one."""

    def __init__(self, public_url: str, keys: Sequence[bytes]) -> None:
        if not keys or not all(keys):
            raise ValueError("links need a key")
        self._url = public_url.rstrip("/")
        # 64 bytes are AES-256 for the tag and AES-256 for the rest.
        self._ciphers = [AESSIV(hmac.digest(key, b"carillon links", "sha512")) for key in keys]

    def receipts(self, ref: MessageRef) -> str:
        """Where the SMS provider is to post what becomes of the message."""
        return self._url + Purpose.RECEIPT + self.token(Purpose.RECEIPT, ref)

    def unsubscribe(self, ref: MessageRef) -> str:
        """For ``List-Unsubscribe`` (RFC 8058 wants https) and the text of an e-mail."""
        return self._url + Purpose.UNSUBSCRIBE + self.token(Purpose.UNSUBSCRIBE, ref)

    def token(self, purpose: Purpose, ref: MessageRef) -> str:
        """Letters, digits, ``-`` and ``_``. ValueError where ``delivery_id`` is none."""
        fields: _Fields = (
            ref.company,
            ref.kind,
            ref.entity_id,
            ref.customer_id,
            ref.rule_id,
            ref.event_id,
            bytes.fromhex(ref.delivery_id),
            ref.address,
        )
        sealed = self._ciphers[0].encrypt(_encode(fields), [_VERSION, purpose.encode()])
        return urlsafe_b64encode(_VERSION + sealed).decode().rstrip("=")

    def open(self, purpose: Purpose, token: str) -> MessageRef | None:
        """None for whatever none of our keys has made for this purpose."""
        sealed = _bytes_of(token)
        if sealed[:1] != _VERSION:
            return None
        for cipher in self._ciphers:
            try:
                *names, delivery_id, address = _decode(
                    cipher.decrypt(sealed[1:], [_VERSION, purpose.encode()])
                )
            except InvalidTag:
                continue
            company, kind, entity_id, customer_id, rule_id, event_id = names
            return MessageRef(
                company=company,
                kind=kind,
                entity_id=entity_id,
                customer_id=customer_id,
                rule_id=rule_id,
                event_id=event_id,
                delivery_id=delivery_id.hex(),
                address=address,
            )
        return None

    def find(self, purpose: Purpose, text: str) -> MessageRef | None:
        """The message of the first good link of this purpose in a text (a header, a whole mail)."""
        for candidate in text.split(purpose)[1:]:
            token = _leading_token(candidate)
            ref = self.open(purpose, token)
            if ref is not None:
                return ref
        return None


_ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def _leading_token(text: str) -> str:
    end = next((at for at, char in enumerate(text) if char not in _ALPHABET), len(text))
    return text[:end]


def _bytes_of(token: str) -> bytes:
    """Empty for what is not base64url. One token has one spelling: the bits that the last character leaves
    unused must be zero."""
    if len(token) > LONGEST_TOKEN or not _ALPHABET.issuperset(token):
        return b""
    try:
        raw = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except binascii.Error:
        return b""
    return raw if urlsafe_b64encode(raw).decode().rstrip("=") == token else b""
