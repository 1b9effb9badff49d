"""What every sender over HTTP needs: how to sign in, when to come back, what was surely not sent."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import aiohttp

from streams.secret import Secret

NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""DNS, refused, TLS, no free connection: raised before a byte of the request left."""


def open_session(connections: int, connect_timeout: float, answer_timeout: float) -> aiohttp.ClientSession:
    """One for all requests of an account; it belongs to the running loop. Times are seconds."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        timeout=aiohttp.ClientTimeout(
            # ``connect`` holds from the wait for a free connection to the end of the TLS handshake, so what
            # is left of ``total`` after it is at least the answer's own time.
            total=connect_timeout + answer_timeout,
            connect=connect_timeout,
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def basic(username: str, password: Secret) -> str:
    return "Basic " + b64encode(f"{username}:{password.reveal()}".encode()).decode()


def retry_after(headers: Mapping[str, str]) -> int:
    """Milliseconds; RFC 9110 10.2.3: seconds, or a date, which is held against the answer's own Date."""
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return int(value) * 1000
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("Date", ""))
    except (ValueError, TypeError):
        return 0
    return max(0, int(wait.total_seconds() * 1000))
