"""The pages behind an unsubscribe link."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.gateway import page
from streams.domain.keywords import STOP


class Outline(HTMLParser):
    """Tags that are open and never closed, and what can be reached by keyboard."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in ("meta", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_language_of_the_words_has_its_page() -> None:
    assert list(page.WORDS) == list(STOP)
    for language, words in page.WORDS.items():
        assert "{company}" in words.question
        assert "{company}" in words.done
        outline = Outline(page.question(language, "Acme"))
        assert outline.open == []
        assert [tag for tag in ("h1", "main", "form", "button", "title") if outline.seen.count(tag) == 1] == [
            "h1",
            "main",
            "form",
            "button",
            "title",
        ]
        assert "script" not in outline.seen
        for html in (page.done(language, "Acme"), page.unknown(language), page.later(language)):
            assert Outline(html).open == []
            assert f'lang="{language}"' in html


@given(st.text(max_size=40))
def test_a_company_s_name_is_only_text(name: str) -> None:
    plain = Outline(page.question("en", "Acme"))
    named = Outline(page.question("en", name))
    assert named.seen == plain.seen


@pytest.mark.parametrize(
    ("accepts", "company", "language"),
    [
        ("", "pl", "pl"),
        ("de", "pl", "de"),
        ("de-AT;q=0.8, fr;q=0.9", "pl", "fr"),
        ("fi, sv", "pt-BR", "pt"),
        ("fi", "fi", "en"),
        ("de;q=0, *;q=0.5", "es", "es"),
        ("en-GB,en;q=0.9,pl;q=0.8", "pl", "en"),
        ("<script>,,;;q=", "", "en"),
        (",".join(["xx"] * 100 + ["de"]), "", "en"),
    ],
)
def test_the_language_is_the_reader_s_else_the_company_s(accepts: str, company: str, language: str) -> None:
    assert page.language_of(accepts, company) == language


@given(st.text(max_size=60))
def test_any_wish_is_some_language(accepts: str) -> None:
    assert page.language_of(accepts, "") in page.WORDS
