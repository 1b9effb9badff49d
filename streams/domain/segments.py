"""SMS segments: how many parts a text is cut into, and so what it costs.

Sources: 3GPP TS 23.038 section 6.2.1 (the GSM 7 bit default alphabet and its extension table) and
TS 23.040 section 9.2.3.24 (concatenation: a six-octet header leaves 153 septets or 67 UCS-2 units).
"""

from __future__ import annotations

import re
import unicodedata
from struct import unpack
from typing import Literal

import msgspec

from streams.domain.typography import PLAIN

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = frozenset("\f^{}\\[~]|€")
_GSM = _BASIC | _EXTENSION
_ESCAPE = "\x1b"
_EXTENDED = re.compile(r"[\f^{}\\\[~\]|€]")

_TYPOGRAPHIC = re.compile(f"[{''.join(PLAIN)}]")


class Segments(msgspec.Struct, frozen=True, gc=False):
    """``characters`` are what the provider counts: septets (an extension character is two) in GSM-7,
    UTF-16 units (an emoji is two) in UCS-2. An empty text has no segment."""

    encoding: Literal["GSM-7", "UCS-2"]
    characters: int
    segments: int


def count(text: str) -> Segments:
    """The segments of ``text``. One segment holds 160 septets or 70 UTF-16 units; each of several 153
    or 67, and neither an escape pair nor a surrogate pair is cut in two."""
    if _GSM.issuperset(text):
        units = _EXTENDED.sub(_ESCAPE + "x", text)
        return Segments("GSM-7", len(units), _packed(units, 160, 153, _ESCAPE, _ESCAPE))
    units = text
    if max(text) > "\uffff":
        # One character for each UTF-16 unit: a surrogate pair becomes two lone surrogates.
        raw = text.encode("utf-16-le", "surrogatepass")
        units = "".join(map(chr, unpack(f"<{len(raw) // 2}H", raw)))
    return Segments("UCS-2", len(units), _packed(units, 70, 67, "\ud800", "\udbff"))


def _packed(units: str, single: int, each: int, low: str, high: str) -> int:
    """Segments needed when no segment but the last may end in a unit between ``low`` and ``high``
    (the first half of a pair)."""
    total = len(units)
    if total <= single:
        return 1 if total else 0
    segments = at = 0
    while at < total:
        at += each
        if at < total and low <= units[at - 1] <= high:
            at -= 1
        segments += 1
    return segments


def smart(text: str) -> str:
    """``text`` with typographic characters (``PLAIN``, decomposed accents) written plainly, if that makes the
    whole text GSM-7 and no segment longer; else ``text`` as it is: nothing would be gained."""
    if _GSM.issuperset(text):
        return text
    plain = _TYPOGRAPHIC.sub(lambda sign: PLAIN[sign[0]], unicodedata.normalize("NFC", text))
    # What stood apart may now be one character.
    plain = unicodedata.normalize("NFC", plain)
    fits = _GSM.issuperset(plain) and count(plain).segments <= count(text).segments
    return plain if fits else text
