"""The Twilio library's way to its API, over one HTTP session of ours.

The library's own takes no time-out that works, drops the headers of an error (Retry-After) and logs
recipients. Nothing is retried here: creating a message is not idempotent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import urlencode

import aiohttp
from twilio.base.exceptions import TwilioException
from twilio.http import AsyncHttpClient
from twilio.http.response import Response

from senders.settings import TwilioSettings
from senders.web import basic, open_session, retry_after


class Refusal(TwilioException):  # type: ignore[misc]  # the library has no types
    """An answer that is not 2xx, with what the library's exceptions drop."""

    def __init__(self, status: int, code: int | None, message: str, after: int) -> None:
        super().__init__(f"HTTP {status}, code {code}")
        self.status = status
        self.code = code
        self.message = message
        self.after = after


class TwilioHttp(AsyncHttpClient):  # type: ignore[misc]  # the library has no types
    """One session for all requests, opened on first use (it belongs to the running loop)."""

    def __init__(self, settings: TwilioSettings) -> None:
        super().__init__(logger=None, is_async=True)
        username = settings.api_key or settings.account_sid
        self._authorization = basic(username, settings.token)
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise RuntimeError("the sender is closed")
        settings = self._settings
        self._session = open_session(settings.connections, settings.connect_timeout, settings.answer_timeout)
        return self._session

    async def request(
        self,
        method: str,
        url: str,
        params: Mapping[str, object] | None = None,
        data: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: object = None,
        timeout: float | None = None,
        allow_redirects: bool = False,
    ) -> Response:
        """The signature is the library's. Raises Refusal, or what aiohttp raises."""
        session = self._session or self._open()
        if params:
            url = f"{url}?{urlencode(params)}"
        async with session.request(
            method,
            url,
            data=urlencode(data).encode("ascii") if data else None,
            headers={**(headers or {}), "Authorization": self._authorization},
            allow_redirects=False,
        ) as answer:
            text = await answer.text(encoding="utf-8", errors="replace")
            if not 200 <= answer.status < 300:
                raise _refusal(answer.status, text, answer.headers)
            return Response(answer.status, text, answer.headers)

    async def close(self) -> None:
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _refusal(status: int, text: str, headers: Mapping[str, str]) -> Refusal:
    """Reads Twilio's error bodies, the older (code, message) and RFC 9457's (code, title, detail)."""
    code, message = None, ""
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if isinstance(body, dict):
        given = str(body.get("code"))
        code = int(given) if given.isdecimal() else None
        message = str(body.get("message") or body.get("detail") or body.get("title") or "")
    return Refusal(status, code, message, retry_after(headers))
