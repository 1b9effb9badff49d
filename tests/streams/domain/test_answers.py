"""The sentences that answer to a word."""

from __future__ import annotations

import pytest

from schemas.records import EventStatus
from streams.domain.answers import ANSWERS, answer
from streams.domain.keywords import STOP, word_of


def test_every_word_is_answered_in_every_language_that_has_words() -> None:
    assert set(ANSWERS) == {EventStatus.STOP, EventStatus.START, EventStatus.HELP}
    for status, texts in ANSWERS.items():
        assert list(texts) == list(STOP)
        for text in texts.values():
            assert "{company}" in text
            # What the sentence tells people to write is understood.
            other = "START" if status is EventStatus.STOP else "STOP"
            assert other in text
            assert word_of(other) is EventStatus(other.lower())


@pytest.mark.parametrize(
    ("languages", "begins"),
    [
        (["pl"], "Koło {1}: nie wyślemy"),
        (["pt-BR"], "Koło {1}: não"),
        (["fi", "de"], "Koło {1}: Sie"),
        (["fi"], "Koło {1}: you"),
        ([], "Koło {1}: you"),
    ],
)
def test_the_language_is_the_company_s_and_its_name_is_text(languages: list[str], begins: str) -> None:
    assert answer(EventStatus.STOP, "Koło {1}", languages).startswith(begins)


def test_a_company_may_answer_to_help_in_its_own_words() -> None:
    assert answer(EventStatus.HELP, "Acme", ["en"], "Call {us}") == "Call {us}"
    assert answer(EventStatus.STOP, "Acme", ["en"], "Call {us}").startswith("Acme: you will get no more")
    assert answer(EventStatus.HELP, "Acme", ["en"], "").startswith("Acme texts you")
    assert answer(EventStatus.OTHER, "Acme", ["en"], "Call {us}") == ""


def test_anything_else_is_not_answered() -> None:
    assert answer(EventStatus.OTHER, "Acme", ["en"]) == ""
    assert answer(EventStatus.DELIVERED, "Acme", ["en"]) == ""
