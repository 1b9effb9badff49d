"""The console's HTTP side: the API for the world, and ``/live``, ``/ready``, ``/metrics`` for operators."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
from aiohttp import web

from agents.gateway.limits import Refusals, client_of
from agents.listening import Listeners, Operators
from console.api.calls import PREFIX, Call, Reply, Route
from console.api.doors import COOKIE, Doors, Session, csrf_fits
from console.api.metrics import ConsoleMetrics
from console.api.openapi import describe
from console.api.problems import MEDIA_TYPE, ApiError
from console.api.reading import decode_body, read_body, read_key, read_query, read_version
from console.api.repeats import Answer, Repeats, request_hash
from console.api.routes import ROUTES
from console.service.desk import Desk
from console.service.errors import (
    ChangedError,
    InUseError,
    NotAllowedError,
    NotThereError,
    NotWrittenError,
    RefusedError,
    TooManyError,
    UnconfirmedError,
)
from console.service.people import allowed
from schemas.records import User
from streams.domain.problems import Problem

log = logging.getLogger(__name__)

LARGEST = 1024 * 1024
"""Bytes of a body; a thousand rules of a bulk order have a tenth of it."""
AT_ONCE = 256
"""Requests; those beyond are asked to come again."""
PER_MINUTE = 1_200
"""Requests of one user."""
STRANGERS = 60
"""Requests in a minute, from one client, that come with no good token or session."""

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "carillon",
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_LATER = {"Retry-After": "5"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks, if anybody we know; and by which cookie, if by one."""

    who: User | None = None
    session: Session | None = None
    cookie: str = ""


