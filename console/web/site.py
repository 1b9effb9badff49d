"""Pages over HTTP: who comes in, what they may see, and how errors look."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from importlib.resources import files

import msgspec
from aiohttp import web
from multidict import MultiDict

from console.api.doors import COOKIE, csrf_fits
from console.api.problems import ApiError
from console.api.server import Console, Visitor
from console.service.errors import NotThereError
from console.service.people import allowed
from console.web.layout import framed, notice
from console.web.markup import h, url
from console.web.routes import ROUTES
from console.web.visits import Answer, Data, Page, PageRoute, Redirect, Visit
from console.web.words import words_for
from schemas.records import Company, Role

LANGUAGE_COOKIE = "carillon-language"
_YEAR = 366 * 24 * 3600

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing from elsewhere, and nothing that stands in the page itself, runs."""

_STATIC = {"style.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
_BODY_WITHIN = 10.0
"""Seconds for a form to arrive."""


def add_page(console: Console, world: web.Application) -> None:
    for route in ROUTES:
        world.router.add_route(route.method, route.path, _served(console, route), name=f"page_{route.name}")
    for name, kind in _STATIC.items():
        body = files("console.web").joinpath("static", name).read_bytes()
        world.router.add_get(f"/static/{name}", _file(body, kind), name=f"page_{name}")


def _file(body: bytes, kind: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def send(_: web.Request) -> web.Response:
        headers = {"Cache-Control": "max-age=300"}
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=headers)

    return send


def _served(console: Console, route: PageRoute) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def serve(request: web.Request) -> web.StreamResponse:
        visitor = console.visitor(request)
        company: Company | None = None
        form: MultiDict[str] = MultiDict()
        try:
            console.refuse_unready()
            if route.method == "POST":
                console.refuse_foreign(request)
            if visitor.who is not None:
                console.refuse_flood(visitor.who)
            elif not route.open:
                return _to_login(request, route)
            if route.role is not None:
                company = _entered(console, visitor, request.match_info["company"], route.role)
            if route.method == "POST":
                form = await _form(request)
                _check_csrf(visitor, form, route)
            _check_text(request)
            visit = _visit(console, request, visitor, company, form)
            return _response(await route.handler(visit), visit, request)
        except Exception as error:  # noqa: BLE001 - all have their page
            refused = console.refusal(error, f"page_{route.name}")
            visit = _visit(console, request, visitor, company, form)
            return _wrong(refused, visit, request)

    return serve


def _entered(console: Console, visitor: Visitor, id_: str, role: Role) -> Company:
    """NotThereError says the same of a company that is not theirs and of one that there is not."""
    assert visitor.who is not None
    allowed(visitor.who, id_, role)
    company = console.desk.catalog.company(id_)
    if company is None:
        raise NotThereError
    return company


def _visit(
    console: Console,
    request: web.Request,
    visitor: Visitor,
    company: Company | None,
    form: MultiDict[str],
) -> Visit:
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")[:20]
    return Visit(
        desk=console.desk,
        doors=console.doors,
        who=visitor.who,
        session=visitor.session,
        cookie=visitor.cookie,
        company=company,
        path=dict(request.match_info),
        query=request.query,
        form=form,
        words=words_for(chosen, request.headers.get("Accept-Language", "")),
        client=console.client(request),
        address=request.path_qs if request.method == "GET" else request.rel_url.raw_path,
        now=console.desk.clock.now(),
    )


async def _form(request: web.Request) -> MultiDict[str]:
    if request.content_type != "application/x-www-form-urlencoded":
        raise ApiError(415, "A form is sent as application/x-www-form-urlencoded.")
    try:
        async with asyncio.timeout(_BODY_WITHIN):
            posted = await request.post()
    except TimeoutError:
        raise ApiError(408, "The form did not arrive in time.") from None
    # Browsers send line ends of a text area as CR LF (HTML, form submission).
    found = MultiDict(
        (name, value.replace("\r\n", "\n")) for name, value in posted.items() if isinstance(value, str)
    )
    _check_characters(*found.keys(), *found.values())
    return found


def _check_text(request: web.Request) -> None:
    _check_characters(*request.query.keys(), *request.query.values(), *request.match_info.values())


def _check_characters(*values: str) -> None:
    """Bytes that are no UTF-8 arrive as surrogates."""
    try:
        "".join(values).encode()
    except UnicodeEncodeError:
        raise ApiError(400, "It is no UTF-8.") from None


def _check_csrf(visitor: Visitor, form: MultiDict[str], route: PageRoute) -> None:
    """A bearer token is sent by no page of somebody else's: it needs none."""
    if route.open or visitor.session is None:
        return
    if not csrf_fits(visitor.session, form.get("csrf", "")):
        raise ApiError(403, "The form is of another session; load it again.")


def _to_login(request: web.Request, route: PageRoute) -> web.Response:
    back = request.path_qs if route.method == "GET" else ""
    return web.Response(status=303, headers={"Location": url("login", back=back)})


def _response(answer: Answer, visit: Visit, request: web.Request) -> web.StreamResponse:
    match answer:
        case Data():
            return web.Response(body=msgspec.json.encode(answer.value), content_type="application/json")
        case Redirect():
            response = web.Response(status=303, headers={"Location": answer.to})
            for name, value in answer.cookies.items():
                _set_cookie(response, name, value)
            return response
        case Page():
            return _html(framed(answer, visit), answer.status)


def _set_cookie(response: web.Response, name: str, value: str) -> None:
    lasting = _YEAR if name == LANGUAGE_COOKIE else None
    response.set_cookie(
        name,
        value,
        path="/",
        secure=True,
        httponly=True,
        samesite="Strict" if name == COOKIE else "Lax",
        max_age=lasting if value else 0,
    )


def _html(text: str, status: int) -> web.Response:
    headers = {"Content-Security-Policy": POLICY}
    return web.Response(text=text, status=status, content_type="text/html", charset="utf-8", headers=headers)


def _wrong(error: ApiError, visit: Visit, request: web.Request) -> web.Response:
    words, key = visit.words, f"status.{error.status}"
    title = words(key if words.has(key) else "status.other")
    detail = h("p", error.view.detail, lang="en")
    faults = [h("li", f"{one.field}: {one.message}", lang="en") for one in error.view.errors]
    page = Page(
        title=title,
        body=[
            notice(title, wrong=True),
            detail,
            h("ul", faults),
            h("p", h("a", words("home"), href="/companies")),
        ],
        status=error.status,
    )
    response = _html(framed(page, visit), error.status)
    response.headers.update(error.headers)
    return response
