"""The parts of Google's accounts and Gmail's API that a connected mailbox needs: the owner's consent and the
token endpoint (RFC 6749 with RFC 7636), the mailbox's own address, and the search by Message-ID.

``MailFake(bearer=fake.accepts)`` is the mail server that takes its tokens.
"""

from __future__ import annotations

import asyncio
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from aiohttp import web
from yarl import URL

from deploy.fakes.mail import MailFake

CLIENT_ID, CLIENT_SECRET = "client.apps.example", "client-secret"
SCOPE = "https://mail.google.com/"
LIFETIME = 3600
"""Seconds that an access token is good for."""


@dataclass(frozen=True, slots=True)
class _Consent:
    """What a code stands for."""

    address: str
    redirect: str
    challenge: str
    scope: str


@dataclass(slots=True, kw_only=True)
class GoogleFake:
    """``accounts``: address by refresh token. ``answers`` come instead of the next tokens, one each: a status
    with a JSON object or a text; ``hold``: no token is given out until it is set. ``sent``: messages (as
    ``MailFake.messages``) among which the search looks."""

    now: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    accounts: dict[str, str] = field(default_factory=dict)
    mail: MailFake | None = None
    """Asked for what ``/_control`` wishes of it."""
    answers: list[tuple[int, Mapping[str, Any] | str]] = field(default_factory=list)
    searches: list[tuple[int, Mapping[str, Any] | str]] = field(default_factory=list)
    """The same for the search."""
    hold: asyncio.Event | None = None
    owner: str = ""
    """Who agrees to whatever they are asked; empty: they say no."""
    granted: str = SCOPE
    """What they tick of it."""
    redirects: tuple[str, ...] = ()
    """The client's redirect addresses; none but these are led to."""
    sent: Callable[[], Iterable[Mapping[str, Any]]] = lambda: ()
    inbox: dict[str, list[bytes]] = field(default_factory=dict)
    """What mail servers have written to a mailbox, by address."""
    page: int = 100
    """Messages in an answer at most."""

    asked: int = 0
    """Requests for a token so far."""
    queries: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    """The id of a mailbox's one label, by address."""
    labelled: set[str] = field(default_factory=set)
    """Ids of the messages that have it."""
    host: str = ""
    port: int = 0
    _codes: dict[str, _Consent] = field(default_factory=dict)
    _tokens: dict[str, tuple[str, int]] = field(default_factory=dict)
    _runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def accepts(self, address: str, token: str) -> bool:
        owner, until = self._tokens.get(token, ("", 0))
        return owner == address and self.now() < until

    def expire(self) -> None:
        """No access token given out so far is good any more."""
        self._tokens.clear()

    def revoke(self, refresh_token: str) -> None:
        """Its owner takes the access back: none of its tokens is good any more."""
        owner = self.accounts.pop(refresh_token, None)
        self._tokens = {token: one for token, one in self._tokens.items() if one[0] != owner}

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        app = web.Application()
        app.router.add_get("/authorize", self._authorize)
        app.router.add_post("/token", self._token)
        app.router.add_get("/gmail/v1/users/me/profile", self._profile)
        app.router.add_get("/gmail/v1/users/me/messages", self._search)
        app.router.add_get("/gmail/v1/users/me/messages/{id}", self._message)
        app.router.add_post("/gmail/v1/users/me/messages/{id}/modify", self._modify)
        app.router.add_get("/gmail/v1/users/me/labels", self._labels)
        app.router.add_post("/gmail/v1/users/me/labels", self._labels)
        app.router.add_post("/_control", self._control)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        self.host, self.port = self._runner.addresses[0][:2]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _control(self, request: web.Request) -> web.StreamResponse:
        """``{"accounts": {refresh token: address}, "revoke": [refresh token], "mail": {...}}``, the last as
        ``MailFake.control`` has it; each is optional."""
        try:
            wish = await request.json()
            self.accounts.update(wish.get("accounts", {}))
            for refresh_token in wish.get("revoke", ()):
                self.revoke(refresh_token)
            if "mail" in wish and self.mail is not None:
                self.mail.obey(wish["mail"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            return _answer(400, {"error": str(error)})
        return _answer(200, {"accounts": len(self.accounts)})

    async def _authorize(self, request: web.Request) -> web.StreamResponse:
        """RFC 6749 4.1.1, RFC 7636 4.3. Where the client or its address is wrong nobody is led anywhere."""
        asked = request.query
        redirect = asked.get("redirect_uri", "")
        if asked.get("client_id") != CLIENT_ID or redirect not in self.redirects:
            return _answer(400, "redirect_uri_mismatch")
        right = (
            asked.get("response_type") == "code"
            and SCOPE in asked.get("scope", "").split()
            and asked.get("code_challenge_method") == "S256"
            and (asked.get("access_type"), asked.get("prompt")) == ("offline", "consent")
        )
        state = {"state": asked.get("state", "")}
        if not right or not self.owner:
            error = "access_denied" if right else "invalid_request"
            raise web.HTTPFound(URL(redirect).with_query({"error": error, **state}))
        code = f"4/{len(self._codes)}"
        challenge = asked.get("code_challenge", "")
        self._codes[code] = _Consent(self.owner, redirect, challenge, self.granted)
        raise web.HTTPFound(URL(redirect).with_query({"code": code, **state}))

    def _redeem(self, form: Mapping[str, Any]) -> web.Response:
        """RFC 6749 4.1.3, RFC 7636 4.6; a code is good once."""
        consent = self._codes.pop(str(form.get("code")), None)
        digest = sha256(str(form.get("code_verifier", "")).encode()).digest()
        proof = urlsafe_b64encode(digest).rstrip(b"=").decode()
        if consent is None or (consent.redirect, consent.challenge) != (form.get("redirect_uri"), proof):
            return _answer(400, {"error": "invalid_grant"})
        refresh = f"1//{len(self.accounts)}-{self.asked}"
        self.accounts[refresh] = consent.address
        body = self._access(consent.address) | {"refresh_token": refresh, "scope": consent.scope}
        return _answer(200, body)

    def _access(self, address: str) -> dict[str, Any]:
        token = f"ya29.{self.asked}"
        self._tokens[token] = (address, self.now() + LIFETIME * 1000)
        return {"access_token": token, "expires_in": LIFETIME, "token_type": "Bearer"}

    async def _profile(self, request: web.Request) -> web.StreamResponse:
        owner = self._owner(request)
        if not owner:
            return _unknown()
        return _answer(200, {"emailAddress": owner, "messagesTotal": 1})

    async def _token(self, request: web.Request) -> web.StreamResponse:
        """RFC 6749 6."""
        self.asked += 1
        form = await request.post()
        if self.hold is not None:
            await self.hold.wait()
        if self.answers:
            return _answer(*self.answers.pop(0))
        if form.get("grant_type") not in ("refresh_token", "authorization_code"):
            return _answer(400, {"error": "unsupported_grant_type"})
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return _answer(401, {"error": "invalid_client"})
        if form.get("grant_type") == "authorization_code":
            return self._redeem(form)
        address = self.accounts.get(str(form.get("refresh_token")))
        if address is None:
            words = "Token has been expired or revoked."
            return _answer(400, {"error": "invalid_grant", "error_description": words})
        return _answer(200, self._access(address))

    async def _search(self, request: web.Request) -> web.StreamResponse:
        self.queries.append(request.query.get("q", ""))
        if self.searches:
            return _answer(*self.searches.pop(0))
        owner = self._owner(request)
        if not owner:
            return _unknown()
        if self.queries[-1].startswith("from:(mailer-daemon OR postmaster) "):
            return self._list(owner, request)
        wanted = f"Message-ID: <{self.queries[-1].partition('rfc822msgid:')[2]}>"
        found = [
            {"id": str(number), "threadId": str(number)}
            for number, message in enumerate(self.sent())
            if message.get("user") == owner and wanted in str(message["data"])
        ]
        return _answer(200, {"messages": found} if found else {"resultSizeEstimate": 0})

    def _owner(self, request: web.Request) -> str:
        """Empty: the token is not good."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        owner, until = self._tokens.get(token, ("", 0))
        return owner if self.now() < until else ""

    def _list(self, owner: str, request: web.Request) -> web.StreamResponse:
        """What mail servers have written and has no label, page by page."""
        ids = [id_ for id_ in self._held(owner) if id_ not in self.labelled]
        start = int(request.query.get("pageToken", "0"))
        end = start + self.page
        body: dict[str, Any] = {"messages": [{"id": id_, "threadId": id_} for id_ in ids[start:end]]}
        return _answer(200, body | ({"nextPageToken": str(end)} if end < len(ids) else {}))

    def _held(self, owner: str) -> dict[str, bytes]:
        number = sorted(self.inbox).index(owner) if owner in self.inbox else 0
        return {f"{number:x}b{index:x}": mail for index, mail in enumerate(self.inbox.get(owner, ()))}

    async def _message(self, request: web.Request) -> web.StreamResponse:
        mail = self._held(self._owner(request)).get(request.match_info["id"])
        if mail is None:
            return _answer(404, {"error": {"code": 404}})
        raw = urlsafe_b64encode(mail).decode().rstrip("=")
        return _answer(200, {"id": request.match_info["id"], "raw": raw})

    async def _modify(self, request: web.Request) -> web.StreamResponse:
        owner, id_ = self._owner(request), request.match_info["id"]
        wish = await request.json()
        if id_ not in self._held(owner) or wish["addLabelIds"] != [self.labels.get(owner)]:
            return _answer(400, {"error": {"code": 400}})
        self.labelled.add(id_)
        return _answer(200, {"id": id_})

    async def _labels(self, request: web.Request) -> web.StreamResponse:
        owner = self._owner(request)
        if not owner:
            return _unknown()
        if request.method == "POST":
            name = (await request.json())["name"]
            self.labels[owner] = f"Label_{len(self.labels)}"
            return _answer(200, {"id": self.labels[owner], "name": name})
        own = [{"id": self.labels[owner], "name": "carillon-taken"}] if owner in self.labels else []
        return _answer(200, {"labels": [{"id": "INBOX", "name": "INBOX"}, *own]})


def _unknown() -> web.Response:
    return _answer(401, {"error": {"code": 401, "status": "UNAUTHENTICATED"}})


def _answer(status: int, body: Mapping[str, Any] | str) -> web.Response:
    if isinstance(body, str):
        return web.Response(status=status, text=body)
    return web.json_response(dict(body), status=status)
