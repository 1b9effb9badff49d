"""STOP, START and HELP as people write them, and what is not meant as one of them."""

from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import EventStatus
from streams.domain.keywords import COURTESIES, HELP, LONGEST, START, STOP, folded, word_of

LANGUAGES = ["en", "es", "pl", "pt", "de", "fr"]
TABLES = {EventStatus.STOP: STOP, EventStatus.START: START, EventStatus.HELP: HELP}
WORDS = [(status, word) for status, table in TABLES.items() for words in table.values() for word in words]


def test_every_language_of_the_templates_has_its_words() -> None:
    for table in (*TABLES.values(), COURTESIES):
        assert list(table) == LANGUAGES
        assert all(table.values())


def test_no_word_means_two_things_and_each_is_written_as_it_is_looked_up() -> None:
    meanings = {(word, status) for status, word in WORDS}
    assert len({word for word, _ in meanings}) == len(meanings)
    for word in chain((word for _, word in WORDS), *COURTESIES.values()):
        assert folded(word) == word


@given(st.sampled_from(WORDS), st.sampled_from(["", " ", "\n", ".", "!", " !!", "\u200b"]), st.booleans())
def test_case_space_and_punctuation_do_not_matter(
    pair: tuple[EventStatus, str], around: str, upper: bool
) -> None:
    status, word = pair
    assert word_of(around + (word.upper() if upper else word.title()) + around) is status


@given(st.sampled_from(WORDS), st.sampled_from(sorted(chain(*COURTESIES.values()))))
def test_courtesies_do_not_matter(pair: tuple[EventStatus, str], courtesy: str) -> None:
    status, word = pair
    for text in (f"{word} {courtesy}", f"{courtesy}, {word}!", f"{courtesy} {word} {courtesy}"):
        assert word_of(text) is status


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("STOP", EventStatus.STOP),
        ("Stop, please!", EventStatus.STOP),
        ("please stop. thank you", EventStatus.STOP),
        ("“STOP”", EventStatus.STOP),
        ("\uff33\uff34\uff2f\uff30", EventStatus.STOP),
        ("Stop all", EventStatus.STOP),
        ("Arrêt, s'il vous plaît", EventStatus.STOP),
        ("ARRÊTER", EventStatus.STOP),
        ("rezygnuję", EventStatus.STOP),
        ("Désabonner", EventStatus.STOP),
        ("Wznów proszę", EventStatus.START),
        ("começar", EventStatus.START),
        ("información", EventStatus.HELP),
        ("HELP?", EventStatus.HELP),
        ("Hilfe bitte", EventStatus.HELP),
        # not meant so
        ("please don't stop", EventStatus.OTHER),
        ("I'll stop by at five", EventStatus.OTHER),
        ("stop it now or I call my lawyer", EventStatus.OTHER),
        ("can you help me with the brakes", EventStatus.OTHER),
        ("yes", EventStatus.OTHER),
        ("cancelar", EventStatus.OTHER),
        ("s-t-o-p", EventStatus.OTHER),
        ("please", EventStatus.OTHER),
        ("please thanks", EventStatus.OTHER),
        ("", EventStatus.OTHER),
        ("👍", EventStatus.OTHER),
    ],
)
def test_what_people_write(text: str, status: EventStatus) -> None:
    assert word_of(text) is status


def test_a_long_message_is_no_word() -> None:
    assert word_of("stop" + "!" * (LONGEST - 4)) is EventStatus.STOP
    assert word_of("stop" + "!" * (LONGEST - 3)) is EventStatus.OTHER


@given(st.text(max_size=LONGEST + 20))
def test_any_text_is_something(text: str) -> None:
    assert word_of(text) in {*TABLES, EventStatus.OTHER}