class Console:
    def __init__(
        self,
        desk: Desk,
        doors: Doors,
        repeats: Repeats,
        on_fatal: Callable[[], None],
        proxies: int = 0,
        page: Callable[[Console, web.Application], None] | None = None,
    ) -> None:
        """``on_fatal``: nothing more can be written by this process. ``page`` adds its routes."""
        self.metrics = ConsoleMetrics()
        self.desk = desk
        self.doors = doors
        self._page = page
        self._repeats = repeats
        self._on_fatal = on_fatal
        self._proxies = proxies
        self._strangers = Refusals(time.monotonic, STRANGERS)
        self._users = Refusals(time.monotonic, PER_MINUTE)
        self._description = msgspec.json.encode(describe(ROUTES))
        self._busy = 0
        self._listeners = Listeners()

    def application(self) -> web.Application:
        """What the world sees."""
        world = web.Application(client_max_size=LARGEST, middlewares=[self._guard])
        for route in sorted(ROUTES, key=lambda each: each.path.count("{")):
            world.router.add_route(route.method, PREFIX + route.path, self._served(route), name=route.name)
        world.router.add_get(PREFIX + "/openapi.json", self._show_description, name="describe")
        if self._page is not None:
            self._page(self, world)
        return world

    async def start(self, host: str, port: int, web_host: str, web_port: int) -> tuple[int, int]:
        """The two ports that it listens on (0: a free one)."""
        inside = Operators(self.desk.not_live, self.desk.not_ready, self.metrics.registry, self.metrics.ready)
        world = await self._listeners.add(self.application(), host, port)
        return world, await self._listeners.add(inside.application(), web_host, web_port)

    async def stop(self) -> None:
        """What is being served is finished."""
        await self._listeners.stop()

    # --- around every request

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Whatever happens, the answer is one that is described, and has the headers."""
        began = time.monotonic()
        name = request.match_info.route.name or "other"
        if self._busy >= AT_ONCE:
            response: web.StreamResponse = _problem(ApiError(503, "Too much at once.", headers=_LATER))
        else:
            self._busy += 1
            try:
                response = await handler(request)
            except Exception as error:  # noqa: BLE001 - all have their answer
                response = _problem(self.refusal(error, name))
            finally:
                self._busy -= 1
        for header, value in HEADERS.items():
            response.headers.setdefault(header, value)
        self.metrics.requests.labels(name, str(response.status)).inc()
        self.metrics.seconds.labels(name).observe(time.monotonic() - began)
        return response

    def refusal(self, error: Exception, name: str) -> ApiError:
        match error:
            case ApiError():
                return error
            case RefusedError():
                return ApiError(422, "Some fields are wrong; errors names them.", error.problems)
            case NotThereError():
                return ApiError(404, "There is no such thing, or it is not yours.")
            case NotAllowedError():
                return ApiError(403, f"{error}.")
            case ChangedError():
                tag = {} if error.version is None else {"ETag": _tag(error.version)}
                return ApiError(412, "It has been changed since it was read; read it again.", headers=tag)
            case InUseError():
                return ApiError(409, f"{error}.")
            case UnconfirmedError():
                return ApiError(409, f"{error}.", [Problem("confirm", f"{error}", "range")])
            case TooManyError():
                return ApiError(429, f"{error}.", headers={"Retry-After": str(error.seconds)})
            case NotWrittenError():
                if error.fatal:
                    self._on_fatal()
                log.warning("a request for %s could not be written: %s", name, error)
                return ApiError(503, "It could not be written down; try again.", headers=_LATER)
            case web.HTTPRequestEntityTooLarge():
                return ApiError(413, f"At most {LARGEST} bytes are taken.")
            case web.HTTPException():
                allow = error.headers.get("Allow")
                return ApiError(error.status, f"{error.reason}.", headers={"Allow": allow} if allow else {})
            case _:
                # The request itself is not shown: it may have names and addresses in it.
                log.error("a request for %s failed", name, exc_info=error)
                return ApiError(500, "Something went wrong here; it has been written down.")

    # --- one request

    def _served(self, route: Route) -> Handler:
        async def serve(request: web.Request) -> web.StreamResponse:
            self.refuse_unready()
            client = self.client(request)
            visitor = self.visitor(request)
            self._let_in(route, request, visitor, client)
            path = dict(request.match_info)
            company = path.get("company", "")
            if route.role is not None:
                assert visitor.who is not None
                allowed(visitor.who, company, route.role)
                if self.desk.catalog.company(company) is None:
                    raise NotThereError
            raw = await read_body(request, route.body is not None)
            call = Call(
                desk=self.desk,
                doors=self.doors,
                who=visitor.who,
                session=visitor.session,
                cookie=visitor.cookie,
                company=company,
                path=path,
                query=read_query(request, route.query),
                body=None if route.body is None else decode_body(raw, route.body),
                version=read_version(request, required=route.if_match),
                key=read_key(request, visitor.who, company) if route.repeatable else "",
                client=client,
                now=self.desk.clock.now(),
            )
            if call.key:
                return await self._once(route, call, request, raw)
            return _response(await route.handler(call), request)

        return serve

    async def _once(self, route: Route, call: Call, request: web.Request, raw: bytes) -> web.StreamResponse:
        asked = request_hash(route.method, request.path, raw)
        try:
            async with self._repeats.lock(call.key):
                known = self._repeats.answer(call.key, call.now)
                if known is None:
                    reply = await route.handler(call)
                    body = msgspec.json.encode(reply.value)
                    known = Answer(asked, reply.status, reply.version, body)
                    self._repeats.keep(call.key, known, call.now)
        finally:
            self._repeats.done_with(call.key)
        if known.request != asked:
            raise ApiError(422, "This Idempotency-Key was used for another request.")
        return _json(known.body, known.status, known.version, request)

    def refuse_unready(self) -> None:
        reasons = self.desk.not_ready()
        if reasons:
            raise ApiError(503, f"Not now: {'; '.join(reasons)}.", headers=_LATER)

    def visitor(self, request: web.Request) -> Visitor:
        """A token wins over a cookie: whoever sends one means it."""
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind:
            if kind.lower() != "bearer":
                return Visitor()
            return Visitor(self.desk.people.of_token(token.strip(), self.desk.clock.now()))
        cookie = request.cookies.get(COOKIE, "")
        found = self.doors.session(cookie) if cookie else None
        return Visitor() if found is None else Visitor(*found, cookie)

    def _let_in(self, route: Route, request: web.Request, visitor: Visitor, client: str) -> None:
        if route.unsafe:
            self.refuse_foreign(request)
        if route.open:
            return
        if visitor.who is None:
            if self._strangers.too_many(client):
                raise ApiError(429, "Too many requests.", headers={"Retry-After": "60"})
            challenge = {"WWW-Authenticate": 'Bearer realm="carillon"'}
            raise ApiError(401, "A token, or a session, is needed.", headers=challenge)
        self.refuse_flood(visitor.who)
        if (
            route.unsafe
            and visitor.session is not None
            and not csrf_fits(visitor.session, request.headers.get("X-CSRF-Token", ""))
        ):
            raise ApiError(403, "X-CSRF-Token must be that of the session.")

    def client(self, request: web.Request) -> str:
        forwarded = ",".join(request.headers.getall("X-Forwarded-For", ()))
        return client_of(request.remote or "", forwarded, self._proxies)

    def refuse_foreign(self, request: web.Request) -> None:
        """A browser says so itself where a page of somebody else asks; log-in, too, is only for our own."""
        if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
            raise ApiError(403, "Another site's page may not do this.")

    def refuse_flood(self, who: User) -> None:
        if self._users.too_many(who.id):
            raise ApiError(429, f"At most {PER_MINUTE} a minute.", headers={"Retry-After": "60"})

    # --- what is no route of the table

    async def _show_description(self, _: web.Request) -> web.Response:
        return web.Response(body=self._description, content_type="application/json")


def _response(reply: Reply, request: web.Request) -> web.Response:
    if reply.status == 204:
        response = web.Response(status=204)
    else:
        response = _json(msgspec.json.encode(reply.value), reply.status, reply.version, request)
    if reply.cookie is not None:
        response.set_cookie(
            COOKIE,
            reply.cookie,
            path="/",
            secure=True,
            httponly=True,
            samesite="Strict",
            max_age=None if reply.cookie else 0,
        )
    return response


def _json(body: bytes, status: int, version: int | None, request: web.Request) -> web.Response:
    headers = {} if version is None else {"ETag": _tag(version)}
    if version is not None and request.headers.get("If-None-Match") == headers["ETag"]:
        return web.Response(status=304, headers=headers)
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


def _problem(error: ApiError) -> web.Response:
    return web.Response(
        status=error.status,
        body=msgspec.json.encode(error.view),
        headers={**error.headers, "Content-Type": MEDIA_TYPE},
    )


def _tag(version: int) -> str:
    return f'"{version}"'
