"""SMS by any provider with an HTTP API, as a file describes it (``http_sms_settings``)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp

from schemas.records import Channel
from senders.details import detail_of
from senders.http_sms_settings import TOKEN, HttpSmsSettings, Query
from senders.json_paths import at, parsed, text_at
from senders.outcomes import Verdict, http_verdict
from senders.pacing import Bucket
from senders.twilio_sms import is_service
from senders.web import NOT_SENT, basic, open_session, retry_after
from streams.clock import Clock
from streams.domain.messages import (
    Accepted,
    Inquiry,
    Message,
    NotFound,
    Outcome,
    Rejected,
    RetryAt,
    SmsMessage,
    Unknown,
)
from streams.domain.reasons import Reason

LARGEST = 1 << 20
"""Bytes of an answer that are looked at; more is no answer to one question."""


class HttpSms:
    """A Sender. One account, one session; ``send`` may run many times at once."""

    channel = Channel.SMS

    def __init__(self, settings: HttpSmsSettings, clock: Clock) -> None:
        self.name = settings.name
        self.bucket = Bucket(settings.per_second, settings.burst) if settings.per_second else None
        self._settings = settings
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def send(self, message: Message) -> Outcome:
        if not isinstance(message, SmsMessage):
            return Rejected(self.name, Reason.REFUSED, "not an SMS")
        try:
            message.text.encode()
        except UnicodeEncodeError:
            return Rejected(self.name, Reason.CONTENT, "the text is not Unicode (half of a surrogate pair)")
        left = message.valid_until - self._clock.now()
        if left < 0:
            return RetryAt(self.name, Reason.LATENESS, "it waited for its turn too long", called=False)
        sender = self._sender(message)
        if not sender:
            why = "a messaging service of another provider is no sender"
            return RetryAt(self.name, Reason.NO_SENDER, why, called=False)
        settings = self._settings
        body = _filled(settings.body, _values(message, sender, left))
        form = settings.format == "form"
        try:
            status, answer, headers = await self._request(
                "POST",
                settings.url,
                message.delivery_id,
                urlencode(body) if form else json.dumps(body),
                "application/x-www-form-urlencoded" if form else "application/json",
            )
        except NOT_SENT as error:
            return RetryAt(self.name, Reason.UNREACHABLE, type(error).__name__)
        except Exception as error:  # noqa: BLE001 - whatever else went wrong, the request may have arrived
            return Unknown(self.name, Reason.NO_ANSWER, type(error).__name__)
        found = parsed(answer)
        code = text_at(found, settings.code) if settings.code else ""
        verdict = self._verdict(status, code)
        if verdict is not None:
            said = f"HTTP {status}" + (f", code {code}" if code else "")
            return verdict.outcome(self.name, detail_of(said, message.to, message.text), retry_after(headers))
        id_ = text_at(found, settings.id)
        if not id_:
            return Unknown(self.name, Reason.NO_ANSWER, "accepted without an id")
        return Accepted(self.name, id_, sender=sender if sender != message.sender else "")

    async def inquire(self, message: Message, since: int, until: int) -> Inquiry:
        """By our own id, so neither text nor time has to be compared: ``since`` and ``until`` say nothing."""
        query = self._settings.query
        if query is None or not isinstance(message, SmsMessage):
            return Unknown(self.name, Reason.NO_ANSWER, "it can't be asked")
        url = query.url.replace("{id}", quote(message.delivery_id, safe=""))
        try:
            status, answer, _ = await self._request("GET", url, message.delivery_id)
        except Exception as error:  # noqa: BLE001 - a question without an answer is no reason to stop
            return Unknown(self.name, Reason.NO_ANSWER, type(error).__name__)
        if status == 404:
            return NotFound(self.name)
        items = _items(parsed(answer), query) if 200 <= status < 300 else None
        if items is None:
            return Unknown(self.name, Reason.NO_ANSWER, f"HTTP {status}, no list")
        ours = {
            text_at(item, query.id) for item in items if text_at(item, query.reference) == message.delivery_id
        }
        if not ours:
            return NotFound(self.name)
        id_ = ours.pop()
        if ours or not id_:
            return Unknown(self.name, Reason.NO_ANSWER, "several messages fit, or one without an id")
        return Accepted(self.name, id_)

    async def close(self) -> None:
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _sender(self, message: SmsMessage) -> str:
        """Empty: there is none that this provider could know."""
        return self._settings.sender if is_service(message.sender) else message.sender

    def _verdict(self, status: int, code: str) -> Verdict | None:
        """None: accepted."""
        settings = self._settings
        if status < 500 and code in settings.codes:
            return settings.codes[code]
        if status in settings.statuses:
            return settings.statuses[status]
        return None if 200 <= status < 300 else http_verdict(status)

    async def _request(
        self, method: str, url: str, id_: str, body: str = "", kind: str = ""
    ) -> tuple[int, str, Mapping[str, str]]:
        """Status, text and headers. Raises what aiohttp raises; nothing is tried twice or elsewhere."""
        settings = self._settings
        secret = settings.token.reveal()
        headers = {
            name: value.replace("{id}", id_).replace(TOKEN, secret)
            for name, value in settings.headers.items()
        }
        if settings.user:
            headers["Authorization"] = basic(settings.user, settings.token)
        if kind:
            headers["Content-Type"] = kind
        session = self._session or self._open()
        async with session.request(
            method, url, data=body.encode() if body else None, headers=headers, allow_redirects=False
        ) as answer:
            raw = bytearray()
            async for chunk in answer.content.iter_any():
                raw += chunk
                if len(raw) > LARGEST:
                    break
            return answer.status, raw[:LARGEST].decode("utf-8", "replace"), answer.headers

    def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise RuntimeError("the sender is closed")
        settings = self._settings
        self._session = open_session(settings.connections, settings.connect_timeout, settings.answer_timeout)
        return self._session


def _values(message: SmsMessage, sender: str, left: int) -> dict[str, str | int]:
    return {
        "to": message.to,
        "from": sender,
        "text": message.text,
        "id": message.delivery_id,
        "seconds": max(1, left // 1000),
        "status_url": message.status_url,
    }


def _filled(value: Any, values: Mapping[str, str | int]) -> Any:
    """A copy with the placeholders of its texts filled in: what is filled in is never read again."""
    if isinstance(value, Mapping):
        return {key: _filled(each, values) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, values) for each in value]
    return _fill(value, values) if isinstance(value, str) else value


def _fill(text: str, values: Mapping[str, str | int]) -> str | int:
    """A number where ``text`` is nothing but its placeholder."""
    if text[:1] == "{" and text[-1:] == "}" and text[1:-1] in values:
        return values[text[1:-1]]
    pieces = text.split("{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, closed, rest = piece.partition("}")
        filled.append(f"{values[name]}{rest}" if closed and name in values else "{" + piece)
    return "".join(filled)


def _items(answer: object, query: Query) -> list[object] | None:
    if not query.items:
        return [answer] if isinstance(answer, dict) else None
    found = at(answer, query.items)
    return found if isinstance(found, list) else None
