"""What a provider said, made fit for the delivery log: no address, no number, one short line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

LONGEST = 200

_ADDRESS = re.compile(r"(?<![^\s<>\"'(),;:@])<?[^\s<>\"'(),;:@]*+@[^\s<>\"'(),;]+>?")
"""From the beginning of a word, and possessive: a long text without an address costs its length, no more."""
_NUMBER = re.compile(r"\+?\d(?:[\s().-]?\d){6,}")
_SPACE = re.compile(r"[\s\x00-\x1f\x7f]+")
_WORD = re.compile(r"\w+")
RUN = 3
"""So many words in a row that are in the message too are a quotation of it; fewer are only English."""


def detail_of(text: str, *private: str) -> str:
    """``text`` on one line of at most 200 characters, with e-mail addresses, anything like a telephone
    number and each of ``private`` (a recipient, a body; in any case) replaced by an ellipsis, and so is what
    quotes three words of them in a row."""
    for value in private:
        if len(value) > 2:
            text = re.sub(re.escape(value), "…", text, flags=re.IGNORECASE)
    text = _without_quotations(text, private)
    text = _NUMBER.sub("…", _ADDRESS.sub("…", text))
    text = _SPACE.sub(" ", text).strip()
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _without_quotations(text: str, private: Iterable[str]) -> str:
    runs = {run for value in private for run in _runs([word.lower() for word in _WORD.findall(value)])}
    words = list(_WORD.finditer(text))
    quoted: set[int] = set()
    for number, run in enumerate(_runs([word[0].lower() for word in words])):
        if run in runs:
            quoted.update(range(number, number + RUN))
    for number in sorted(quoted, reverse=True):
        word = words[number]
        # The first word of a quotation leaves the ellipsis; the others go with what stands before them.
        begin, mark = (words[number - 1].end(), "") if number - 1 in quoted else (word.start(), "…")
        text = text[:begin] + mark + text[word.end() :]
    return text


def _runs(words: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(words[number : number + RUN]) for number in range(len(words) - RUN + 1)]
