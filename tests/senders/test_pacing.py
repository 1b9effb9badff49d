from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from senders.pacing import Bucket


def test_a_burst_then_one_by_one() -> None:
    bucket = Bucket(2.0, burst=3)
    assert [bucket.take(0) for _ in range(4)] == [0, 0, 0, 500]
    assert bucket.take(0) == 500, "a refusal takes nothing"
    assert bucket.take(499) == 1
    assert bucket.take(500) == 0
    assert bucket.take(500) == 500


def test_a_clock_that_goes_back_adds_nothing() -> None:
    bucket = Bucket(1.0)
    assert bucket.take(10_000) == 0
    assert bucket.take(0) == 1000
    assert bucket.take(10_500) == 500


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (float("inf"), 1), (float("nan"), 1), (1, 0)])
def test_nonsense_is_refused(rate: float, burst: int) -> None:
    with pytest.raises(ValueError, match=r"rate|burst"):
        Bucket(rate, burst)


@settings(max_examples=50)
@given(st.floats(0.01, 5000), st.integers(1, 50))
def test_whoever_waits_as_told_gets_a_token_and_the_rate_holds(rate: float, burst: int) -> None:
    bucket, now, taken = Bucket(rate, burst), 0, 0
    for _ in range(200):
        wait = bucket.take(now)
        taken += wait == 0
        if wait:
            now += wait
            assert bucket.take(now) == 0
            taken += 1
    assert taken <= burst + now * rate / 1000 + 1e-3
