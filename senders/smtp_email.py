"""E-mail by SMTP: a small pool of connections, each transaction driven command by command.

aiosmtplib's ``sendmail`` raises the same error before and after the final dot; here the phase of a failure
is known, because only a message whose final dot may have left can have been accepted (RFC 5321 4.2.5).
"""

from __future__ import annotations

import asyncio

import aiosmtplib

from schemas.records import Channel
from senders.addresses import with_delivery
from senders.details import detail_of
from senders.mime import HeaderError, Mime, address, build
from senders.outcomes import Phase, smtp_verdict
from senders.pacing import Bucket
from senders.settings import SmtpSettings
from senders.smtp_pool import ConnectError, Connection, Pool
from streams.clock import Clock
from streams.domain.messages import (
    Accepted,
    EmailMessage,
    Inquiry,
    Message,
    Outcome,
    Rejected,
    RetryAt,
    Unknown,
)
from streams.domain.reasons import Reason

PROVIDER = "smtp"

_STATUS_CLOSING = 421

_REASONS = {"To": Reason.BAD_ADDRESS, "From": Reason.NO_SENDER}
"""What is wrong with a message whose header can't be written; else its content."""

_RESET_TIMEOUT = 2.0
"""Seconds. The outcome waits for it, and a new connection costs less than that."""


class _RefusedError(Exception):
    """A reply that is not the one hoped for."""

    def __init__(self, reply: aiosmtplib.SMTPResponse) -> None:
        super().__init__(reply.code)
        self.reply = reply


class _UnsupportedError(Exception):
    """An address that is not ASCII, and a server without SMTPUTF8."""


class SmtpEmail:
    """A Sender. ``send`` may run many times at once; at most ``connections`` of them hold a connection."""

    channel = Channel.EMAIL
    name = PROVIDER

    def __init__(self, settings: SmtpSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        envelope = settings.envelope_from
        self._envelope_from = address("envelope_from", envelope) if envelope else ""
        self._pool = Pool(settings)
        self.bucket = Bucket(settings.per_second, settings.burst) if settings.per_second else None

    async def send(self, message: Message) -> Outcome:
        if not isinstance(message, EmailMessage):
            return Rejected(PROVIDER, Reason.REFUSED, "not an e-mail")
        url = self._settings.unsubscribe_url
        try:
            mime = build(
                message,
                self._clock.now(),
                with_delivery(url, message.delivery_id, message.company) if url else "",
            )
        except HeaderError as error:
            return Rejected(PROVIDER, _REASONS.get(error.header, Reason.CONTENT), str(error))
        outcome = await self._attempt(message, mime)
        if outcome is None:
            # The server had closed a pooled connection and saw nothing of this message.
            outcome = await self._attempt(message, mime, fresh=True)
        assert outcome is not None, "a fresh connection is never stale"
        return outcome

    async def inquire(self, message: Message, since: int, until: int) -> Inquiry:
        """SMTP can't be asked."""
        return Unknown(PROVIDER, Reason.NO_ANSWER, "a mail server can't be asked")

    async def close(self) -> None:
        await self._pool.close()

    async def _attempt(self, message: EmailMessage, mime: Mime, *, fresh: bool = False) -> Outcome | None:
        """None: the connection was a pooled one and had gone before it took the first command."""
        try:
            connection = await self._pool.take(fresh=fresh)
        except ConnectError as failed:
            return failed.outcome(PROVIDER)
        transaction = _Transaction(connection, self._settings)
        try:
            await transaction.run(mime, self._envelope_from or mime.sender)
            connection.clean = True
            return Accepted(PROVIDER, message.message_id)
        except _RefusedError as refused:
            code, text = refused.reply
            if code == _STATUS_CLOSING and transaction.untouched and connection.reused:
                return None
            verdict = smtp_verdict(transaction.phase, code, text)
            detail = _detail(f"{transaction.phase}: {code} {text}", message)
            await transaction.reset()
            return verdict.outcome(PROVIDER, detail)
        except _UnsupportedError:
            await transaction.reset()
            return Rejected(PROVIDER, Reason.REFUSED, "the server takes no international addresses")
        except Exception as error:  # noqa: BLE001 - a sender never raises; the phase says what it may mean
            detail = f"{transaction.phase}: {type(error).__name__}"
            if transaction.phase is Phase.FINAL:
                return Unknown(PROVIDER, Reason.NO_ANSWER, detail)
            if (
                transaction.untouched
                and connection.reused
                and isinstance(error, aiosmtplib.SMTPServerDisconnected)
            ):
                return None
            return RetryAt(PROVIDER, Reason.UNREACHABLE, detail)
        finally:
            # Not clean after a failure or a cancellation: whatever is half-said on it must not be continued.
            self._pool.give_back(connection)


class _Transaction:
    """One message over one connection. ``phase`` is how far it has come."""

    def __init__(self, connection: Connection, settings: SmtpSettings) -> None:
        self.phase = Phase.MAIL
        self._connection = connection
        self._client = connection.client
        self._settings = settings

    @property
    def untouched(self) -> bool:
        return self.phase is Phase.MAIL

    async def run(self, mime: Mime, envelope_from: str) -> None:
        """Returns once the server has accepted. Raises the two errors above, or what aiosmtplib raises."""
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
        reply = await self._client.execute_command(*words)
        if reply.code // 100 != hoped_for:
            raise _RefusedError(reply)

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
        self.phase = Phase.FINAL
        protocol.write(b".\r\n")
        reply = await protocol.read_response(timeout=self._settings.final_timeout)
        if reply.code // 100 != 2:
            raise _RefusedError(reply)


def _detail(said: str, message: EmailMessage) -> str:
    """A mail server may quote the address, or only what stands before the @, the name, or the text."""
    local = message.to_address.rpartition("@")[0]
    return detail_of(said, message.to_address, message.subject, message.to_name, local, message.text)
