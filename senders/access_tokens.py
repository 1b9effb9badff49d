"""Access tokens of a connected mailbox, by google-auth: short-lived, renewed before they end, by one request
however many messages wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from google.auth.exceptions import RefreshError
from google.auth.transport.requests import Request
from google.oauth2.credentials import Credentials

from senders.settings import GmailSettings
from senders.smtp_pool import LoginError
from streams.clock import Clock
from streams.secret import Secret

EARLY = 5 * 60 * 1000
"""Milliseconds before its end from which a token is renewed: a send takes minutes at the most."""
LAST = 60 * 1000
"""A token that can't be renewed just now is used until so long before its end."""
PAUSE = 60 * 1000
"""Between two tries to renew one that is still good."""


class RevokedError(LoginError):
    """The mailbox can't be used until somebody connects it again. The message says why."""


class UnavailableError(LoginError):
    """No token just now: nobody answered."""


@dataclass(frozen=True, slots=True)
class Token:
    value: Secret
    expires: int
    """Milliseconds since the epoch."""


class AccessTokens:
    """Of one mailbox. ``fetch`` asks for a new one, and raises one of the two errors above."""

    def __init__(self, fetch: Callable[[], Awaitable[Token]], clock: Clock, timeout: float) -> None:
        self._fetch = fetch
        self._clock = clock
        self._timeout = timeout
        self._token: Token | None = None
        self._not_before = 0
        self._renewal: asyncio.Task[Token] | None = None

    async def get(self) -> Secret:
        """Raises RevokedError or UnavailableError."""
        token, now = self._token, self._clock.now()
        if token is not None and now < token.expires - LAST:
            if now < token.expires - EARLY or now < self._not_before:
                return token.value
            try:
                return (await self._renewed()).value
            except UnavailableError:
                self._not_before = now + PAUSE
                return token.value
        return (await self._renewed()).value

    def forget(self, value: Secret) -> None:
        """The server refused this one, whatever its end."""
        if self._token is not None and self._token.value is value:
            self._token = None

    def close(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()

    async def _renewed(self) -> Token:
        renewal = self._renewal
        if renewal is None:
            renewal = self._renewal = asyncio.ensure_future(self._renew())
            renewal.add_done_callback(self._done)
        try:
            # A cancelled send takes the token from nobody else.
            return await asyncio.shield(renewal)
        except asyncio.CancelledError:
            if not renewal.cancelled():
                raise
            raise UnavailableError("the sender is closed") from None

    def _done(self, task: asyncio.Future[Token]) -> None:
        self._renewal = None
        if not task.cancelled() and task.exception() is None:
            self._token = task.result()

    async def _renew(self) -> Token:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._fetch()
        except TimeoutError:
            raise UnavailableError("no answer") from None


async def refreshed(settings: GmailSettings, refresh_token: Secret, clock: Clock) -> Token:
    """Asks the token endpoint, in a thread: google-auth has no public client for asyncio."""
    return await asyncio.to_thread(_refresh, settings, refresh_token, clock)


def _refresh(settings: GmailSettings, refresh_token: Secret, clock: Clock) -> Token:
    credentials = Credentials(  # type: ignore[no-untyped-call]  # the library's constructor has no types
        None,
        refresh_token=refresh_token.reveal(),
        token_uri=settings.token_url,
        client_id=settings.client_id,
        client_secret=settings.client_secret.reveal(),
    )
    try:
        credentials.refresh(  # type: ignore[no-untyped-call]  # nor has this
            partial(Request(), timeout=settings.token_timeout)
        )
    except RefreshError as error:
        code = _code(error)
        if error.retryable or not code:
            raise UnavailableError("the token endpoint is not well") from None
        words = "its access was revoked or has ended" if code == "invalid_grant" else "no access"
        raise RevokedError(f"{words} ({code})") from None
    except Exception as error:  # noqa: BLE001 - the library trips over answers that are no JSON object
        raise UnavailableError(type(error).__name__) from None
    if not credentials.token or credentials.expiry is None:
        raise UnavailableError("the token endpoint gave no token")
    # The library's expiry is in UTC without saying so, counted from this machine's wall clock.
    lifetime = credentials.expiry.replace(tzinfo=UTC) - datetime.now(UTC)
    return Token(Secret(credentials.token), clock.now() + int(lifetime.total_seconds() * 1000))


def _code(error: RefreshError) -> str:
    """RFC 6749 5.2's, or nothing. Its other words may hold anything, and a page of some proxy's has none."""
    details = error.args[1] if len(error.args) > 1 else None
    code = details.get("error") if isinstance(details, dict) else None
    return code if isinstance(code, str) and code.isidentifier() else ""
