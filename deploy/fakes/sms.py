"""A local SMS provider that speaks the API of Twilio's messages, with faults on demand.

``POST /2010-04-01/Accounts/{sid}/Messages.json`` (form), ``GET`` of the list (To, From, DateSent, paging) and
of one message, as https://www.twilio.com/docs/messaging/api/message-resource describes them. Besides:
``/`` a page of what was accepted, ``/_messages`` the same as JSON, ``POST /_control`` (see ``control``).
"""

from __future__ import annotations

import asyncio
import html
import re
import secrets
import socket
import struct
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from deploy.fakes.callbacks import Callbacks
from deploy.fakes.ledger import Entry, Ledger

ACCOUNT = "AC00000000000000000000000000000000"
TOKEN = "local-token"  # noqa: S105 - of a server that keeps what it gets

_E164 = re.compile(r"\+[1-9]\d{6,14}")
_SENDER = re.compile(r"\+[1-9]\d{2,14}|MG[0-9a-fA-F]{32}|[A-Za-z0-9 ]{1,11}")
_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_TWICE = frozenset("\f^{}\\[~]|€")


class Fault(StrEnum):
    """What happens to a request instead of, or besides, being served."""

    DELAY = "delay"
    """Served after ``seconds``."""
    HOLD = "hold"
    """Served when ``control`` is asked to ``release``, whoever is still there to hear of it."""
    REFUSE = "refuse"
    """Not accepted: ``status`` and ``code`` as JSON, with Retry-After if ``retry_after`` is not empty."""
    PROBLEM = "problem"
    """The same as an RFC 9457 body."""
    HTML = "html"
    """Not accepted: ``status`` with a page that is not JSON."""
    HANG = "hang"
    """Not accepted, never answered."""
    ACCEPT_HANG = "accept_hang"
    ACCEPT_RESET = "accept_reset"
    """Accepted, then the connection is reset."""
    ACCEPT_ERROR = "accept_error"
    """Accepted, then answered with ``status`` as a page."""
    ACCEPT_GARBAGE = "accept_garbage"
    """Accepted, answered 201 with what is not JSON."""
    ACCEPT_EMPTY = "accept_empty"
    """Accepted, answered 201 without a body."""


@dataclass(slots=True, kw_only=True)
class Behaviour:
    """``fault`` for the next ``times`` requests (0: all) with this ``method`` and, if given, to ``to``."""

    fault: Fault
    times: int = 1
    method: str = "POST"
    to: str = ""
    status: int = 503
    code: int = 0
    message: str = "scripted"
    retry_after: str = ""
    seconds: float = 0.0


