"""Segments against an independent, naive packer, and against texts whose count is known."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.segments import Segments, count, smart
from streams.domain.typography import PLAIN

# 3GPP TS 23.038, table by table position: 0x00-0x7F without the escape, then the extension table.
BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENSION = "\f^{}\\[~]|€"


def naive(text: str) -> tuple[str, int, int]:
    """Puts one character after the other into segments, opening a new one when it does not fit."""
    gsm = all(c in BASIC or c in EXTENSION for c in text)
    sizes = [2 if (c in EXTENSION if gsm else ord(c) > 0xFFFF) else 1 for c in text]
    single, each = (160, 153) if gsm else (70, 67)
    if sum(sizes) <= single:
        return ("GSM-7" if gsm else "UCS-2", sum(sizes), 1 if text else 0)
    segments, room = 1, each
    for size in sizes:
        if size > room:
            segments, room = segments + 1, each
        room -= size
    return ("GSM-7" if gsm else "UCS-2", sum(sizes), segments)


def as_tuple(found: Segments) -> tuple[str, int, int]:
    return (found.encoding, found.characters, found.segments)


@given(st.text(st.sampled_from("aé€[\n^"), max_size=700))
def test_gsm_like_naive(text: str) -> None:
    assert as_tuple(count(text)) == naive(text)


@given(st.text(st.sampled_from("aż€😀𝄞字"), max_size=400))
def test_ucs2_like_naive(text: str) -> None:
    assert as_tuple(count(text)) == naive(text)


@given(st.text(max_size=300))
def test_any_text_like_naive(text: str) -> None:
    assert as_tuple(count(text)) == naive(text)


@pytest.mark.parametrize("character", BASIC + EXTENSION)
def test_alphabet(character: str) -> None:
    assert count(character) == Segments("GSM-7", 2 if character in EXTENSION else 1, 1)


def test_alphabet_has_137_characters() -> None:
    assert len(set(BASIC + EXTENSION)) == 137
    assert (
        sum(count(chr(code)).encoding == "GSM-7" for code in range(0x10000) if not 0xD800 <= code < 0xE000)
        == 137
    )


@pytest.mark.parametrize(
    ("text", "encoding", "characters", "segments"),
    [
        ("", "GSM-7", 0, 0),
        ("a" * 160, "GSM-7", 160, 1),
        ("a" * 161, "GSM-7", 161, 2),
        ("a" * 306, "GSM-7", 306, 2),
        ("a" * 307, "GSM-7", 307, 3),
        ("€" * 80, "GSM-7", 160, 1),
        ("€" * 81, "GSM-7", 162, 2),
        ("a" * 152 + "€" + "a" * 151, "GSM-7", 305, 2),
        ("a" * 152 + "€" + "a" * 152, "GSM-7", 306, 3),  # the escape pair does not fit: one is lost
        ("ł" * 70, "UCS-2", 70, 1),
        ("ł" * 71, "UCS-2", 71, 2),
        ("ł" * 134, "UCS-2", 134, 2),
        ("ł" * 135, "UCS-2", 135, 3),
        ("😀" * 35, "UCS-2", 70, 1),
        ("😀" * 66, "UCS-2", 132, 2),
        ("😀" * 67, "UCS-2", 134, 3),  # 33 pairs and a free unit in each of two
        ("ł" * 133 + "\ud800", "UCS-2", 134, 2),  # half a pair at the very end is cut by nothing
        ("\x1b", "UCS-2", 1, 1),
        ("\uffff" * 70, "UCS-2", 70, 1),
        ("\U00010000" * 36, "UCS-2", 72, 2),
        ("ł" * 66 + "\ud800\udbff" + "ł" * 3, "UCS-2", 71, 2),  # lone surrogates are not pairs worth more
    ],
)
def test_known(text: str, encoding: str, characters: int, segments: int) -> None:
    assert as_tuple(count(text)) == (encoding, characters, segments)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("plain", "plain"),
        ("\u201cHi\u201d \u2013 it\u2019s \u2014 \u00abok\u00bb\u2026", '"Hi" - it\'s - "ok"...'),
        ("2:00\u202fPM\u00a0now\ufeff", "2:00 PM now"),
        ("cafe\u0301", "café"),
        ("\u2022 one\u2028\u00b7 two\t`three`", "* one\n. two 'three'"),
        ("\u201cŁódź\u201d", "\u201cŁódź\u201d"),  # UCS-2 whatever we do: as it was written
        ("e\u0301ł", "e\u0301ł"),
    ],
)
def test_smart(text: str, plain: str) -> None:
    assert smart(text) == plain


# Whatever can take part: letters, marks that join them, signs with and without a plain form, pairs.
MIXED = st.text(
    st.sampled_from([*PLAIN, *"aZé ł\u0301\u0300ffi\u212b\u1fef\u1ffd\u2000€[😀字\u200d\u0338=", "\n"])
    | st.characters(exclude_categories=["Cs"]),
    max_size=200,
)


@given(MIXED)
def test_smart_never_costs_more_and_changes_nothing_twice(text: str) -> None:
    result = smart(text)
    assert count(result).segments <= count(text).segments
    assert result == text or count(result).encoding == "GSM-7"
    assert smart(result) == result


@given(MIXED)
def test_smart_changes_no_letter(text: str) -> None:
    """Nor a digit: of the whole text only signs, spaces and invisible characters are others."""
    assert letters(smart(text)) == letters(text)


def letters(text: str) -> list[str]:
    return [char for char in unicodedata.normalize("NFC", text) if unicodedata.category(char)[0] in "LN"]


def test_plain_forms_are_signs_for_signs() -> None:
    for sign, plain in PLAIN.items():
        invisible = sign in "\u034f\ufe0e\ufe0f"  # joiner and variation selectors: marks by category
        assert invisible or unicodedata.category(sign)[0] in "PSZC", f"{sign!r} is a letter or a digit"
        assert count(sign).encoding == "UCS-2", f"{sign!r} has a code"
        assert all(count(char).encoding == "GSM-7" for char in plain)
        assert not any(char.isalnum() for char in plain)


def test_all_of_a_kind_have_a_plain_form() -> None:
    """The table against Unicode's own: spaces, separators, dashes and quotation marks of Western scripts."""
    for code in range(0x2E00):
        char = chr(code)
        if count(char).encoding == "GSM-7":
            continue
        kind, name = unicodedata.category(char), unicodedata.name(char, "")
        if kind == "Zs":
            assert PLAIN[char] == " ", name
        elif kind in ("Zl", "Zp"):
            assert PLAIN[char] == "\n", name
        elif kind == "Pd" and not name.startswith(("ARMENIAN", "HEBREW", "CANADIAN", "MONGOLIAN")):
            assert PLAIN[char] == "-", name
        elif kind in ("Pi", "Pf"):
            assert PLAIN[char] in "'\"", name


def test_a_text_full_of_ellipses_stays_in_one_segment() -> None:
    """Three full stops for each would be two segments of GSM-7."""
    assert smart("…" * 60) == "…" * 60
    assert smart("…" * 53) == "..." * 53
