"""Several causes for one address."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.blocks import LIFTED_BY_START, after_start, is_lasting, with_cause
from streams.domain.reasons import Reason

CAUSES = st.sampled_from([*sorted(LIFTED_BY_START), "bounce", "invalid_recipient", "staff", "complaint"])


@pytest.mark.parametrize(
    ("reason", "lasting", "left"),
    [
        ("", True, ""),  # somebody's own record without a reason: not a customer's word
        ("stop", False, ""),
        ("opted_out", False, ""),
        ("unsubscribe+stop", False, ""),
        ("staff", True, "staff"),
        ("staff+stop", True, "staff"),
        ("stop+invalid_recipient", True, "invalid_recipient"),
    ],
)
def test_start_lifts_what_the_customer_did(reason: str, lasting: bool, left: str) -> None:
    assert is_lasting(reason) is lasting
    assert after_start(reason) == left


@given(st.lists(CAUSES, max_size=5))
def test_no_cause_is_forgotten_and_none_is_there_twice(causes: list[str]) -> None:
    reason = ""
    for cause in causes:
        reason = with_cause(reason, cause)
        assert with_cause(reason, cause) == reason
    assert sorted(filter(None, reason.split("+"))) == sorted(set(causes))
    assert set(after_start(reason).split("+")) - {""} == set(causes) - LIFTED_BY_START
    assert after_start(after_start(reason)) == after_start(reason)


def test_the_provider_s_word_has_the_name_that_senders_give_it() -> None:
    assert Reason.OPTED_OUT in LIFTED_BY_START
    assert Reason.INVALID_RECIPIENT not in LIFTED_BY_START
