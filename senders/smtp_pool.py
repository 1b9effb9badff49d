"""Reused SMTP connections: bounded, the newest first, closed when idle."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass

import aiosmtplib

from senders.details import detail_of
from senders.outcomes import Phase, smtp_verdict
from senders.settings import SmtpSettings, Tls
from streams.domain.messages import Outcome, RetryAt
from streams.domain.reasons import Reason


class ConnectError(Exception):
    """Nothing was sent. ``phase`` is how far it came, ``code`` the server's no, if any."""

    def __init__(self, phase: Phase, text: str, code: int = 0) -> None:
        super().__init__(f"{phase}: {code or ''} {text}")
        self.phase = phase
        self.text = text
        self.code = code

    def outcome(self, provider: str) -> Outcome:
        detail = detail_of(str(self))
        if self.code > 0:
            return smtp_verdict(self.phase, self.code, self.text).outcome(provider, detail)
        # Wrong or missing ways to log in help no message; an unreachable server may help the next.
        if self.phase is Phase.AUTH and not self.code:
            return RetryAt(provider, Reason.ACCOUNT, detail, pause_channel=True)
        return RetryAt(provider, Reason.UNREACHABLE, detail)


@dataclass(slots=True, eq=False)
class Connection:
    client: aiosmtplib.SMTP
    reused: bool = False
    clean: bool = False
    """Between two transactions: whoever took it says so before giving it back."""
    idle_since: float = 0.0


class Pool:
    """``take`` and ``give_back`` in pairs. At most ``settings.connections`` are out or open."""

    def __init__(self, settings: SmtpSettings) -> None:
        self._settings = settings
        self._tls = (
            None if settings.tls is Tls.NONE else ssl.create_default_context(cafile=settings.ca_file or None)
        )
        self._local_name = settings.local_name or None
        self._places = asyncio.Semaphore(settings.connections)
        self._idle: list[Connection] = []
        self._reaper: asyncio.TimerHandle | None = None
        self._closed = False

    async def take(self, *, fresh: bool = False) -> Connection:
        """A connection that has said EHLO and is logged in. Raises ConnectError.

        ``fresh``: not a pooled one. The oldest idle one then makes room, so that the bound holds.
        """
        if self._closed:
            raise ConnectError(Phase.CONNECT, "the sender is closed")
        try:
            async with asyncio.timeout(self._settings.connect_timeout):
                await self._places.acquire()
        except TimeoutError:
            raise ConnectError(Phase.CONNECT, "all connections are busy") from None
        try:
            while self._idle and not fresh:
                connection = self._idle.pop()
                if connection.client.is_connected:
                    connection.reused, connection.clean = True, False
                    return connection
            if self._idle:
                _hang_up(self._idle.pop(0))
            return Connection(await self._open())
        except BaseException:
            self._places.release()
            raise

    def give_back(self, connection: Connection) -> None:
        """Kept if it is clean and still connected, else closed."""
        self._places.release()
        if connection.clean and connection.client.is_connected and not self._closed:
            loop = asyncio.get_running_loop()
            connection.idle_since = loop.time()
            self._idle.append(connection)
            if self._reaper is None:
                self._reaper = loop.call_later(self._settings.idle_seconds, self._reap)
        else:
            connection.client.close()

    async def close(self) -> None:
        """Says goodbye on idle connections; those that are out are closed when given back."""
        self._closed = True
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        while self._idle:
            connection = self._idle.pop()
            with contextlib.suppress(aiosmtplib.SMTPException, OSError):
                await connection.client.quit(timeout=1.0)
            connection.client.close()

    def _reap(self) -> None:
        loop = asyncio.get_running_loop()
        self._reaper = None
        oldest = loop.time() - self._settings.idle_seconds
        # Used newest first, so the list is in order of idle_since.
        while self._idle and self._idle[0].idle_since <= oldest:
            _hang_up(self._idle.pop(0))
        if self._idle:
            self._reaper = loop.call_later(self._idle[0].idle_since - oldest, self._reap)

    async def _open(self) -> aiosmtplib.SMTP:
        settings = self._settings
        client = aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port,
            use_tls=settings.tls is Tls.TLS,
            # Never None: the library's default would go on in clear where STARTTLS is not offered.
            start_tls=False,
            tls_context=self._tls,
            local_hostname=self._local_name,
            timeout=settings.command_timeout,
        )
        phase = Phase.CONNECT
        try:
            await client.connect(timeout=settings.connect_timeout)
            # Asking the resolver for this machine's name once is enough.
            self._local_name = client.local_hostname
            phase = Phase.HELLO
            if settings.tls is Tls.STARTTLS:
                await client.starttls()
            await client.ehlo()
            if settings.username:
                phase = Phase.AUTH
                password = settings.password.reveal() if settings.password else ""
                await client.login(settings.username, password)
            return client
        except aiosmtplib.SMTPResponseException as error:
            client.close()
            raise ConnectError(phase, error.message, error.code) from None
        except (aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPTimeoutError, OSError) as error:
            client.close()
            # A connection lost during AUTH says nothing about the password.
            lost = Phase.HELLO if phase is Phase.AUTH else phase
            raise ConnectError(lost, type(error).__name__) from None
        except Exception as error:  # noqa: BLE001 - TLS, AUTH and STARTTLS raise many kinds
            client.close()
            raise ConnectError(phase, f"{type(error).__name__} {error}") from None
        except asyncio.CancelledError:
            client.close()
            raise


def _hang_up(connection: Connection) -> None:
    """QUIT without waiting for the answer: closing a transport writes what is buffered first."""
    client = connection.client
    if client.protocol is not None and client.is_connected:
        with contextlib.suppress(aiosmtplib.SMTPException, OSError):
            client.protocol.write(b"QUIT\r\n")
    client.close()
