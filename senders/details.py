"""What a provider said, made fit for the delivery log: no address, no number, one short line."""

from __future__ import annotations

import re

LONGEST = 200

_ADDRESS = re.compile(r"<?[^\s<>\"'(),;:]+@[^\s<>\"'(),;]+>?")
_NUMBER = re.compile(r"\+?\d(?:[\s().-]?\d){6,}")
_SPACE = re.compile(r"[\s\x00-\x1f\x7f]+")


def detail_of(text: str, *private: str) -> str:
    """``text`` on one line of at most 200 characters, with e-mail addresses, anything like a telephone
    number and each of ``private`` (a recipient, a body) replaced by an ellipsis."""
    for value in private:
        if len(value) > 2:
            text = text.replace(value, "…")
    text = _NUMBER.sub("…", _ADDRESS.sub("…", text))
    text = _SPACE.sub(" ", text).strip()
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
