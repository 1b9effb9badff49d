"""What the page says, in each of its languages: one file for each, all with the same keys."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from importlib.resources import files

from babel.dates import format_date, format_datetime
from babel.units import format_unit

from streams.domain.languages import best_language
from streams.domain.zones import zone_of

LANGUAGES: Mapping[str, str] = {
    "en": "English",
    "es": "Español",
    "pl": "Polski",
    "pt": "Português",
    "de": "Deutsch",
    "fr": "Français",
}
"""By tag, as their speakers call them."""


@dataclass(frozen=True, slots=True)
class Words:
    language: str
    table: Mapping[str, str]

    def __call__(self, key: str, **values: object) -> str:
        """Raises KeyError where it is missing: a test looks for all of them."""
        return self.table[key].format_map(values)

    def has(self, key: str) -> bool:
        return key in self.table

    def moment(self, millis: int, zone: str) -> str:
        """``Tue 7 Apr 2026, 13:00``, on the clocks of the zone."""
        when = datetime.fromtimestamp(millis / 1000, zone_of(zone))
        return format_datetime(when, "EEE d MMM y, HH:mm", locale=self.language)

    def day(self, day: date) -> str:
        return format_date(day, "EEE d MMM y", locale=self.language)

    def weekday(self, number: int) -> str:
        """0 is Monday."""
        return format_date(date(2024, 1, 1 + number), "EEEE", locale=self.language)

    def amount(self, number: int, unit: str) -> str:
        """``2 days``. ``unit``: of the schema's units, in the plural."""
        return format_unit(number, f"duration-{unit.removesuffix('s')}", locale=self.language)


def _read(language: str) -> Words:
    text = files("console.web").joinpath("words", f"{language}.toml").read_text("utf-8")
    return Words(language, tomllib.loads(text))


WORDS: Mapping[str, Words] = {language: _read(language) for language in LANGUAGES}


def words_for(chosen: str, accepted: str) -> Words:
    """``chosen``: by the reader; else the first of ``accepted`` (an Accept-Language header) that there is."""
    wanted = [part.partition(";")[0].strip() for part in accepted[:200].split(",")]
    return WORDS[best_language([chosen, *wanted, "en"], LANGUAGES)]