@dataclass(slots=True, kw_only=True)
class SmsFake:
    """One account. ``now`` is milliseconds since the epoch and stamps the dates."""

    account: str = ACCOUNT
    token: str = TOKEN
    now: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    folder: Path | None = None
    behaviours: list[Behaviour] = field(default_factory=list)
    opted_out: set[str] = field(default_factory=set)
    invalid: set[str] = field(default_factory=set)
    listed: bool = True
    """False: the list does not show anything yet (it lags behind)."""
    receipts: tuple[str, ...] = ()
    """Statuses that are posted for each message that is accepted and has an address for them."""

    requests: int = 0
    held: int = 0
    """Requests that wait for their release."""
    most_connections: int = 0
    ledger: Ledger = field(init=False)
    callbacks: Callbacks = field(init=False)
    host: str = ""
    port: int = 0
    _runner: web.AppRunner | None = None
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _release: asyncio.Event = field(default_factory=asyncio.Event)
    _posting: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.folder / "sms.jsonl" if self.folder is not None else None)
        self.callbacks = Callbacks(account=self.account, token=self.token)

    @property
    def ports(self) -> Mapping[str, int]:
        return {}

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def messages(self) -> list[Entry]:
        """The accepted ones, oldest first, as the API shows them."""
        return self.ledger.entries

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        app = web.Application()
        app.add_routes(self.routes())
        app.add_routes(
            [
                web.post("/_control", self._control),
                web.get("/_messages", self._dump),
                web.get("/", self._page),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        address = self._runner.addresses[0]
        self.host, self.port = address[0], address[1]

    def routes(self) -> list[web.RouteDef]:
        """The API itself."""
        base = "/2010-04-01/Accounts/{account}/Messages"
        return [
            web.post(base + ".json", self._create),
            web.get(base + ".json", self._list),
            web.get(base + "/{sid}.json", self._fetch),
        ]

    async def stop(self) -> None:
        self._stopping.set()
        for task in self._posting:
            task.cancel()
        await asyncio.gather(*self._posting, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()
        self.ledger.close()

    def script(self, fault: Fault, **details: Any) -> None:
        self.behaviours.append(Behaviour(fault=fault, **details))

    def keep(self, to: str, sender: str, body: str, **changes: Any) -> Entry:
        """A message that was accepted some other way (a decoy for those who ask)."""
        return self.ledger.append({**self._resource(to, sender, body), **changes})

    # --- the API ---------------------------------------------------------------------------------------

    async def _create(self, request: web.Request) -> web.StreamResponse:
        form = {key: str(value) for key, value in (await request.post()).items()}
        refusal = self._authorised(request)
        if refusal is not None:
            return refusal
        to, body = form.get("To", ""), form.get("Body", "")
        behaviour = self._next(request.method, to)
        answer = await self._before(behaviour)
        if answer is None:
            answer = self._validate(form)
        if answer is not None:
            return answer
        sender = form.get("MessagingServiceSid") or form.get("From", "")
        extra = {key: form[name] for key, name in _KEPT.items() if name in form}
        entry = self.ledger.append({**self._resource(to, sender, body), **extra})
        if self.receipts and "status_callback" in entry:
            task = asyncio.create_task(self._tell(entry))
            self._posting.add(task)
            task.add_done_callback(self._posting.discard)
        return await self._after(behaviour, request, entry)

    async def _tell(self, entry: Entry) -> None:
        for status in self.receipts:
            await self.callbacks.receipt(entry, status)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        refusal = self._authorised(request)
        if refusal is not None:
            return refusal
        query = request.query
        answer = await self._before(self._next(request.method, query.get("To", "")))
        if answer is not None:
            return answer
        found = [entry for entry in reversed(self.ledger.entries) if _wanted(entry, query)]
        size = max(1, min(int(query.get("PageSize", "50")), 1000))
        page = int(query.get("Page", "0"))
        shown = found[page * size : (page + 1) * size] if self.listed else []
        more = self.listed and (page + 1) * size < len(found)
        following = urlencode({**query, "PageSize": size, "Page": page + 1, "PageToken": f"PA{page + 1}"})
        return web.json_response(
            {
                "messages": [_public(entry) for entry in shown],
                "page": page,
                "page_size": size,
                "start": page * size,
                "end": page * size + max(0, len(shown) - 1),
                "uri": request.path_qs,
                "first_page_uri": request.path,
                "previous_page_uri": None,
                "next_page_uri": f"{request.path}?{following}" if more else None,
            }
        )

    async def _fetch(self, request: web.Request) -> web.StreamResponse:
        refusal = self._authorised(request)
        if refusal is not None:
            return refusal
        for entry in self.ledger.entries:
            if entry["sid"] == request.match_info["sid"]:
                return web.json_response(_public(entry))
        return _error(404, 20404, "The requested resource was not found")

    def _authorised(self, request: web.Request) -> web.Response | None:
        self.requests += 1
        if self._runner is not None and self._runner.server is not None:
            self.most_connections = max(self.most_connections, len(self._runner.server.connections))
        wanted = "Basic " + b64encode(f"{self.account}:{self.token}".encode()).decode()
        given = request.headers.get("Authorization", "")
        if not secrets.compare_digest(given, wanted):
            return _error(401, 20003, "Authenticate")
        if request.match_info["account"] != self.account:
            return _error(404, 20404, "The requested resource was not found")
        return None

    def _validate(self, form: Mapping[str, str]) -> web.Response | None:
        to, body = form.get("To", ""), form.get("Body", "")
        sender = form.get("MessagingServiceSid") or form.get("From", "")
        if not to:
            return _error(400, 21604, "A 'To' phone number is required.")
        if not _E164.fullmatch(to) or to in self.invalid:
            return _error(400, 21211, f"The 'To' number {to} is not a valid phone number.")
        if not sender:
            return _error(400, 21603, "A 'From' phone number is required.")
        if not _SENDER.fullmatch(sender):
            return _error(400, 21212, f"The 'From' number {sender} is not a valid phone number.")
        if not body:
            return _error(400, 21602, "Message body is required.")
        if len(body) > 1600:
            return _error(400, 21617, "The concatenated message body exceeds the 1600 character limit.")
        validity = form.get("ValidityPeriod", "36000")
        if not validity.isdecimal() or not 1 <= int(validity) <= 36000:
            return _error(400, 21624, "The ValidityPeriod is not between 1 and 36000.")
        if to in self.opted_out:
            return _error(400, 21610, "Attempt to send to unsubscribed recipient")
        return None

    def _resource(self, to: str, sender: str, body: str) -> Entry:
        sid = "SM" + secrets.token_hex(16)
        now = self.now()
        stamp = format_datetime(datetime.fromtimestamp(now // 1000, UTC))
        service = sender.startswith("MG") and len(sender) == 34
        return {
            "sid": sid,
            "account_sid": self.account,
            "at": now,  # milliseconds: the API's own stamps are whole seconds
            "api_version": "2010-04-01",
            "body": body,
            "date_created": stamp,
            "date_sent": None,
            "date_updated": stamp,
            "direction": "outbound-api",
            "error_code": None,
            "error_message": None,
            "from": None if service else sender,
            "messaging_service_sid": sender if service else None,
            "num_media": "0",
            "num_segments": "0" if service else str(segments_of(body)),
            "price": None,
            "price_unit": "USD",
            "status": "accepted" if service else "queued",
            "subresource_uris": {"media": f"/2010-04-01/Accounts/{self.account}/Messages/{sid}/Media.json"},
            "to": to,
            "uri": f"/2010-04-01/Accounts/{self.account}/Messages/{sid}.json",
        }

    # --- faults ----------------------------------------------------------------------------------------

    def _next(self, method: str, to: str) -> Behaviour | None:
        for behaviour in self.behaviours:
            if behaviour.method == method and behaviour.to in ("", to):
                if behaviour.times == 1:
                    self.behaviours.remove(behaviour)
                elif behaviour.times > 1:
                    behaviour.times -= 1
                return behaviour
        return None

    async def _before(self, behaviour: Behaviour | None) -> web.Response | None:
        """The answer to a request that is not to be served."""
        if behaviour is None:
            return None
        headers = {"Retry-After": behaviour.retry_after} if behaviour.retry_after else {}
        match behaviour.fault:
            case Fault.DELAY:
                await asyncio.sleep(behaviour.seconds)
            case Fault.HOLD:
                self.held += 1
                try:
                    await self._release.wait()
                finally:
                    self.held -= 1
            case Fault.REFUSE:
                code = behaviour.code or behaviour.status
                return _error(behaviour.status, code, behaviour.message, headers)
            case Fault.PROBLEM:
                return web.json_response(
                    {
                        "type": f"https://www.twilio.com/docs/api/errors/{behaviour.code}",
                        "title": behaviour.message,
                        "status": behaviour.status,
                        "code": behaviour.code,
                    },
                    status=behaviour.status,
                    headers=headers,
                    content_type="application/problem+json",
                )
            case Fault.HTML:
                return _web_page(behaviour.status, headers)
            case Fault.HANG:
                await self._stopping.wait()
                return _web_page(503, {})
            case _:
                pass
        return None

    async def _after(
        self, behaviour: Behaviour | None, request: web.Request, entry: Entry
    ) -> web.StreamResponse:
        match behaviour.fault if behaviour is not None else None:
            case Fault.ACCEPT_HANG:
                await self._stopping.wait()
            case Fault.ACCEPT_RESET:
                reset(request.transport)
            case Fault.ACCEPT_ERROR:
                assert behaviour is not None
                return _web_page(behaviour.status, {})
            case Fault.ACCEPT_GARBAGE:
                return web.Response(status=201, text='{"sid": ', content_type="application/json")
            case Fault.ACCEPT_EMPTY:
                return web.Response(status=201)
            case _:
                pass
        return self._accepted(entry)

    def _accepted(self, entry: Entry) -> web.Response:
        return web.json_response(_public(entry), status=201)

    # --- people and tests ------------------------------------------------------------------------------

    async def _control(self, request: web.Request) -> web.Response:
        try:
            wish = await request.json()
            self.control(wish)
            said = await self._write(**wish["text"]) if "text" in wish else {}
        except (TypeError, ValueError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"behaviours": len(self.behaviours), "held": self.held, **said})

    async def _write(self, url: str, sender: str, to: str, body: str) -> dict[str, Any]:
        """Somebody texts one of our numbers."""
        sid = "SM" + secrets.token_hex(16)
        answer = await self.callbacks.text(url, sid, sender, to, body)
        return {"sid": sid, "status": answer.status, "answer": answer.body}

    def control(self, wish: Mapping[str, Any]) -> None:
        """``{"behaviours": [{"fault": ..., ...}], "opted_out": [...], "invalid": [...], "listed": bool,
        "clear": true, "release": true, "receipts": ["sent", "delivered"], "gateway": {"public": URL, "local":
        URL}, "text": {"url": URL, "sender": ..., "to": ..., "body": ...}}``; each is optional. Raises
        TypeError or ValueError."""
        if wish.get("clear"):
            self.behaviours.clear()
            self.opted_out.clear()
            self.invalid.clear()
            self.listed = True
            self.receipts = ()
        if wish.get("release"):
            self._release.set()
            self._release = asyncio.Event()
        for one in wish.get("behaviours", ()):
            self.script(Fault(one["fault"]), **{key: value for key, value in one.items() if key != "fault"})
        self.opted_out.update(wish.get("opted_out", ()))
        self.invalid.update(wish.get("invalid", ()))
        self.listed = bool(wish.get("listed", self.listed))
        self.receipts = tuple(wish.get("receipts", self.receipts))
        if "gateway" in wish:
            self.callbacks.public, self.callbacks.local = wish["gateway"]["public"], wish["gateway"]["local"]

    async def _dump(self, request: web.Request) -> web.Response:
        return web.json_response(self.ledger.entries)

    async def _page(self, request: web.Request) -> web.Response:
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(str(cell or ''))}</td>" for cell in cells) + "</tr>"
            for cells in _cells(reversed(self.ledger.entries[-500:]))
        )
        return web.Response(
            text=(
                "<!doctype html><meta charset=utf-8><title>SMS</title>"
                "<style>body{font:15px sans-serif;margin:2em}td,th{padding:.3em 1em;text-align:left;"
                "vertical-align:top;border-bottom:1px solid #ddd;white-space:pre-wrap}</style>"
                f"<h1>SMS accepted: {len(self.ledger.entries)}</h1>"
                f"<table><tr><th>when<th>from<th>to<th>text<th>segments</tr>{rows}</table>"
            ),
            content_type="text/html",
        )


_KEPT = {
    "status_callback": "StatusCallback",
    "validity_period": "ValidityPeriod",
    "smart_encoded": "SmartEncoded",
}
"""Asked for, never shown by the API."""
_HIDDEN = frozenset({*_KEPT, "at"})


def segments_of(text: str) -> int:
    """GSM-7 or UCS-2 segments, as the provider would bill them."""
    if all(char in _GSM or char in _GSM_TWICE for char in text):
        units, one, each = sum(2 if char in _GSM_TWICE else 1 for char in text), 160, 153
    else:
        units, one, each = len(text.encode("utf-16-le")) // 2, 70, 67
    return 1 if units <= one else -(-units // each)


def reset(transport: asyncio.BaseTransport | None) -> None:
    """Closes with RST: what the peer sees when a machine is gone."""
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert isinstance(transport, asyncio.WriteTransport)
    transport.abort()


def _public(entry: Entry) -> Entry:
    return {key: value for key, value in entry.items() if key not in _HIDDEN}


def _cells(entries: Iterable[Entry]) -> Iterable[tuple[Any, ...]]:
    for entry in entries:
        sender = entry["from"] or entry["messaging_service_sid"]
        yield entry["date_created"], sender, entry["to"], entry["body"], entry["num_segments"]


def _wanted(entry: Entry, query: Mapping[str, str]) -> bool:
    if "To" in query and entry["to"] != query["To"]:
        return False
    if "From" in query and entry["from"] != query["From"]:
        return False
    for name, fits in _COMPARISONS.items():
        if name in query:
            # A message that is still queued has no DateSent and matches no filter of it.
            if not entry["date_sent"]:
                return False
            if not fits(parsedate_to_datetime(entry["date_sent"]), _moment(query[name])):
                return False
    return True


_COMPARISONS: Mapping[str, Callable[[datetime, datetime], bool]] = {
    "DateSent": lambda sent, given: sent.date() == given.date(),
    "DateSent<": lambda sent, given: sent <= given,
    "DateSent>": lambda sent, given: sent >= given,
}


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _error(status: int, code: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response(
        {
            "code": code,
            "message": message,
            "more_info": f"https://www.twilio.com/docs/errors/{code}",
            "status": status,
        },
        status=status,
        headers=headers,
    )


def _web_page(status: int, headers: Mapping[str, str]) -> web.Response:
    return web.Response(
        status=status,
        text=f"<html><body><h1>{status}</h1></body></html>",
        content_type="text/html",
        headers=headers,
    )


if __name__ == "__main__":
    # Run as a script this module is ``__main__``, so nothing above may depend on its name.
    from deploy.fakes.process import main

    main("sms", lambda folder, now: SmsFake(folder=folder, now=now))
