"""Receipts that a described SMS provider posts to the address which came with its message: who may post them,
and what they say (``http_sms_settings`` reads the description)."""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import parse_qsl

from schemas.records import EventStatus
from senders.http_sms_settings import HttpSmsSettings, ReceiptSettings
from senders.json_paths import parsed, text_at
from senders.receipts import HookError, Receipt
from streams.domain.addresses import normal_phone
from streams.secret import Secret

LONGEST = 200
"""Characters of an id or a code."""

_BADLY = frozenset({EventStatus.UNDELIVERED, EventStatus.FAILED})


class HttpSmsHooks:
    """``description`` has receipts; ``secret``: what they are signed with, or are to bring along."""

    def __init__(self, description: HttpSmsSettings, receipts: ReceiptSettings, secret: Secret) -> None:
        self._description = description
        self._receipts = receipts
        self._secret = secret

    def genuine(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether the provider has sent this. Where it signs nothing, the address says so, which
        nobody else has. ``headers``: by names in any case."""
        rules = self._receipts
        if rules.signed == "no":
            return True
        given, secret = headers.get(rules.header, ""), self._secret.reveal()
        if rules.signed == "secret":
            expected = rules.prefix + secret
        else:
            digest = hmac.digest(secret.encode(), body, rules.signed.removeprefix("hmac-"))
            written = digest.hex() if rules.encoding == "hex" else b64encode(digest).decode()
            expected = rules.prefix + written
            if rules.encoding == "hex":
                given, expected = given.lower(), expected.lower()
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())

    def receipt_of(self, body: bytes) -> Receipt | None:
        """None for a status that the description does not name. Raises HookError."""
        rules = self._receipts
        text = body.decode("utf-8", "replace")
        found = parsed(text) if rules.format == "json" else dict(parse_qsl(text, max_num_fields=200))
        if not isinstance(found, dict | list):
            raise HookError("the body is no JSON")
        id_ = text_at(found, rules.id)
        if not 0 < len(id_) <= LONGEST or not id_.isprintable():
            raise HookError("it names no message")
        status = rules.statuses.get(text_at(found, rules.status))
        if status is None:
            return None
        code, to = text_at(found, rules.code), text_at(found, rules.to)
        verdict = self._description.codes.get(code) if status in _BADLY else None
        return Receipt(
            provider=self._description.name,
            provider_id=id_,
            status=status,
            code=code if len(code) <= LONGEST and code.isprintable() else "",
            to=normal_phone("+" + to if to.isdecimal() else to, None) or "",
            suppress=str(verdict.reason) if verdict is not None and verdict.suppress else "",
        )
