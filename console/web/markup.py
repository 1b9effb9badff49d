"""HTML that can't be broken by what people are called: whatever is not Html is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TypeAlias
from urllib.parse import quote, urlencode

_VOID = frozenset({"input", "link", "meta", "br", "col"})


class Html(str):
    """Text that is HTML already. Made by ``h`` and ``joined`` alone."""

    __slots__ = ()


Child: TypeAlias = "str | Iterable[Child] | None"
Attribute = str | int | bool | None


def h(name: str, /, *children: Child, **attributes: Attribute) -> Html:
    """An element. ``class_`` is class, ``aria_label`` is aria-label; True is an attribute without a value,
    None and False leave it out. Children that are no Html are escaped; None is nothing."""
    shown = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{name}{shown}>")
    return Html(f"<{name}{shown}>{joined(*children)}</{name}>")


def joined(*children: Child) -> Html:
    parts: list[str] = []
    for child in children:
        if isinstance(child, Html):
            parts.append(child)
        elif isinstance(child, str):
            parts.append(escape(child))
        elif child is not None:
            parts.append(joined(*child))
    return Html("".join(parts))


def document(language: str, head: Html, body: Html) -> str:
    return f"<!doctype html>\n{h('html', head, body, lang=language)}\n"


def url(*parts: str, **query: str) -> str:
    """``/a/b?c=d`` with every part escaped; what is empty in the query is left out."""
    path = "/" + "/".join(quote(part, safe="") for part in parts)
    given = {name: value for name, value in query.items() if value}
    return f"{path}?{urlencode(given)}" if given else path


def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'
