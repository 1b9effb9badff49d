from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streams.domain.backoff import FIRST, LONGEST, backoff


@given(st.text(max_size=32), st.integers(1, 10_000))
def test_waits_between_half_and_all_of_a_doubling_ceiling(delivery_id: str, attempt: int) -> None:
    ceiling = min(LONGEST, FIRST * 2 ** (attempt - 1))
    assert ceiling // 2 <= backoff(delivery_id, attempt) <= ceiling


def test_a_replay_waits_as_long_and_a_blast_spreads_out() -> None:
    waits = [backoff(f"{number:032x}", 3) for number in range(500)]
    assert waits == [backoff(f"{number:032x}", 3) for number in range(500)]
    waits.sort()
    assert max(later - sooner for sooner, later in pairwise(waits)) < FIRST // 2
    assert waits[0] < FIRST * 4 * 0.51
    assert waits[-1] > FIRST * 4 * 0.99


def test_grows_from_attempt_to_attempt_until_the_longest() -> None:
    assert backoff("a", 1) < backoff("a", 3) < backoff("a", 5)
    assert LONGEST // 2 <= backoff("a", 60) <= LONGEST
    assert backoff("a", 2) != backoff("a", 2 + 1) - FIRST
