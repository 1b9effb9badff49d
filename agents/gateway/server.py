"""The gateway's HTTP side: two listeners, one for the world and one for those who operate it.

``POST /v1/sms/status/<token>``, ``POST /v1/sms/incoming`` (Twilio); ``GET`` and ``POST
/v1/unsubscribe/<token>`` (customers and their mail programs, RFC 8058). On the other: ``/live``, ``/ready``,
``/metrics``. An answer of 2xx says that the brokers have acknowledged what came; 503 asks for it again.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from aiohttp import web

from agents.gateway import page
from agents.gateway.directory import Directory
from agents.gateway.events import Happening, of_receipt, of_text, of_unsubscription
from agents.gateway.limits import Refusals, client_of
from agents.gateway.metrics import GatewayMetrics
from agents.gateway.post import NotTakenError, Post
from agents.listening import Listeners, Operators
from schemas.records import Channel, EventStatus
from senders.http_sms_hooks import HttpSmsHooks
from senders.receipts import HookError, Receipt
from senders.twilio_hooks import SIGNATURE, TwilioHooks, answer_to_text, receipt_of, text_of
from streams.clock import Clock
from streams.domain.answers import answer
from streams.domain.links import Links, Purpose

log = logging.getLogger(__name__)

LARGEST = 64 * 1024
"""Bytes of a request's body; Twilio's have two thousand."""

AT_ONCE = 512
"""Requests; those beyond are asked to come again."""

_BODY_WITHIN = 10.0
"""Seconds for a body to arrive; Twilio gives up on us after fifteen."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the server works with. ``hooks`` None: Twilio is not set, and what it posts is not found;
    ``described`` None: no other SMS provider posts receipts."""

    post: Post
    links: Links
    hooks: TwilioHooks | None
    described: HttpSmsHooks | None = None
    directory: Directory
    clock: Clock
    metrics: GatewayMetrics
    not_ready: Callable[[], list[str]]
    not_live: Callable[[], list[str]]
    on_fatal: Callable[[], None]
    """Nothing more can be written by this process."""
    own_answers: bool = False
    """STOP, START and HELP are answered by us, not by the provider."""
    proxies: int = 0


class Gateway:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._refusals = Refusals(time.monotonic)
        self._busy = 0
        self._listeners = Listeners()

    async def start(self, host: str, port: int, web_host: str, web_port: int) -> tuple[int, int]:
        """The two ports that it listens on (0: a free one)."""
        world = web.Application(client_max_size=LARGEST, middlewares=[self._guard])
        world.router.add_post(Purpose.RECEIPT + "{token}", self._receipt, name="receipt")
        world.router.add_post("/v1/sms/incoming", self._text, name="text")
        world.router.add_get(Purpose.UNSUBSCRIBE + "{token}", self._ask, name="ask")
        world.router.add_post(Purpose.UNSUBSCRIBE + "{token}", self._unsubscribe, name="unsubscribe")
        parts = self._parts
        inside = Operators(parts.not_live, parts.not_ready, parts.metrics.registry, parts.metrics.ready)
        world_port = await self._listeners.add(world, host, port)
        return world_port, await self._listeners.add(inside.application(), web_host, web_port)

    async def stop(self) -> None:
        """What is being served is finished."""
        await self._listeners.stop()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Counts; and whatever is refused tells a client who is often refused nothing but that."""
        name = request.match_info.route.name or "other"
        if self._busy >= AT_ONCE:
            response: web.StreamResponse = _later()
        else:
            self._busy += 1
            try:
                response = await handler(request)
            except web.HTTPException as error:
                response = web.Response(status=error.status, text=error.reason, headers=_allow(error))
            except NotTakenError as error:
                if error.fatal:
                    self._parts.on_fatal()
                response = _later()
            except Exception as error:  # noqa: BLE001 - what is wrong here is known when it happens
                # A flaw of ours must not cost a receipt or a STOP: whoever posted it may come again, perhaps
                # to a mended release. Of the error its text is left out, and with it the traceback: it may
                # quote an address, or the path with its key.
                log.error("a request for %s failed: %s in %s", name, type(error).__name__, _place(error))  # noqa: TRY400 - as above
                response = _later()
            finally:
                self._busy -= 1
        if 400 <= response.status < 500 and self._refusals.too_many(self._client(request)):
            response = web.Response(status=429, headers={"Retry-After": "60"})
        self._parts.metrics.requests.labels(name, str(response.status)).inc()
        return response

    # --- the SMS provider

    async def _receipt(self, request: web.Request) -> web.Response:
        """Of whichever provider the message went by: both were told the same address."""
        described = self._parts.described
        try:
            if described is not None and SIGNATURE not in request.headers:
                receipt = await self._of_described(request, described)
            else:
                receipt = receipt_of(await self._genuine(request))
        except HookError as error:
            raise web.HTTPBadRequest(reason=str(error)) from None
        ref = self._parts.links.open(Purpose.RECEIPT, request.match_info["token"])
        if ref is None:
            raise web.HTTPNotFound
        if receipt is not None:
            lasting = self._parts.directory.lasting(ref.company, Channel.SMS, receipt.to)
            await self._take([of_receipt(receipt, ref, self._parts.clock.now(), lasting)])
        return web.Response(status=204)

    async def _of_described(self, request: web.Request, hooks: HttpSmsHooks) -> Receipt | None:
        """Raises HookError."""
        try:
            async with asyncio.timeout(_BODY_WITHIN):
                body = await request.read()
        except TimeoutError:
            raise web.HTTPRequestTimeout from None
        if not hooks.genuine(request.headers, body):
            log.warning("a receipt was not signed as the description of the provider says")
            raise web.HTTPForbidden
        return hooks.receipt_of(body)

    async def _text(self, request: web.Request) -> web.Response:
        form = await self._genuine(request)
        try:
            text = text_of(form)
        except HookError as error:
            raise web.HTTPBadRequest(reason=str(error)) from None
        reasons = self._parts.not_ready()
        if reasons:  # companies that we have not read of may have the number too
            raise NotTakenError(reasons[0], fatal=False)
        companies = self._parts.directory.of_number(text.to, text.service)
        if not companies:
            # Not 4xx: the provider would not come again, and shows our answer as an error to its owner.
            self._parts.metrics.strays.inc()
            log.error("a text (%s) came to a number that no company has as its sms_sender", text.word)
        now = self._parts.clock.now()
        directory = self._parts.directory
        await self._take(
            [
                of_text(text, company.id, now, directory.lasting(company.id, Channel.SMS, text.sender))
                for company in companies
            ]
        )
        said = ""
        if companies and self._parts.own_answers:
            # Not by way of the senders: what confirms a STOP must not be stopped by it.
            first = companies[0]
            said = answer(text.word, first.name, [first.language], first.sms_help)
        return web.Response(text=answer_to_text(said), content_type="application/xml")

    async def _genuine(self, request: web.Request) -> Mapping[str, str]:
        """The form of a request that the provider has signed."""
        hooks = self._parts.hooks
        if hooks is None:
            raise web.HTTPNotFound
        if request.content_type != "application/x-www-form-urlencoded":
            raise web.HTTPUnsupportedMediaType
        form = await _form(request)
        if not hooks.genuine(request.raw_path, form, request.headers.get(SIGNATURE, "")):
            log.warning("a request for %s was not signed by the SMS provider", request.match_info.route.name)
            raise web.HTTPForbidden
        return form

    # --- customers

    async def _ask(self, request: web.Request) -> web.Response:
        """Changes nothing: mail scanners and link previews come here too."""
        ref = self._parts.links.open(Purpose.UNSUBSCRIBE, request.match_info["token"])
        if ref is None:
            return _html(404, page.unknown(self._language(request, "")))
        return _html(200, page.question(self._language(request, ref.company), self._name(ref.company)))

    async def _unsubscribe(self, request: web.Request) -> web.Response:
        ref = self._parts.links.open(Purpose.UNSUBSCRIBE, request.match_info["token"])
        if ref is None:
            return _html(404, page.unknown(self._language(request, "")))
        form = await _form(request)
        if form.get("List-Unsubscribe") == "One-Click":
            way = EventStatus.ONE_CLICK
        elif form.get("confirm") == "page":
            way = EventStatus.PAGE
        else:
            raise web.HTTPBadRequest(reason="List-Unsubscribe=One-Click is expected")
        language = self._language(request, ref.company)
        try:
            lasting = self._parts.directory.lasting(ref.company, Channel.EMAIL, ref.address)
            await self._take([of_unsubscription(ref, way, self._parts.clock.now(), lasting)])
        except NotTakenError as error:
            if error.fatal:
                self._parts.on_fatal()
            return _html(503, page.later(language), {"Retry-After": "60"})
        return _html(200, page.done(language, self._name(ref.company)))

    def _name(self, company: str) -> str:
        found = self._parts.directory.company(company)
        return found.name if found is not None else company

    def _language(self, request: web.Request, company: str) -> str:
        found = self._parts.directory.company(company)
        own = found.language if found is not None else ""
        return page.language_of(request.headers.get("Accept-Language", "")[:500], own)

    # --- all of them

    async def _take(self, happenings: Sequence[Happening]) -> None:
        new = await self._parts.post.take(happenings)
        metrics = self._parts.metrics
        metrics.repeats.inc(len(happenings) - len(new))
        for one in new:
            metrics.events.labels(f"{one.event.event}.{one.event.status}").inc()

    def _client(self, request: web.Request) -> str:
        forwarded = ",".join(request.headers.getall("X-Forwarded-For", ()))
        return client_of(request.remote or "", forwarded, self._parts.proxies)


async def _form(request: web.Request) -> Mapping[str, str]:
    """A multi-mapping; a field of a multipart form may also be a file, which equals no text. Raises aiohttp's
    400, 408 and 413."""
    try:
        async with asyncio.timeout(_BODY_WITHIN):
            return cast("Mapping[str, str]", await request.post())
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    except (ValueError, LookupError):  # bytes or a charset that are none
        raise web.HTTPBadRequest(reason="the form can't be read") from None


def _place(error: Exception) -> str:
    """Where it was raised, and who had called."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return ", called in ".join(
        f"{frame.name} ({Path(frame.filename).name}:{frame.lineno})" for frame in reversed(frames)
    )


def _later() -> web.Response:
    return web.Response(status=503, headers={"Retry-After": "5"})


def _html(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    more = {**page.HEADERS, **(headers or {})}
    return web.Response(status=status, text=text, content_type="text/html", headers=more)


def _allow(error: web.HTTPException) -> dict[str, str]:
    allow = error.headers.get("Allow")
    return {"Allow": allow} if allow else {}
