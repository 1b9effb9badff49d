"""What a handler of the page is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from multidict import MultiMapping

from console.api.calls import Call
from console.api.doors import Doors, Session
from console.api.forms import Form, NoQuery
from console.service.desk import Desk
from console.service.edits import ANY
from console.service.people import RANK, role_of
from console.web.markup import Html, h
from console.web.words import Words
from schemas.records import Company, Role, User
from streams.domain.catalog import Catalog


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request of a browser. ``form`` is empty for GET; its ``csrf`` has been checked."""

    desk: Desk
    doors: Doors
    who: User | None
    session: Session | None
    cookie: str
    company: Company | None
    path: Mapping[str, str]
    query: MultiMapping[str]
    form: MultiMapping[str]
    words: Words
    client: str
    address: str
    """Path and query: where one is."""
    now: int

    @property
    def catalog(self) -> Catalog:
        return self.desk.catalog

    @property
    def shop(self) -> Company:
        assert self.company is not None
        return self.company

    def may(self, role: Role) -> bool:
        has = role_of(self.who, self.shop.id) if self.who is not None else None
        return has is not None and RANK[has] >= RANK[role]

    def call(
        self,
        *,
        query: Form | None = None,
        body: Form | None = None,
        path: Mapping[str, str] | None = None,
        version: int = ANY,
        key: str = "",
    ) -> Call:
        """For a handler of the API, on behalf of whoever is here."""
        return Call(
            desk=self.desk,
            doors=self.doors,
            who=self.who,
            session=self.session,
            cookie=self.cookie,
            company=self.company.id if self.company is not None else "",
            path=path or {},
            query=query or NoQuery(),
            body=body,
            version=version,
            key=key,
            client=self.client,
            now=self.now,
            way="page",
        )

    def csrf(self) -> Html:
        return h("input", type="hidden", name="csrf", value=self.session.csrf if self.session else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    title: str
    body: Sequence[Html]
    status: int = 200
    at: str = ""
    """The entry of the menu that it belongs to."""
    head: Html | None = None
    """More for the head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    to: str
    cookies: Mapping[str, str] = field(default_factory=dict)
    """To be set; empty: to be removed."""


@dataclass(frozen=True, slots=True)
class Data:
    """For the page's script."""

    value: object


Answer = Page | Redirect | Data
Handler = Callable[[Visit], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRoute:
    """``role``: what is needed in the company of the path; None: no more than being signed in. ``open``: not
    even that."""

    method: str
    path: str
    name: str
    handler: Handler
    role: Role | None = None
    open: bool = False
