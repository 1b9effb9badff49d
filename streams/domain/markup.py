"""The little HTML that an e-mail body may have, and what it says as plain text.

The rendered body is taken apart and put together again from what is allowed here, so that nothing
else can reach a mailbox, wherever it came from: no script, no style, no form, no event handler, no
address other than http, https, mailto and tel.
"""

from __future__ import annotations

import re
from html import escape, unescape

_INLINE = ("a", "b", "em", "i", "img", "s", "span", "strong", "u")
_BLOCKS = ("blockquote", "br", "div", "h1", "h2", "h3", "hr", "li", "ol", "p", "ul")
_TABLES = ("table", "tbody", "td", "th", "thead", "tr")
ALLOWED = frozenset((*_INLINE, *_BLOCKS, *_TABLES))
_ATTRIBUTES = {"a": ("href", "title"), "img": ("src", "alt", "width", "height")}
_VOID = frozenset(("br", "hr", "img"))
_LINES = frozenset(("blockquote", "div", "h1", "h2", "h3", "hr", "ol", "p", "table", "ul"))
# Possessive, and from the beginning of a word only: what has no end is then given up at once. With plain
# repetitions a text of 50,000 characters took half a minute.
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*+)([^<>]*+)>")
_ANY_TAG = re.compile(r"<[/!?]?[A-Za-z-][^<>]*+>?")
_ATTRIBUTE = re.compile(r'(?<![A-Za-z])([A-Za-z]++)="([^"<>]*+)"')
_ADDRESS = re.compile(r"(?:https?://|mailto:|tel:)[^\s\x00-\x20]+", re.IGNORECASE)
_BLOCK = re.compile(r"<(?:p|br|div|h[1-3]|ul|ol|table|blockquote)\b", re.IGNORECASE)
_SILENT = re.compile(r"<(script|style|title)\b[^<>]*>.*?(?:</\1[^<>]*>|\Z)|<!--.*?(?:-->|\Z)", re.I | re.S)
_BLANK_LINES = re.compile(r"\n\s*\n")


def is_html(source: str) -> bool:
    """Whether what a person wrote is HTML: it has something that looks like a tag."""
    return _ANY_TAG.search(source) is not None


def paragraphs(text: str) -> str:
    """Escaped text or light HTML as HTML: blank lines part paragraphs, line ends are kept."""
    blocks = (block.strip() for block in _BLANK_LINES.split(text))
    return "".join("<p>" + "<br>".join(block.splitlines()) + "</p>" for block in blocks if block)


def from_text(text: str) -> str:
    """Plain text as HTML."""
    return paragraphs(escape(text))


def forbidden(html: str) -> list[tuple[int, str]]:
    """What ``html`` has that would be left out, as (index, what), in order."""
    found = []
    for match in _ANY_TAG.finditer(html):
        tag = _TAG.fullmatch(match[0])
        if tag is None or tag[2].lower() not in ALLOWED:
            found.append((match.start(), match[0]))
    return found


def clean(html: str) -> tuple[str, str]:
    """(html with only what is allowed, the same as plain text).

    Attribute values have to be in double quotes. Links become ``text (address)`` in the plain text.
    """
    html = _SILENT.sub("", html)
    if not _BLOCK.search(html):
        html = paragraphs(html)
    rich: list[str] = []
    plain: list[str] = []
    links: list[str] = []
    at = 0
    for match in _TAG.finditer(html):
        _words(html[at : match.start()], rich, plain)
        at = match.end()
        name = match[2].lower()
        if name not in ALLOWED:
            continue
        if match[1]:
            if name not in _VOID:
                rich.append(f"</{name}>")
            if name == "a" and links:
                _end_link(links.pop(), plain)
        else:
            attributes = _attributes(name, match[3])
            rich.append(f"<{name}")
            rich.extend([f' {key}="{escape(value)}"' for key, value in attributes.items()])
            rich.append(">")
            if name == "a":
                links.append(attributes.get("href", ""))
        plain.append(_in_text(name, closing=bool(match[1])))
    _words(html[at:], rich, plain)
    return "".join(rich), tidy("".join(plain))


def tidy(text: str) -> str:
    """No spaces at line ends, no more than one empty line in a row, none at either end."""
    lines = [line.strip() for line in text.splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _words(raw: str, rich: list[str], plain: list[str]) -> None:
    words = re.sub(r"[ \t\r\n]+", " ", unescape(raw))
    rich.append(escape(words, quote=False))
    plain.append(words)


def _attributes(name: str, raw: str) -> dict[str, str]:
    kept = {}
    for key, value in _ATTRIBUTE.findall(raw):
        attribute, text = key.lower(), unescape(value).strip()
        if attribute not in _ATTRIBUTES.get(name, ()):
            continue
        if attribute in ("href", "src") and not _ADDRESS.fullmatch(text):
            continue
        kept[attribute] = text
    return kept


def _end_link(address: str, plain: list[str]) -> None:
    target = re.sub(r"^(?:mailto|tel):", "", address, flags=re.IGNORECASE)
    if target and not "".join(plain).endswith(target):
        plain.append(f" ({target})")


def _in_text(name: str, *, closing: bool) -> str:
    if name in _LINES:
        return "\n\n" if closing or name == "hr" else "\n"
    if name == "br" or (name == "tr" and closing):
        return "\n"
    if name == "li" and not closing:
        return "\n- "
    return " " if name in ("td", "th") and not closing else ""
