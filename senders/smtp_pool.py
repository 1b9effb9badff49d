"""Reused SMTP connections: bounded, the newest first, closed when idle."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiosmtplib

from senders.outcomes import Phase
from senders.settings import SmtpSettings, Tls


class RefusedError(Exception):
    """The server said no: in which phase, and in which words. The connection, if it stands, is clean."""

    def __init__(self, phase: Phase, code: int, text: str) -> None:
        super().__init__(f"{phase}: {code} {text}")
        self.phase = phase
        self.code = code
        self.text = text


class ConnectError(Exception):
    """Nothing was sent, and the server gave no reason. ``phase`` is how far it came."""

    def __init__(self, phase: Phase, text: str) -> None:
        super().__init__(f"{phase}: {text}")
        self.phase = phase


Login = Callable[[aiosmtplib.SMTP], Awaitable[object]]
"""Logs in on a connection that has said EHLO. What it raises besides aiosmtplib's errors is a
``LoginError``, or counts as one."""


class LoginError(Exception):
    """There is nothing to log in with. Passed on as it is."""


@dataclass(slots=True, eq=False)
class Connection:
    client: aiosmtplib.SMTP
    reused: bool = False
    clean: bool = False
    """Between two transactions: whoever took it says so before giving it back."""
    idle_since: float = 0.0


class Pool:
    """``take`` and ``give_back`` in pairs. At most ``settings.connections`` are out or open.

    ``login``: instead of the name and the password of the settings. ``tls``: made of the same settings, for
    many pools of one server: a context takes milliseconds and holds all authorities of the system.
    """

    def __init__(
        self, settings: SmtpSettings, login: Login | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self._settings = settings
        self._login = login or (self._by_password if settings.username else None)
        self._tls = tls or tls_context(settings)
        self._local_name = settings.local_name or None
        self._places = asyncio.Semaphore(settings.connections)
        self._idle: list[Connection] = []
        self._reaper: asyncio.TimerHandle | None = None
        self._closed = False

    async def take(self, *, fresh: bool = False) -> Connection:
        """A connection that has said EHLO and is logged in. Raises RefusedError, ConnectError or LoginError.

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

    def drop_idle(self) -> None:
        """Idle connections go, those that are out stay."""
        while self._idle:
            _hang_up(self._idle.pop())

    def _reap(self) -> None:
        loop = asyncio.get_running_loop()
        self._reaper = None
        oldest = loop.time() - self._settings.idle_seconds
        # Used newest first, so the list is in order of idle_since.
        while self._idle and self._idle[0].idle_since <= oldest:
            _hang_up(self._idle.pop(0))
        if self._idle:
            self._reaper = loop.call_later(self._idle[0].idle_since - oldest, self._reap)

    async def _by_password(self, client: aiosmtplib.SMTP) -> None:
        password = self._settings.password
        await client.login(self._settings.username, password.reveal() if password else "")

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
            if self._login is not None:
                phase = Phase.AUTH
                await self._login(client)
            return client
        except LoginError:
            client.close()
            raise
        except aiosmtplib.SMTPResponseException as error:
            client.close()
            if error.code > 0:
                raise RefusedError(phase, error.code, error.message) from None
            raise ConnectError(_lost(phase), f"{error.code} {error.message}") from None
        except (aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPTimeoutError, OSError) as error:
            client.close()
            raise ConnectError(_lost(phase), type(error).__name__) from None
        except Exception as error:  # noqa: BLE001 - TLS, AUTH and STARTTLS raise many kinds
            client.close()
            raise ConnectError(phase, f"{type(error).__name__} {error}") from None
        except asyncio.CancelledError:
            client.close()
            raise


def tls_context(settings: SmtpSettings) -> ssl.SSLContext | None:
    """Checks certificates and host names; None: in clear."""
    if settings.tls is Tls.NONE:
        return None
    return ssl.create_default_context(cafile=settings.ca_file or None)


def _lost(phase: Phase) -> Phase:
    """A connection lost during AUTH says nothing about the password."""
    return Phase.HELLO if phase is Phase.AUTH else phase


def _hang_up(connection: Connection) -> None:
    """QUIT without waiting for the answer: closing a transport writes what is buffered first."""
    client = connection.client
    if client.protocol is not None and client.is_connected:
        with contextlib.suppress(aiosmtplib.SMTPException, OSError):
            client.protocol.write(b"QUIT\r\n")
    client.close()
