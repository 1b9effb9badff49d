"""One account at a mail server: a small pool of connections, each transaction driven command by command.

aiosmtplib's ``sendmail`` raises the same error before and after the final dot; here the phase of a failure
is known, because only a message whose final dot may have left can have been accepted (RFC 5321 4.2.5).
"""

from __future__ import annotations

import asyncio
import ssl

import aiosmtplib

from senders.details import detail_of
from senders.mime import Mime
from senders.outcomes import Phase
from senders.settings import SmtpSettings
from senders.smtp_pool import ConnectError, Connection, Login, Pool, RefusedError
from streams.domain.messages import Accepted, EmailMessage, Outcome, Rejected, RetryAt, Unknown
from streams.domain.reasons import Reason

_STATUS_CLOSING = 421

_RESET_TIMEOUT = 2.0
"""Seconds. The outcome waits for it, and a new connection costs less than that."""


class _UnsupportedError(Exception):
    """An address that is not ASCII, and a server without SMTPUTF8."""


class SmtpAccount:
    """``deliver`` may run many times at once; at most ``settings.connections`` of them hold a connection."""

    def __init__(
        self,
        settings: SmtpSettings,
        provider: str,
        login: Login | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._settings = settings
        self._provider = provider
        self._pool = Pool(settings, login, tls)

    async def deliver(
        self, message: EmailMessage, mime: Mime, limit: asyncio.Timeout, envelope_from: str = ""
    ) -> Outcome:
        """One attempt. ``limit`` is what the caller waits under; it is lifted before the final dot. Raises
        RefusedError where the server said no, at whatever phase: it has not taken the message; LoginError."""
        envelope_from = envelope_from or mime.sender
        outcome = await self._attempt(message, mime, limit, envelope_from)
        if outcome is None:
            # The server had closed a pooled connection and saw nothing of this message.
            outcome = await self._attempt(message, mime, limit, envelope_from, fresh=True)
        assert outcome is not None, "a fresh connection is never stale"
        return outcome

    def drop_idle(self) -> None:
        self._pool.drop_idle()

    async def close(self) -> None:
        await self._pool.close()

    async def _attempt(
        self,
        message: EmailMessage,
        mime: Mime,
        limit: asyncio.Timeout,
        envelope_from: str,
        *,
        fresh: bool = False,
    ) -> Outcome | None:
        """None: the connection was a pooled one and had gone before it took the first command."""
        provider = self._provider
        try:
            connection = await self._pool.take(fresh=fresh)
        except ConnectError as failed:
            # Wrong or missing ways to log in help no message; an unreachable server may help the next.
            hopeless = failed.phase is Phase.AUTH
            reason = Reason.ACCOUNT if hopeless else Reason.UNREACHABLE
            return RetryAt(provider, reason, detail_of(str(failed)), pause_channel=hopeless)
        transaction = _Transaction(connection, self._settings, limit)
        try:
            await transaction.run(mime, envelope_from)
            connection.clean = True
            return Accepted(provider, message.message_id)
        except RefusedError as refused:
            if refused.code == _STATUS_CLOSING and transaction.untouched and connection.reused:
                return None
            await transaction.reset()
            raise
        except _UnsupportedError:
            await transaction.reset()
            return Rejected(provider, Reason.REFUSED, "the server takes no international addresses")
        except Exception as error:  # noqa: BLE001 - a sender never raises; the phase says what it may mean
            detail = f"{transaction.phase}: {type(error).__name__}"
            if transaction.phase is Phase.FINAL:
                return Unknown(provider, Reason.NO_ANSWER, detail)
            if (
                transaction.untouched
                and connection.reused
                and isinstance(error, aiosmtplib.SMTPServerDisconnected)
            ):
                return None
            return RetryAt(provider, Reason.UNREACHABLE, detail)
        finally:
            # Not clean after a failure or a cancellation: whatever is half-said on it must not be continued.
            self._pool.give_back(connection)


class _Transaction:
    """One message over one connection. ``phase`` is how far it has come."""

    def __init__(self, connection: Connection, settings: SmtpSettings, limit: asyncio.Timeout) -> None:
        self.phase = Phase.MAIL
        self._connection = connection
        self._client = connection.client
        self._settings = settings
        self._limit = limit

    @property
    def untouched(self) -> bool:
        return self.phase is Phase.MAIL

    async def run(self, mime: Mime, envelope_from: str) -> None:
        """Returns once the server has accepted. Raises RefusedError, _UnsupportedError, or what aiosmtplib
        raises."""
        options: tuple[bytes, ...] = ()
        if mime.needs_utf8:
            if not self._client.supports_extension("smtputf8"):
                raise _UnsupportedError
            options = (b"SMTPUTF8", b"BODY=8BITMIME")
        await self._command(b"MAIL", b"FROM:<%b>" % envelope_from.encode(), *options)
        self.phase = Phase.RCPT
        await self._command(b"RCPT", b"TO:<%b>" % mime.recipient.encode())
        self.phase = Phase.DATA
        await self._command(b"DATA", hoped_for=3)
        await self._body(mime.data)

    async def reset(self) -> None:
        """Ends the transaction; the connection is fit for another if the server says so."""
        try:
            reply = await self._client.execute_command(b"RSET", timeout=_RESET_TIMEOUT)
        except Exception:  # noqa: BLE001 - the outcome is already known, only the connection is lost
            return
        self._connection.clean = reply.code == aiosmtplib.SMTPStatus.completed

    async def _command(self, *words: bytes, hoped_for: int = 2) -> None:
        self._expect(await self._client.execute_command(*words), hoped_for)

    def _expect(self, reply: aiosmtplib.SMTPResponse, hoped_for: int) -> None:
        if reply.code // 100 != hoped_for:
            raise RefusedError(self.phase, reply.code, reply.message)

    async def _body(self, data: bytes) -> None:
        protocol = self._client.protocol
        if protocol is None:
            raise aiosmtplib.SMTPServerDisconnected("Connection lost")
        # The dot is kept back until the rest has left our buffers: a connection lost in the middle of a
        # large message is then known not to have delivered it.
        protocol.write(data.replace(b"\r\n.", b"\r\n.."))
        async with asyncio.timeout(self._settings.command_timeout):
            # What a StreamWriter's drain would await; a StreamWriter itself closes the transport when it
            # is collected.
            await protocol._drain_helper()
        if not protocol.is_connected:
            raise aiosmtplib.SMTPServerDisconnected("Connection lost")
        # From here on a time-out would say "not sent" of what may have been.
        self._limit.reschedule(None)
        self.phase = Phase.FINAL
        protocol.write(b".\r\n")
        self._expect(await protocol.read_response(timeout=self._settings.final_timeout), 2)


def said(refused: RefusedError, message: EmailMessage) -> str:
    """For the log. A mail server may quote the address, or only what stands before the @, the name, or the
    text."""
    local = message.to_address.rpartition("@")[0]
    return detail_of(str(refused), message.to_address, message.subject, message.to_name, local, message.text)
