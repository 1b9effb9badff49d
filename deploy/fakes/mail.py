"""A local mail server that keeps what it gets as ``.eml`` files, with faults on demand at every phase.

SMTP as RFC 5321 has it, with STARTTLS (or TLS from the start), AUTH PLAIN, LOGIN and XOAUTH2, 8BITMIME,
SMTPUTF8 and enhanced status codes. It relays nothing. Besides: ``XCONTROL {...}`` (see ``control``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
import time
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from deploy.fakes.ledger import Entry, Ledger
from deploy.fakes.sms import reset

LARGEST = 25 * 1024 * 1024

_PATH = re.compile(r"(?:FROM|TO):\s*<([^<>\s]*)>((?:\s+\S+)*)\s*$", re.IGNORECASE)

_XOAUTH2 = re.compile(r"user=([^\x01]+)\x01auth=Bearer ([^\x01]+)\x01\x01")


class At(StrEnum):
    """Where a fault strikes: instead of the answer to this."""

    CONNECT = "connect"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BODY = "body"
    """Before the body is read."""
    DOT = "dot"
    """The body has been read to its final dot; not kept."""
    KEPT = "kept"
    """The same, and the message has been kept."""
    IDLE = "idle"
    """After the answer to a message that was kept: a connection that goes stale."""
    RSET = "rset"


class Fault(StrEnum):
    REPLY = "reply"
    """Answers ``text``."""
    DROP_REPLY = "drop_reply"
    """Answers ``text`` and hangs up."""
    CLOSE = "close"
    RESET = "reset"
    HANG = "hang"
    """Never answers."""
    DELAY = "delay"
    """Answers as usual after ``seconds``."""
    HOLD = "hold"
    """Answers as usual when ``control`` is asked to ``release``."""


@dataclass(slots=True, kw_only=True)
class Behaviour:
    """``fault`` for the next ``times`` occasions (0: all), for ``to`` only if given (from RCPT on)."""

    at: At
    fault: Fault
    text: str = ""
    times: int = 1
    to: str = ""
    seconds: float = 0.0


class _HangUpError(Exception):
    """This connection ends here."""


@dataclass(slots=True, kw_only=True)
class MailFake:
    """``now`` is milliseconds since the epoch and stamps the ledger. With ``tls`` STARTTLS is offered, or,
    if ``implicit``, TLS is spoken from the start. With ``users`` (name to password) or ``bearer`` (is this
    the name's access token?) AUTH is asked for."""

    now: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    folder: Path | None = None
    tls: ssl.SSLContext | None = None
    implicit: bool = False
    users: dict[str, str] = field(default_factory=dict)
    bearer: Callable[[str, str], bool] | None = None
    smtputf8: bool = True
    behaviours: list[Behaviour] = field(default_factory=list)

    ledger: Ledger = field(init=False)
    connections: int = 0
    """So far."""
    open: int = 0
    held: int = 0
    """Sessions that wait for their release."""
    most_open: int = 0
    commands: list[str] = field(default_factory=list)
    """The last 1,000 verbs."""
    host: str = ""
    port: int = 0
    _server: asyncio.Server | None = None
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.folder / "mail.jsonl" if self.folder is not None else None)

    @property
    def ports(self) -> Mapping[str, int]:
        return {}

    @property
    def messages(self) -> list[Entry]:
        """``from``, ``to`` (a list), ``at``, ``user`` (who logged in), ``utf8``, ``data`` (the source)."""
        return self.ledger.entries

    def script(self, at: At, fault: Fault, text: str = "", **details: Any) -> None:
        self.behaviours.append(Behaviour(at=at, fault=fault, text=text, **details))

    def control(self, text: str) -> str:
        """The reply to ``{"behaviours": [{"at": ..., "fault": ..., ...}], "clear": true, "release": true}``;
        each is optional."""
        try:
            self.obey(json.loads(text))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            return f"501 5.5.4 {error}"
        return "250 " + json.dumps({"behaviours": len(self.behaviours), "held": self.held})

    def obey(self, wish: Mapping[str, Any]) -> None:
        """The object of ``control``. Raises AttributeError, KeyError, TypeError or ValueError."""
        if wish.get("clear"):
            self.behaviours.clear()
        if wish.get("release"):
            self.release.set()
            self.release = asyncio.Event()
        for one in wish.get("behaviours", ()):
            more = {key: value for key, value in one.items() if key not in {"at", "fault"}}
            self.script(At(one["at"]), Fault(one["fault"]), **more)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._server = await asyncio.start_server(
            self._accept, host, port, limit=LARGEST, ssl=self.tls if self.implicit else None
        )
        address = self._server.sockets[0].getsockname()
        self.host, self.port = address[0], address[1]

    async def stop(self) -> None:
        self._stopping.set()
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.ledger.close()

    async def until(self, fits: Callable[[MailFake], bool], timeout: float = 10.0) -> None:
        """Waits until connections or commands have changed so that ``fits``. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            while not fits(self):
                self._changed.clear()
                await self._changed.wait()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        self._changed.set()
        try:
            await _Session(self, reader, writer).run()
        except (
            _HangUpError,
            ConnectionError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
            ssl.SSLError,
        ):
            pass
        except asyncio.CancelledError:
            if not self._stopping.is_set():
                raise
        finally:
            self._tasks.discard(task)
            self.open -= 1
            self._changed.set()
            writer.close()

    def note(self, verb: str) -> None:
        self.commands.append(verb)
        del self.commands[:-1000]
        self._changed.set()

    def keep(self, sender: str, recipients: list[str], data: bytes, *, utf8: bool, user: str = "") -> None:
        if self.folder is not None:
            number = len(self.ledger.entries) + 1
            (self.folder / f"{number:06}.eml").write_bytes(data)
        self.ledger.append(
            {
                "from": sender,
                "to": recipients,
                "at": self.now(),
                "user": user,
                "utf8": utf8,
                "data": data.decode("utf-8", "backslashreplace"),
            }
        )

    def next(self, at: At, to: str) -> Behaviour | None:
        for behaviour in self.behaviours:
            if behaviour.at is at and behaviour.to in ("", to):
                if behaviour.times == 1:
                    self.behaviours.remove(behaviour)
                elif behaviour.times > 1:
                    behaviour.times -= 1
                return behaviour
        return None

    async def stopped(self) -> None:
        await self._stopping.wait()


class _Session:
    """One connection."""

    def __init__(self, server: MailFake, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._secure = server.implicit
        self._user = ""
        self._clear()

    def _clear(self) -> None:
        self._sender: str | None = None
        self._recipients: list[str] = []
        self._utf8 = False

    async def run(self) -> None:
        await self._reply("220 localhost ESMTP", At.CONNECT)
        while True:
            line = (await self._reader.readuntil(b"\r\n")).decode("utf-8", "surrogateescape").rstrip("\r\n")
            verb, _, rest = line.partition(" ")
            self._server.note(verb.upper())
            match verb.upper():
                case "EHLO" | "HELO":
                    self._clear()
                    await self._reply(self._greeting(verb.upper()), At.EHLO)
                case "STARTTLS":
                    await self._start_tls()
                case "AUTH":
                    await self._authenticate(rest)
                case "MAIL":
                    await self._mail(rest)
                case "RCPT":
                    await self._rcpt(rest)
                case "DATA":
                    await self._data()
                case "RSET":
                    self._clear()
                    await self._reply("250 2.0.0 OK", At.RSET)
                case "NOOP":
                    await self._reply("250 2.0.0 OK")
                case "QUIT":
                    await self._reply("221 2.0.0 Bye")
                    return
                case "XCONTROL":
                    await self._reply(self._server.control(rest))
                case _:
                    await self._reply("502 5.5.2 Unknown command")

    def _greeting(self, verb: str) -> str:
        if verb == "HELO":
            return "250 localhost"
        lines = ["localhost", "8BITMIME", "ENHANCEDSTATUSCODES", f"SIZE {LARGEST}"]
        if self._server.smtputf8:
            lines.append("SMTPUTF8")
        if self._server.tls is not None and not self._secure:
            lines.append("STARTTLS")
        if methods := self._methods():
            lines.append(f"AUTH {methods}")
        return "\r\n".join([*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}"])

    def _methods(self) -> str:
        password = "PLAIN LOGIN" if self._server.users else ""
        return f"{password} XOAUTH2".strip() if self._server.bearer is not None else password

    async def _start_tls(self) -> None:
        if self._server.tls is None or self._secure:
            await self._reply("503 5.5.1 STARTTLS is not possible now")
            return
        if await self._reply("220 2.0.0 Go ahead", At.STARTTLS):
            await self._writer.start_tls(self._server.tls)
            self._secure = True
            self._clear()

    async def _authenticate(self, rest: str) -> None:
        method, _, first = rest.partition(" ")
        try:
            if method.upper() == "PLAIN":
                _, name, password = (_decoded(first) if first else await self._ask("")).split("\0")
            elif method.upper() == "LOGIN":
                name = _decoded(first) if first else await self._ask("VXNlcm5hbWU6")
                password = await self._ask("UGFzc3dvcmQ6")
            elif method.upper() == "XOAUTH2" and self._server.bearer is not None:
                await self._by_token(_decoded(first), self._server.bearer)
                return
            else:
                await self._reply("504 5.5.4 Unknown method")
                return
        except ValueError:
            await self._reply("501 5.5.2 Not base64")
            return
        if self._server.users.get(name) == password:
            if await self._reply("235 2.7.0 Authenticated", At.AUTH):
                self._user = name
        else:
            await self._reply("535 5.7.8 Wrong name or password", At.AUTH)

    async def _by_token(self, said: str, bearer: Callable[[str, str], bool]) -> None:
        """https://developers.google.com/workspace/gmail/imap/xoauth2-protocol: a refusal comes as a challenge
        first, which the client answers with an empty line."""
        match = _XOAUTH2.fullmatch(said)
        if match is not None and bearer(match[1], match[2]):
            if await self._reply("235 2.7.0 Accepted", At.AUTH):
                self._user = match[1]
            return
        challenge = b64encode(b'{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}')
        await self._ask(challenge.decode())
        await self._reply("535 5.7.8 Username and Password not accepted. For more information", At.AUTH)

    async def _ask(self, prompt: str) -> str:
        self._writer.write(f"334 {prompt}\r\n".encode())
        return _decoded((await self._reader.readuntil(b"\r\n")).decode("ascii").strip())

    async def _mail(self, rest: str) -> None:
        match = _PATH.match(rest)
        if self._methods() and not self._user:
            await self._reply("530 5.7.0 Authentication required")
        elif match is None:
            await self._reply("501 5.1.7 Bad sender address syntax")
        elif self._sender is not None:
            await self._reply("503 5.5.1 Nested MAIL")
        else:
            utf8 = "SMTPUTF8" in match[2].upper().split()
            if not match[1].isascii() and not utf8:
                await self._reply("553 5.6.7 SMTPUTF8 was not asked for")
            elif await self._reply("250 2.1.0 OK", At.MAIL):
                self._sender, self._utf8 = match[1], utf8

    async def _rcpt(self, rest: str) -> None:
        match = _PATH.match(rest)
        if self._sender is None:
            await self._reply("503 5.5.1 MAIL first")
        elif match is None or not match[1]:
            await self._reply("501 5.1.3 Bad recipient address syntax")
        elif not match[1].isascii() and not self._utf8:
            await self._reply("553 5.6.7 SMTPUTF8 was not asked for")
        elif await self._reply("250 2.1.5 OK", At.RCPT, match[1]):
            self._recipients.append(match[1])

    async def _data(self) -> None:
        if not self._recipients:
            await self._reply("503 5.5.1 RCPT first")
            return
        to = self._recipients[0]
        if not await self._reply("354 End with a dot", At.DATA, to):
            return
        await self._fault(At.BODY, to)
        # The end is a line that is a dot: CRLF, dot, CRLF, where the first CRLF may be that of DATA itself.
        data = b"\r\n"
        while not data.endswith(b"\r\n.\r\n"):
            data += await self._reader.readuntil(b".\r\n")
            if len(data) > LARGEST:
                raise _HangUpError
        data = data[:-3].replace(b"\r\n.", b"\r\n")[2:]
        if await self._fault(At.DOT, to):
            self._clear()
            return
        self._server.keep(self._sender or "", self._recipients, data, utf8=self._utf8, user=self._user)
        self._clear()
        await self._reply(f"250 2.0.0 OK: queued as {len(self._server.messages)}", At.KEPT, to)
        await self._fault(At.IDLE, to)

    async def _reply(self, text: str, at: At | None = None, to: str = "") -> bool:
        """Whether this was said, and not what a script has instead."""
        if at is not None and await self._fault(at, to):
            return False
        self._writer.write(text.encode() + b"\r\n")
        await self._writer.drain()
        return True

    async def _fault(self, at: At, to: str) -> bool:
        """Whether an answer was given already."""
        behaviour = self._server.next(at, to)
        if behaviour is None:
            return False
        match behaviour.fault:
            case Fault.DELAY:
                await asyncio.sleep(behaviour.seconds)
                return False
            case Fault.HOLD:
                self._server.held += 1
                try:
                    await self._server.release.wait()
                finally:
                    self._server.held -= 1
                return False
            case Fault.HANG:
                # Nor reads on: whoever is sending a large body gets stuck, as with a machine that is gone.
                transport = self._writer.transport
                assert isinstance(transport, asyncio.ReadTransport)
                transport.pause_reading()
                await self._server.stopped()
            case Fault.RESET:
                reset(self._writer.transport)
            case Fault.REPLY | Fault.DROP_REPLY:
                self._writer.write(behaviour.text.encode() + b"\r\n")
                await self._writer.drain()
                if behaviour.fault is Fault.REPLY:
                    return True
            case Fault.CLOSE:
                pass
        raise _HangUpError


def _decoded(text: str) -> str:
    try:
        return b64decode(text, validate=True).decode()
    except (Base64Error, UnicodeDecodeError):
        raise ValueError("not base64") from None


if __name__ == "__main__":
    from deploy.fakes.process import main

    with contextlib.suppress(KeyboardInterrupt):
        main("mail", lambda folder, now: MailFake(folder=folder, now=now))
