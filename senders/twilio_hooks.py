"""What Twilio posts to us: receipts of messages, and texts that people sent to our numbers.

Sources: https://www.twilio.com/docs/messaging/guides/track-outbound-message-status,
https://www.twilio.com/docs/messaging/guides/webhook-request and
https://www.twilio.com/docs/usage/webhooks/webhooks-security.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from twilio.request_validator import RequestValidator
from twilio.twiml.messaging_response import MessagingResponse

from schemas.records import EventStatus
from senders.outcomes import TWILIO_CODES
from senders.receipts import HookError, Receipt
from senders.twilio_sms import PROVIDER
from streams.domain.addresses import normal_phone
from streams.domain.keywords import word_of
from streams.secret import Secret

SIGNATURE = "X-Twilio-Signature"

STATUSES: Mapping[str, EventStatus] = {
    "accepted": EventStatus.QUEUED,
    "scheduled": EventStatus.QUEUED,
    "queued": EventStatus.QUEUED,
    "sending": EventStatus.QUEUED,
    "sent": EventStatus.SENT,
    "delivered": EventStatus.DELIVERED,
    "read": EventStatus.DELIVERED,
    "undelivered": EventStatus.UNDELIVERED,
    "failed": EventStatus.FAILED,
    "canceled": EventStatus.FAILED,
}
"""``MessageStatus`` of an outbound message. Whatever else they invent is passed over."""

_OPT_OUT_TYPES: Mapping[str, EventStatus] = {
    "STOP": EventStatus.STOP,
    "START": EventStatus.START,
    "HELP": EventStatus.HELP,
}
_SID = re.compile(r"(?:SM|MM)[0-9a-fA-F]{32}")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_CODE = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingText:
    """A text to one of our numbers. Of what it says only the word is kept."""

    provider: str
    provider_id: str
    sender: str = field(repr=False)
    """E.164."""
    to: str
    """Our number."""
    service: str
    """The messaging service that the number belongs to, empty: none."""
    word: EventStatus


class TwilioHooks:
    """``token``: the account's auth token, with which Twilio signs. ``public_url``: what was told to Twilio,
    up to our own paths; a proxy may have taken anything off it on the way here."""

    def __init__(self, token: Secret, public_url: str) -> None:
        self._validator = RequestValidator(token.reveal())
        self._url = public_url.rstrip("/")

    def genuine(self, target: str, form: Mapping[str, str], signature: str) -> bool:
        """Whether Twilio signed this. ``target``: path and query exactly as they came, in their order and
        spelling; ``form``: the fields that were posted (a multi-mapping where one came twice)."""
        if not target.startswith("/") or not signature.isascii():
            return False
        return bool(self._validator.validate(self._url + target, form, signature))


def receipt_of(form: Mapping[str, str]) -> Receipt | None:
    """None for a status that is none of an outbound message's. HookError."""
    status = STATUSES.get(form.get("MessageStatus") or form.get("SmsStatus") or "")
    sid = _sid(form)
    if status is None:
        return None
    code = form.get("ErrorCode", "")
    code = code if _CODE.fullmatch(code) and int(code) else ""
    segments = form.get("NumSegments", "")
    price = _price(form.get("Price", ""))
    verdict = TWILIO_CODES.get(int(code)) if code else None
    ended_badly = status in (EventStatus.UNDELIVERED, EventStatus.FAILED)
    return Receipt(
        provider=PROVIDER,
        provider_id=sid,
        status=status,
        code=code,
        segments=int(segments) if re.fullmatch("[1-9][0-9]?", segments) else None,
        price=price,
        currency=form.get("PriceUnit", "").upper()[:3] if price else "",
        to=_phone(form.get("To", "")),
        suppress=str(verdict.reason) if verdict is not None and verdict.suppress and ended_badly else "",
    )


def text_of(form: Mapping[str, str]) -> IncomingText:
    """HookError. Where Twilio has recognised a word by itself (Advanced Opt-Out), its word counts."""
    sid = _sid(form)
    sender = _phone(form.get("From", ""))
    if not sender:
        raise HookError("From is no telephone number")
    recognised = _OPT_OUT_TYPES.get(form.get("OptOutType", "").upper())
    return IncomingText(
        provider=PROVIDER,
        provider_id=sid,
        sender=sender,
        to=form.get("To", "")[:100],
        service=form.get("MessagingServiceSid", "")[:34],
        word=recognised or word_of(form.get("Body", "")),
    )


def answer_to_text(text: str) -> str:
    """The answer's body (TwiML, ``application/xml``): ``text`` goes back to whoever wrote; empty: nothing."""
    response = MessagingResponse()
    if text:
        response.message(text)
    return str(response)


def _sid(form: Mapping[str, str]) -> str:
    sid = form.get("MessageSid") or form.get("SmsSid") or ""
    if not _SID.fullmatch(sid):
        raise HookError("MessageSid is none")
    return sid


def _phone(text: str) -> str:
    """As customers' numbers are written; empty for short codes, names and other networks."""
    return normal_phone(text, None) or "" if _E164.fullmatch(text) else ""


def _price(text: str) -> str:
    """Twilio's prices are what the account changes by: negative."""
    try:
        price = Decimal(text)
    except InvalidOperation:
        return ""
    return f"{abs(price):f}" if price.is_finite() and abs(price) < 1000 and len(text) < 16 else ""
