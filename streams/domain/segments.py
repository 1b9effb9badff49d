"""SMS segments: how many parts a text is cut into, and so what it costs.

Sources: 3GPP TS 23.038 section 6.2.1 (the GSM 7 bit default alphabet and its extension table) and
TS 23.040 section 9.2.3.24 (concatenation: a six-octet header leaves 153 septets or 67 UCS-2 units).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from struct import unpack
from typing import Literal

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = frozenset("\f^{}\\[~]|€")
_GSM = _BASIC | _EXTENSION
_ESCAPE = "\x1b"
_EXTENDED = re.compile(r"[\f^{}\\\[~\]|€]")

_TYPOGRAPHIC = {
    # single quotes: curly, low, angle; prime, acute and grave accents
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u2039\u203a\u00b4\u0060", "'"),
    # double quotes: curly, low, angle; double prime
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
    # hyphens, dashes, minus
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
    # tab and the spaces of Unicode
    **dict.fromkeys("\t\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005", " "),
    **dict.fromkeys("\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000", " "),
    # invisible: soft hyphen, zero widths, directions, joiner, byte order mark
    **dict.fromkeys("\u00ad\u200b\u200c\u200e\u200f\u2060\ufeff", ""),
    # line and paragraph separator
    **dict.fromkeys("\u2028\u2029", "\n"),
    "\u2026": "...",
    "\u2022": "*",
    "\u00b7": ".",
}
_TYPOGRAPHIC_SIGN = re.compile(f"[{''.join(_TYPOGRAPHIC)}]")


@dataclass(frozen=True, slots=True)
class Segments:
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
    """``text`` with typographic characters (curly quotes, dashes, ellipses, odd spaces, decomposed
    accents) written in GSM-7, if that makes the whole text GSM-7; else ``text`` as it is, because
    then nothing would be gained."""
    if _GSM.issuperset(text):
        return text
    plain = _TYPOGRAPHIC_SIGN.sub(lambda sign: _TYPOGRAPHIC[sign[0]], unicodedata.normalize("NFC", text))
    return plain if _GSM.issuperset(plain) else text
