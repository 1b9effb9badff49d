"""Typographic characters that SMS has no code for, each with the plain ones that say the same.

No letter of any language is among them (a test holds that): a text in Polish or Greek stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

PLAIN: Mapping[str, str] = {
    # Unicode Standard 6.2, "Quotation Marks and Brackets" (single, double), and the accents and primes that
    # are typed for them
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u2039\u203a", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb", '"'),
    **dict.fromkeys("\u2032\u2035\u00b4\u0060", "'"),
    **dict.fromkeys("\u2033\u2036", '"'),
    # Unicode Standard 6.2, table "Unicode Dash Characters" (category Pd, minus, hyphen bullet)
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2e3a\u2e3b\ufe58\ufe63\uff0d\u2212\u2043", "-"),
    # general category Zs (the spaces of Unicode), and the tab
    **dict.fromkeys("\t\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005", " "),
    **dict.fromkeys("\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000", " "),
    # property Default_Ignorable_Code_Point: soft hyphen, zero widths, joiners, directions, variations
    **dict.fromkeys(
        "\u00ad\u034f\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\u2064", ""
    ),
    **dict.fromkeys("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufe0e\ufe0f\ufeff", ""),
    # general categories Zl and Zp
    **dict.fromkeys("\u2028\u2029", "\n"),
    # compatibility decompositions (UnicodeData.txt, field 5)
    "\u2025": "..",
    "\u2026": "...",
    # bullets, as they are typed where there is no other; Catalan's l·l is written l.l then
    "\u2022": "*",
    "\u00b7": ".",
}
