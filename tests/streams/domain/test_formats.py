"""Dates, times, money and phone numbers in the language of the text and the zone of the location."""

from __future__ import annotations

import pytest
from babel.localedata import locale_identifiers

from streams.domain.formats import Formats, locale_of, phone

AT = 1_775_649_600_000  # 2026-04-08T12:00Z
HOUR = 3_600_000


@pytest.mark.parametrize(
    ("language", "date", "time", "moment", "money"),
    [
        ("en", "Wednesday, April 8", "2:00\u202fPM", "Wednesday, April 8, 2:00\u202fPM", "€1,234.50"),
        ("en-GB", "Wednesday 8 April", "14:00", "Wednesday 8 April, 14:00", "€1,234.50"),
        ("es", "miércoles, 8 de abril", "14:00", "miércoles, 8 de abril, 14:00", "1.234,50\xa0€"),
        ("pl", "środa, 8 kwietnia", "14:00", "środa, 8 kwietnia, 14:00", "1\xa0234,50\xa0€"),
        ("pt-BR", "quarta-feira, 8 de abril", "14:00", "quarta-feira, 8 de abril 14:00", "€\xa01.234,50"),
        ("de", "Mittwoch, 8. April", "14:00", "Mittwoch, 8. April, 14:00", "1.234,50\xa0€"),
        ("fr", "mercredi 8 avril", "14:00", "mercredi 8 avril, 14:00", "1\u202f234,50\xa0€"),
    ],
)
def test_languages(language: str, date: str, time: str, moment: str, money: str) -> None:
    write = Formats(language, "Europe/Warsaw", "EUR")
    assert write.date(AT) == date
    assert write.time(AT) == time
    assert write.moment(AT) == moment
    assert write.money(123_450, "") == money


def test_every_language_of_the_cldr_has_a_date() -> None:
    for name in (each for each in locale_identifiers() if "_" not in each):
        # Chinese and Japanese write months as numbers, so the letters differ; each names the day.
        text = Formats(name.replace("_", "-"), "UTC", "EUR").date(AT)
        assert any(character.isdecimal() for character in text), name


def test_widths() -> None:
    write = Formats("en", "Europe/Warsaw", "EUR")
    assert write.date(AT, "short") == "4/8/26"
    assert write.date(AT, "medium") == "Apr 8, 2026"
    assert write.date(AT, "long") == "April 8, 2026"
    assert write.date(AT, "full") == "Wednesday, April 8, 2026"
    with pytest.raises(ValueError, match="short, medium, long, full"):
        write.date(AT, "huge")


def test_late_evening_is_the_local_day() -> None:
    """Field story 10: 21:30 on Tuesday in New York is Wednesday in UTC."""
    at = AT - 12 * HOUR + HOUR + HOUR // 2
    assert Formats("en-GB", "UTC", "EUR").moment(at) == "Wednesday 8 April, 01:30"
    assert Formats("en-GB", "America/New_York", "USD").moment(at) == "Tuesday 7 April, 21:30"


@pytest.mark.parametrize(
    ("utc", "local"),
    [
        (1_774_745_940_000, "Sunday 29 March, 01:59"),
        (1_774_746_000_000, "Sunday 29 March, 03:00"),  # the gap: one second later it is three
        (1_792_886_400_000, "Sunday 25 October, 02:00"),
        (1_792_890_000_000, "Sunday 25 October, 02:00"),  # the overlap: an hour later it is two again
        (1_792_893_600_000, "Sunday 25 October, 03:00"),
    ],
)
def test_clock_change_days(utc: int, local: str) -> None:
    assert Formats("en-GB", "Europe/Warsaw", "EUR").moment(utc) == local


def test_seconds_and_milliseconds_do_not_round_up() -> None:
    assert Formats("de", "UTC", "EUR").time(AT + 59_999) == "12:00"
    assert Formats("de", "UTC", "EUR").time(-1) == "23:59"


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (0, "EUR", "€0.00"),
        (-150, "USD", "-$1.50"),
        (1500, "JPY", "¥1,500"),
        (1500, "BHD", "BHD\xa01.500"),
        (99, "eur", "€0.99"),
        (5, "", "PLN\xa00.05"),
    ],
)
def test_money(minor: int, currency: str, text: str) -> None:
    assert Formats("en", "UTC", "PLN").money(minor, currency) == text


@pytest.mark.parametrize("currency", ["EU", "EURO", "E1R", "ŁÓD", "<b>"])
def test_no_currency(currency: str) -> None:
    with pytest.raises(ValueError, match="ISO 4217"):
        Formats("en", "UTC", "EUR").money(1, currency)


def test_money_from_text() -> None:
    write = Formats("en", "UTC", "EUR")
    assert write.money_text("12.5") == "€12.50"
    assert write.money_text("12.345") == "€12.34"
    assert Formats("en", "UTC", "JPY").money_text("12") == "¥12"
    for text in ("twelve", "", "NaN", "Infinity", "1e999999999"):
        with pytest.raises(ValueError, match="is not an amount"):
            write.money_text(text)


def test_languages_that_are_not_there() -> None:
    assert str(locale_of("pt-XX")) == "pt"
    assert str(locale_of("pt-BR")) == "pt_BR"
    assert locale_of("xx") is None
    assert locale_of("") is None
    assert locale_of("not a language") is None
    with pytest.raises(ValueError, match="'xx'"):
        Formats("xx", "UTC", "EUR").date(AT)
    with pytest.raises(LookupError):
        Formats("en", "Mars/Olympus", "EUR").date(AT)


def test_phone() -> None:
    assert phone("+48600100123") == "+48 600 100 123"
    assert phone("+48600100123", "national") == "600 100 123"
    assert phone("call us") == "call us"
    with pytest.raises(ValueError, match="international, national"):
        phone("+48600100123", "nice")
