from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from senders.shares import LAG, WINDOW, Report, SharedBucket, Shares


def readers(log: list[Report], *workers: str) -> list[Shares]:
    found = [Shares(worker) for worker in workers]
    for one in found:
        for report in log:
            one.saw(report)
    return found


def windows(first: int, last: int, **backlogs: int) -> list[Report]:
    return [
        Report(worker, window, {"sms": backlog})
        for window in range(first, last)
        for worker, backlog in backlogs.items()
    ]


def test_by_what_waits() -> None:
    a, b = readers(windows(0, 3, a=98, b=0), "a", "b")
    assert (a.of("sms", LAG), b.of("sms", LAG)) == (0.99, 0.01)
    assert (a.of("other", LAG), b.of("other", LAG)) == (0.5, 0.5), "nothing waits for it anywhere"


def test_who_is_alone_has_all() -> None:
    [a] = readers(windows(0, 3, a=0), "a")
    assert a.of("sms", LAG) == 1.0


def test_who_has_not_been_told_of_has_nothing_yet() -> None:
    a, new = readers([*windows(0, 3, a=0), Report("new", 2, {"sms": 1_000})], "a", "new")
    assert (a.of("sms", LAG), new.of("sms", LAG)) == (1.0, 0.0)


def test_who_has_not_read_the_whole_window_has_nothing() -> None:
    [a] = readers([Report("a", 5, {})], "a")
    assert a.of("sms", 5 + LAG) == 0.0, "another's report of window 5 may still come"
    a.saw(Report("a", 6, {}))
    assert a.of("sms", 5 + LAG) == 1.0


def test_who_dies_frees_its_share() -> None:
    log = windows(0, 3, a=1, dead=1_000) + windows(3, 6, a=1)
    [a] = readers(log, "a")
    assert a.of("sms", 2 + LAG) < 0.01
    assert a.of("sms", 3 + LAG) == 1.0


def test_a_late_report_changes_nothing_that_was_over() -> None:
    log = [*windows(0, 4, a=9), Report("b", 1, {"sms": 9}), *windows(4, 6, a=9)]
    a, b = readers(log, "a", "b")
    assert (a.of("sms", 1 + LAG), b.of("sms", 1 + LAG)) == (1.0, 0.0)
    assert (a.of("sms", 3 + LAG), b.of("sms", 3 + LAG)) == (0.5, 0.5), "it counts where it stands"


WORKERS = ("a", "b", "c")
reports = st.lists(
    st.tuples(st.sampled_from(WORKERS), st.integers(0, 12), st.integers(0, 500)),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(reports, st.lists(st.integers(0, 60), min_size=3, max_size=3))
def test_shares_never_add_up_to_more_than_the_whole(
    written: list[tuple[str, int, int]], positions: list[int]
) -> None:
    """Whatever order the reports came in, and however far each has read."""
    log = [Report(worker, window, {"sms": waiting}) for worker, window, waiting in written]
    seen = [readers(log[:position], worker)[0] for worker, position in zip(WORKERS, positions, strict=True)]
    for window in range(20):
        assert sum(shares.of("sms", window) for shares in seen) <= 1 + 1e-9


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 700), st.integers(0, 50)), max_size=80),
    st.sampled_from((0.5, 1.0, 7.0, 100.0)),
)
def test_all_together_never_send_faster_than_the_account_may(
    steps: list[tuple[int, int, int]], rate: float
) -> None:
    """Three workers that report and take at any moments, and read when they like."""
    burst, log, now, taken = 2, list[Report](), 0, 0
    shares = [Shares(worker) for worker in WORKERS]
    buckets = [SharedBucket(one, "sms", rate, burst) for one in shares]
    read = [0, 0, 0]
    for bucket in buckets:
        bucket.tokens(0)
    for number, elapsed, waiting in steps:
        now += elapsed
        log.append(Report(WORKERS[number], now // WINDOW, {"sms": waiting}))
        while waiting % 3 and read[number] < len(log):
            shares[number].saw(log[read[number]])
            read[number] += 1
        while buckets[number].take(now) == 0:
            taken += 1
    assert taken <= rate * now / 1000 + burst * len(WORKERS)


def test_a_worker_with_all_of_the_backlog_sends_nearly_at_the_full_rate() -> None:
    a, b = readers([], "a", "b")
    mine, other = SharedBucket(a, "sms", 10.0, 3), SharedBucket(b, "sms", 10.0, 3)
    sent = 0
    for window in range(60):
        for report in windows(window, window + 1, a=100, b=0):
            a.saw(report)
            b.saw(report)
        for now in range(window * WINDOW, (window + 1) * WINDOW, 50):
            while mine.take(now) == 0:
                sent += 1
            other.tokens(now)
    assert 10 * 57 * 0.97 < sent <= 600
    assert other.take(60 * WINDOW) == 0, "and who has nothing to send has one ready all the same"


@pytest.mark.parametrize("known", [True, False])
def test_what_is_told_to_wait_is_worth_looking_again(known: bool) -> None:
    [a] = readers(windows(0, 60, a=0) if known else [], "a")
    bucket = SharedBucket(a, "sms", 0.5)
    now, looks = 40 * WINDOW + 1, 0
    while (wait := bucket.wait(now)) and looks < 10:
        assert 0 < wait <= WINDOW
        now, looks = now + wait, looks + 1
    assert looks == (3 if known else 10)


def test_who_stood_still_gets_nothing_for_windows_that_are_forgotten() -> None:
    [a] = readers(windows(0, 100, a=0), "a")
    bucket = SharedBucket(a, "sms", 1.0, burst=1_000)
    bucket.tokens(0)
    assert bucket.tokens(101 * WINDOW) <= 31
