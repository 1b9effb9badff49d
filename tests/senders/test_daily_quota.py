from __future__ import annotations

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from senders.daily_quota import DAY, HOUR, SHORTEST_BLOCK, STEP, DailyQuota
from senders.usage import Usage
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


def test_what_others_have_sent_counts_until_its_hour_is_a_day_old() -> None:
    hour = MIDNIGHT // HOUR
    quota = DailyQuota(5)
    quota.count(MIDNIGHT)
    assert quota.wait(MIDNIGHT, {hour: 3}) == 0
    elsewhere = {hour - 23: 3, hour - 1: 1}
    assert quota.wait(MIDNIGHT, elsewhere) == (hour - 22) * HOUR + DAY - MIDNIGHT
    assert quota.wait((hour - 22) * HOUR + DAY, elsewhere) == 0
    assert quota.wait(MIDNIGHT, {hour - 25: 1_000}) == 0
    quota.count(MIDNIGHT)
    assert quota.by_hour() == {hour: 2}


def test_a_day_with_several_steps_to_wait_for() -> None:
    quota = DailyQuota(1)
    quota.count(MIDNIGHT)
    hour = MIDNIGHT // HOUR
    assert quota.wait(MIDNIGHT, {hour - 2: 1}) == DAY + STEP, "until both are a day old"


def test_workers_that_know_of_each_other_keep_one_limit() -> None:
    """Each told of the others before each message."""
    quotas = [DailyQuota(10) for _ in range(3)]
    usages = [Usage(f"w{number}") for number in range(3)]
    sent = []
    for step in range(300):
        moment = MIDNIGHT + step * 20 * STEP
        for number, quota in enumerate(quotas):
            for other, usage in enumerate(usages):
                usage.saw(f"w{number}", {"box": quota.by_hour()})
                assert usage.elsewhere("other") == {}, other
        chosen = step % 3
        if quotas[chosen].wait(moment, usages[chosen].elsewhere("box")) == 0:
            quotas[chosen].count(moment)
            sent.append(moment)
    assert len(sent) > 200
    for first in range(len(sent)):
        assert sum(sent[first] <= other < sent[first] + DAY for other in sent) <= 10


def test_what_a_worker_sent_long_ago_is_forgotten() -> None:
    usage = Usage("me")
    usage.saw("old", {"box": {1: 5}})
    usage.saw("me", {"box": {1: 5}})
    assert usage.elsewhere("box") == {1: 5}
    usage.saw("new", {"box": {27: 1}})
    assert usage.elsewhere("box") == {27: 1}
