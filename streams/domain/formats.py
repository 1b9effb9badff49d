"""Dates, times, money and phone numbers as people of a language write them (Unicode CLDR through babel).

Formatting costs about 40 us, and a day's messages speak of few dates: what was formatted is kept.
"""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec
import phonenumbers
from babel import Locale, UnknownLocaleError
from babel.dates import DateTimePattern, format_date, format_time, match_skeleton, parse_pattern
from babel.numbers import format_currency, get_currency_precision

WIDTHS = ("short", "medium", "long", "full")
_FIELD = re.compile(r"'[^']*'|[Ec]+|M{3,}|L{3,}")
# Between a currency's letters and the amount stands a space (UTS 35, currencySpacing; babel leaves it out).
_LETTER_AND_DIGIT = re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")


@lru_cache(maxsize=1024)
def locale_of(language: str) -> Locale | None:
    """The CLDR locale of a language tag (``pt-BR``), else that of its base language, else None."""
    for tag in (language, language.partition("-")[0]):
        try:
            return Locale.parse(tag, sep="-")
        except (ValueError, UnknownLocaleError):
            continue
    return None


class Formats(msgspec.Struct, frozen=True, gc=False):
    """How one message writes things. Methods raise ValueError (a LookupError for a zone that does not
    exist) for what can't be written, never write something else instead."""

    language: str
    zone: str
    currency: str

    def local(self, millis: int) -> dt.datetime:
        """The wall time at the location."""
        return dt.datetime.fromtimestamp(millis // 1000, ZoneInfo(self.zone))

    def date(self, millis: int, width: str = "") -> str:
        """``Wednesday, April 8``; with a width the CLDR's own format, which names the year."""
        return _date(self.local(millis).date(), self.language, width)

    def time(self, millis: int) -> str:
        """``14:00``, ``2:00 PM``: the CLDR's short format."""
        local = self.local(millis)
        return _time(dt.time(local.hour, local.minute), self.language)

    def moment(self, millis: int) -> str:
        """Date and time, joined as the language joins them."""
        return _moment(self.date(millis), self.time(millis), self.language)

    def money(self, minor: int, currency: str) -> str:
        """An amount in the currency's minor unit; an empty currency is the location's."""
        return _money(minor, currency or self.currency, self.language)

    def money_text(self, amount: str) -> str:
        """An amount in units, as an attribute has it (``12.50``), in the location's currency."""
        try:
            minor = int(Decimal(amount).scaleb(get_currency_precision(self.currency)).to_integral_value())
        except (ArithmeticError, ValueError) as error:
            raise ValueError(f"{amount!r} is not an amount") from error
        return self.money(minor, self.currency)


def _known(language: str) -> Locale:
    locale = locale_of(language)
    if locale is None:
        raise ValueError(f"no formats are known for language {language!r}")
    return locale


@lru_cache(maxsize=8192)
def _date(day: dt.date, language: str, width: str) -> str:
    locale = _known(language)
    if not width:
        return _day_pattern(language).apply(day, locale)
    if width not in WIDTHS:
        raise ValueError(f"{width!r} is not one of {', '.join(WIDTHS)}")
    return format_date(day, width, locale=locale)


@lru_cache(maxsize=256)
def _day_pattern(language: str) -> DateTimePattern:
    """Week day, day and month in full. The CLDR has the order for an abbreviated skeleton in most
    languages; its fields are widened, as UTS 35 ("Missing Skeleton Fields") says."""
    skeletons = _known(language).datetime_skeletons
    name = match_skeleton("MMMMEEEEd", skeletons)
    pattern = str(skeletons[name]) if name else "EEEE, d MMMM"
    return parse_pattern(_FIELD.sub(_widened, pattern))


def _widened(match: re.Match[str]) -> str:
    field = match[0]
    return field if field[0] == "'" else field[0] * 4


@lru_cache(maxsize=8192)
def _time(moment: dt.time, language: str) -> str:
    return format_time(moment, "short", locale=_known(language))


@lru_cache(maxsize=8192)
def _moment(date: str, time: str, language: str) -> str:
    pattern = str(_known(language).datetime_formats["medium"])
    return pattern.replace("'", "").replace("{0}", time).replace("{1}", date)


@lru_cache(maxsize=8192)
def _money(minor: int, currency: str, language: str) -> str:
    if not (len(currency) == 3 and currency.isascii() and currency.isalpha()):
        raise ValueError(f"{currency!r} is not a currency (ISO 4217)")
    amount = Decimal(minor).scaleb(-get_currency_precision(currency))
    text = format_currency(amount, currency.upper(), locale=_known(language))
    return _LETTER_AND_DIGIT.sub("\u00a0", text)


@lru_cache(maxsize=8192)
def phone(number: str, style: str = "international") -> str:
    """An E.164 number in groups, with or without its country code; other texts as they are."""
    styles = {
        "international": phonenumbers.PhoneNumberFormat.INTERNATIONAL,
        "national": phonenumbers.PhoneNumberFormat.NATIONAL,
    }
    if style not in styles:
        raise ValueError(f"{style!r} is not one of {', '.join(styles)}")
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return number
    return phonenumbers.format_number(parsed, styles[style])
