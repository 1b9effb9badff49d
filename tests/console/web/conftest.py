"""A browser without a window: keeps its cookies, sends forms, and follows redirects."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode

import pytest

from console.service.people import hash_password
from tests.console.api.conftest import (
    DEADLINE,
    TOKENS,
    Answer,
    Spot,
    both_companies,
    console_broker,
    make_settings,
    user,
)

__all__ = ["console_broker", "make_settings"]

PASSWORD = "a good long password"
HASHED = hash_password(PASSWORD)

Given = Mapping[str, str] | Sequence[tuple[str, str]]


class Checked(HTMLParser):
    """Whether elements are closed as they were opened, ids are there once, and every input has a name that a
    screen reader can say."""

    void = frozenset({"input", "link", "meta", "br", "col"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.labelled: set[str] = set()
        self.controls: list[dict[str, str | None]] = []
        self.headings: list[int] = []
        self.feed(text)
        self.close()
        assert not self.open, self.open
        assert len(self.ids) == len(set(self.ids)), sorted(self.ids)
        for control in self.controls:
            assert control.get("aria-label") or control.get("id") in self.labelled, control
        assert self.headings.count(1) == 1
        assert all(b - a <= 1 for a, b in zip(self.headings, self.headings[1:], strict=False)), self.headings

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in self.void:
            self.open.append(tag)
        if given.get("id"):
            self.ids.append(str(given["id"]))
        if tag == "label":
            self.labelled.add(str(given["for"]))
        if tag in ("select", "textarea") or (tag == "input" and given.get("type") != "hidden"):
            self.controls.append(given)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag, tag


class Browser:
    def __init__(self, spot: Spot, token: str = "") -> None:
        self.spot = spot
        self.cookies: dict[str, str] = {}
        self.where = ""
        self.page = ""
        self.status = 0
        self._token = token

    def send(
        self,
        method: str,
        path: str,
        form: Given | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request, as it is."""
        sent = dict(headers or {})
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        data = None
        if form is not None:
            data = urlencode(list(form.items()) if isinstance(form, Mapping) else list(form))
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
        connection = http.client.HTTPConnection("127.0.0.1", self.spot.port, timeout=DEADLINE)
        try:
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            body = answer.read()
            for name, value in answer.getheaders():
                if name == "Set-Cookie":
                    key, _, kept = value.partition(";")[0].partition("=")
                    self.cookies[key] = kept.strip('"')
            return Answer(answer.status, body, dict(answer.getheaders()))
        finally:
            connection.close()

    def go(self, path: str, form: Given | None = None) -> str:
        """And on where it leads; the page that is there."""
        answer = self.send("GET" if form is None else "POST", path, form)
        for _ in range(5):
            if answer.status != 303:
                break
            path = answer.headers["Location"]
            answer = self.send("GET", path)
        self.where, self.page, self.status = path, answer.body.decode(), answer.status
        Checked(self.page)
        return self.page

    def post(self, path: str, form: Given) -> str:
        """With the CSRF field of the page that is open."""
        fields = list(form.items()) if isinstance(form, Mapping) else list(form)
        return self.go(path, [("csrf", self.hidden("csrf")), *fields])

    def hidden(self, name: str) -> str:
        found = re.search(rf'name="{name}" value="([^"]*)"', self.page)
        assert found is not None, self.page
        return found[1]

    def log_in(self, name: str) -> Browser:
        self.go("/login", {"user": f"{name}@acme", "password": PASSWORD})
        assert self.where == "/companies", self.page
        return self


Enter = Callable[[str], Browser]


@pytest.fixture(scope="module")
def place(
    make_settings: Callable[[Path], object], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Spot]:
    """A module's."""
    spot = Spot(make_settings(tmp_path_factory.mktemp("page")))  # type: ignore[arg-type]  # it makes Settings
    spot.publish(*both_companies(), *(user(name, password=HASHED) for name in TOKENS))
    spot.start()
    yield spot
    spot.stop()


@pytest.fixture
def enter(place: Spot) -> Enter:
    """Somebody who has signed in."""
    return lambda name: Browser(place).log_in(name)
