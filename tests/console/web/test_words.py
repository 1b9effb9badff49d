"""A string that is missing in a language, or that nothing says, fails here."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

from console.service.bulk import Action, Result
from console.service.channels import Flow
from console.service.kinds import KINDS
from console.service.messages import By, Part
from console.web.sheets import COMPANY, LOCATION, STATUS, Sort
from console.web.words import LANGUAGES, WORDS, words_for
from schemas.records import (
    AuditWhat,
    Channel,
    DeliveryState,
    EntityKind,
    Role,
    RuleKind,
    StatusKind,
    Trigger,
    Unit,
)
from streams.domain.reasons import Reason

CODES = ("missing", "unknown", "range", "combination", "access", "taken", "invalid")
FAMILIES: dict[str, tuple[str, ...]] = {
    "role": tuple(Role),
    "entities": tuple(EntityKind),
    "entity": tuple(EntityKind),
    "kinds": tuple(RuleKind),
    "kind": tuple(RuleKind),
    "channel": tuple(Channel),
    "unit": tuple(Unit),
    "occasion": tuple(Trigger),
    "state": tuple(DeliveryState),
    "part": tuple(Part),
    "by": tuple(By),
    "bulk": tuple(Action),
    "flow": tuple(Flow),
    "status_kind": tuple(StatusKind),
    "audit": tuple(AuditWhat),
    "record": tuple(KINDS),
    "field": tuple(
        part.name
        for sheet in (LOCATION, STATUS, COMPANY)
        for part in sheet.parts
        if part.sort not in (Sort.WEEK, Sort.NAMES)
    ),
    "result": tuple(Result),
    "error": CODES,
}
"""Keys that are put together, by their beginning."""

SOURCES = "\n".join(
    path.read_text("utf-8") for path in sorted((Path(__file__).parents[3] / "console" / "web").glob("*.py"))
)


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_everything(language: str) -> None:
    english, table = WORDS["en"].table, WORDS[language].table
    assert list(table) == list(english)
    for key, text in table.items():
        assert text.strip(), key
        assert places(text) == places(english[key]), key
    for family, members in FAMILIES.items():
        for member in members:
            assert f"{family}.{member}" in table


def test_what_the_pages_say_is_there() -> None:
    said = set(re.findall(r'words\(\s*"([a-z_. ]+)"', SOURCES))
    assert len(said) > 50
    assert said <= set(WORDS["en"].table)


def test_numbers_and_times_are_said_as_in_the_language() -> None:
    assert WORDS["pl"].amount(5, "days") == "5 dni"
    assert WORDS["de"].amount(1, "hours") == "1 Stunde"
    assert WORDS["en"].moment(0, "Europe/Lisbon") == "Thu 1 Jan 1970, 01:00"
    assert WORDS["fr"].weekday(0) == "lundi"


@pytest.mark.parametrize(
    ("chosen", "accepted", "language"),
    [
        ("", "", "en"),
        ("", "pt-BR,pt;q=0.9,en;q=0.8", "pt"),
        ("", "ja, de;q=0.5", "de"),
        ("pl", "de", "pl"),
        ("xx", "fr-CH", "fr"),
        ("", "," * 500, "en"),
    ],
)
def test_the_language_is_the_readers(chosen: str, accepted: str, language: str) -> None:
    assert words_for(chosen, accepted).language == language


DEAD_LETTERS = {"undecodable", "unknown_schema", "contract", "crashed", "replayed"}


def test_every_reason_has_its_words() -> None:
    english = WORDS["en"].table
    texts = {str(reason): reason.text for reason in Reason if reason}
    codes = texts.keys() - DEAD_LETTERS
    assert {key.removeprefix("reason.") for key in english if key.startswith("reason.")} == codes
    for code in codes:
        assert english[f"reason.{code}"] == texts[code]
    advised = {key.removeprefix("advice.") for key in english if key.startswith("advice.")}
    assert len(advised) > 15
    assert advised <= codes
