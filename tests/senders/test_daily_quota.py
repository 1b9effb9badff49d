from __future__ import annotations

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from senders.daily_quota import DAY, SHORTEST_BLOCK, STEP, DailyQuota
from tests.senders.samples import NOW

MIDNIGHT = NOW - NOW % STEP


def test_full_until_the_oldest_is_a_day_old() -> None:
    quota = DailyQuota(2)
    assert quota.wait(MIDNIGHT) == 0
    quota.count(MIDNIGHT)
    quota.count(MIDNIGHT + DAY // 2)
    assert quota.wait(MIDNIGHT + DAY // 2) == DAY // 2 + STEP
    assert quota.wait(MIDNIGHT + DAY + STEP - 1) == 1
    assert quota.wait(MIDNIGHT + DAY + STEP) == 0
    assert quota.used == 1


def test_what_did_not_go_is_taken_back() -> None:
    quota = DailyQuota(1)
    quota.take_back()
    quota.count(NOW)
    quota.take_back()
    quota.take_back()
    assert (quota.used, quota.wait(NOW)) == (0, 0)


def test_the_provider_s_word_holds_for_an_hour_to_a_day() -> None:
    assert DailyQuota(9).used_up(MIDNIGHT) == DAY, "others have used it up"
    quota = DailyQuota(9)
    quota.count(MIDNIGHT)
    later = MIDNIGHT + DAY - 1000
    assert quota.used_up(later) == SHORTEST_BLOCK
    assert quota.wait(later + SHORTEST_BLOCK - 1) == 1
    assert quota.wait(later + SHORTEST_BLOCK) == 0


def test_a_clock_that_goes_back() -> None:
    quota = DailyQuota(2)
    quota.count(NOW)
    quota.count(NOW - DAY)
    assert quota.wait(NOW) > 0


@given(st.integers(1, 5), st.lists(st.integers(0, DAY // 3), max_size=60))
def test_never_more_than_the_limit_in_any_day(limit: int, gaps: list[int]) -> None:
    quota = DailyQuota(limit)
    sent: list[int] = []
    for moment in accumulate(gaps, initial=NOW):
        if quota.wait(moment) == 0:
            quota.count(moment)
            sent.append(moment)
    for first in range(len(sent)):
        assert sum(sent[first] <= other < sent[first] + DAY for other in sent) <= limit
