"""The frame around every page, and the parts that several have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from console.web.markup import Child, Html, document, h, joined, url
from console.web.visits import Page, Visit
from console.web.words import LANGUAGES, Words
from streams.domain.problems import Problem

MENU = ("rules", "templates", "pending", "feed", "deliveries", "channels", "hours", "settings")
"""Pages of a company, in the menu's order; each is a word and a part of the path."""


def framed(page: Page, visit: Visit) -> str:
    words = visit.words
    head = h(
        "head",
        h("meta", charset="utf-8"),
        h("meta", name="viewport", content="width=device-width, initial-scale=1"),
        h("title", f"{page.title} · Carillon"),
        h("link", rel="stylesheet", href="/static/style.css"),
        h("link", rel="icon", href="/static/icon.svg", type="image/svg+xml"),
        h("script", src="/static/page.js", defer=True),
        page.head,
    )
    body = h(
        "body",
        h("a", words("skip"), href="#main", class_="skip"),
        h("header", h("a", "Carillon", href="/companies", class_="brand"), _menu(page, visit), _out(visit)),
        h("main", h("h1", page.title), page.body, id="main", tabindex="-1"),
        h("footer", _languages(visit)),
    )
    return document(words.language, head, body)


def _menu(page: Page, visit: Visit) -> Html | None:
    if visit.company is None:
        return None
    words, company = visit.words, visit.company
    entries = [
        h(
            "li",
            h("a", words(f"menu.{name}"), href=url("c", company.id, name), aria_current=_here(name, page)),
        )
        for name in MENU
    ]
    shop = h("p", company.name or company.id, class_="shop")
    return joined(shop, h("nav", h("ul", entries), aria_label=words("menu")))


def _here(name: str, page: Page) -> str | None:
    return "page" if name == page.at else None


def _out(visit: Visit) -> Html | None:
    if visit.session is None or visit.who is None:
        return None
    name = h("span", visit.who.name or visit.who.id)
    leave = h("button", visit.words("log_out"), class_="quiet")
    return h("form", visit.csrf(), name, leave, method="post", action="/logout", class_="who")


def _languages(visit: Visit) -> Html:
    options = [
        h("option", name, value=tag, selected=tag == visit.words.language, lang=tag)
        for tag, name in LANGUAGES.items()
    ]
    return h(
        "form",
        h("label", visit.words("language"), for_="shown-language"),
        h("select", options, name="language", id="shown-language"),
        h("input", type="hidden", name="back", value=visit.address),
        h("button", visit.words("show"), class_="quiet"),
        method="post",
        action="/language",
        class_="row",
    )


# --- parts


def table(heads: Sequence[Child], rows: Iterable[Sequence[Child]], caption: str) -> Html:
    """The first cell of a row is its heading. Narrow screens show the heads beside the cells."""
    names = [joined(head) for head in heads]
    body = [h("tr", [_cell(number, cell, names[number]) for number, cell in enumerate(row)]) for row in rows]
    top = h("tr", [h("th", name, scope="col") for name in names])
    return h("table", h("caption", caption), h("thead", top), h("tbody", body))


def _cell(number: int, cell: Child, head: str) -> Html:
    return h("td", cell, data_head=head if number else None)


def notice(text: Child, *, wrong: bool = False) -> Html:
    """Read out by screen readers: at once where something is wrong."""
    return h("p", text, role="alert" if wrong else "status", class_="notice wrong" if wrong else "notice")


class Fields:
    """Inputs of one form, each with its label and what is wrong with it beside it."""

    def __init__(self, words: Words, problems: Sequence[Problem] = ()) -> None:
        self.words = words
        self.problems = problems

    def of(self, name: str) -> list[Problem]:
        return [
            one
            for one in self.problems
            if one.field == name or one.field.startswith((f"{name}[", f"{name}."))
        ]

    def summary(self) -> Html | None:
        """Before the form; leads to the fields."""
        if not self.problems:
            return None
        entries = [
            h("li", h("a", saying(one, self.words), href=f"#{one.field.partition('[')[0]}"))
            for one in self.problems
        ]
        return h(
            "div", h("h2", self.words("error.heading")), h("ul", entries), role="alert", class_="notice wrong"
        )

    def wrapped(self, name: str, control: Html, hint: str = "", **attributes: str | None) -> Html:
        label = h("label", self.words(f"field.{name}"), for_=name)
        about = h("small", hint, id=f"{name}-hint") if hint else None
        return h("div", label, about, control, self.wrong(name), class_="field", **attributes)

    def wrong(self, name: str) -> Html | None:
        found = self.of(name)
        return (
            h("p", [saying(one, self.words) for one in found], class_="problem", id=f"{name}-problem")
            if found
            else None
        )

    def told(self, name: str) -> dict[str, str | None]:
        """ARIA of a control."""
        wrong = bool(self.of(name))
        return {
            "aria_invalid": "true" if wrong else None,
            "aria_describedby": f"{name}-problem" if wrong else None,
        }

    def text(self, name: str, value: str, **attributes: str | int | bool | None) -> Html:
        control = h("input", type="text", id=name, name=name, value=value, **self.told(name), **attributes)
        return self.wrapped(name, control)

    def choice(
        self,
        name: str,
        options: Mapping[str, str],
        chosen: str,
        *,
        empty: str | None = None,
        when: str | None = None,
    ) -> Html:
        """``options``: labels by value. ``when``: see page.js."""
        shown = dict(options)
        if chosen and chosen not in shown:
            shown[chosen] = chosen
        given = {"": empty, **shown} if empty is not None else shown
        entries = [
            h("option", label, value=value, selected=value == chosen) for value, label in given.items()
        ]
        return self.wrapped(name, h("select", entries, id=name, name=name, **self.told(name)), data_when=when)

    def check(self, name: str, on: bool, when: str | None = None) -> Html:
        box = h("input", type="checkbox", id=name, name=name, value="yes", checked=on, **self.told(name))
        label = h("label", self.words(f"field.{name}"), for_=name)
        return h("div", box, label, self.wrong(name), class_="field check", data_when=when)


def saying(problem: Problem, words: Words) -> Html:
    """What kind of fault it is in the reader's language, and the details in English."""
    short = words(f"error.{problem.code}")
    if words.language == "en":
        return joined(f"{problem.message} ")
    return joined(short, " ", h("span", f"({problem.message})", lang="en"), " ")
