"""What a route is, and what its handler is given and gives back."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from console.api.doors import Doors, Session
from console.api.forms import Form, NoQuery
from console.api.problems import ApiError
from console.service.desk import Desk
from console.service.edits import Author
from schemas.records import Role, User
from streams.domain.problems import Problem

T = TypeVar("T")
F = TypeVar("F")

PREFIX = "/api/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, checked: who asks may do so, and body and query are of the route's types."""

    desk: Desk
    doors: Doors
    who: User | None
    """None only where the route is open to all."""
    session: Session | None
    cookie: str
    company: str
    path: Mapping[str, str]
    query: Form
    body: Form | None
    version: int
    """Of If-Match; ANY where it is ``*`` or the route does not ask for it."""
    key: str
    """Idempotency-Key, made this user's and company's own; empty: there is none."""
    client: str
    now: int
    way: str = "api"
    """For the audit: ``api`` or ``page``."""

    @property
    def user(self) -> User:
        assert self.who is not None
        return self.who

    @property
    def author(self) -> Author:
        return Author(self.user.id, self.way, self.now)

    def queried(self, kind: type[F]) -> F:
        assert isinstance(self.query, kind)
        return self.query

    def given(self, kind: type[F]) -> F:
        assert isinstance(self.body, kind)
        return self.body


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    value: object = None
    status: int = 200
    version: int | None = None
    """Becomes the ETag."""
    headers: Mapping[str, str] = field(default_factory=dict)
    cookie: str | None = None
    """To be set; empty: to be removed."""


Handler = Callable[[Call], Awaitable[Reply]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """``path`` is without the prefix. ``role``: what is needed in the company of the path; None: no more than
    being signed in. ``open``: not even that. ``answer``: the type of a good answer's body; None: it has none.
    """

    method: str
    path: str
    name: str
    summary: str
    handler: Handler
    role: Role | None = None
    open: bool = False
    query: type[Form] = NoQuery
    body: type[Form] | None = None
    answer: Any = None
    status: int = 200
    if_match: bool = False
    repeatable: bool = False
    """Takes an Idempotency-Key."""

    @property
    def unsafe(self) -> bool:
        return self.method != "GET"


# --- pages


def cursor_of(*place: int | str) -> str:
    return urlsafe_b64encode(msgspec.json.encode(place)).rstrip(b"=").decode()


def place_of(cursor: str, kind: type[T]) -> T | None:
    """None where there is no cursor. Raises ApiError where it is none of ours."""
    if not cursor:
        return None
    try:
        raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        return msgspec.json.decode(raw, type=kind)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        problem = Problem("cursor", "is none that was given out")
        raise ApiError(422, "The query is wrong.", [problem]) from None
