from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from senders.breaker import FAILURES, LONGEST, LONGEST_WISH, SHORTEST, Breaker, State, Turn
from streams.domain.messages import Accepted, Outcome, Rejected, RetryAt, Unknown
from streams.domain.reasons import Reason

OK = Accepted("p", "1")
NO = Rejected("p", "refused")
LOST = Unknown("p", "no_answer")
AWAY = RetryAt("p", "unreachable")
GREY = RetryAt("p", "provider_busy")
SLOW = RetryAt("p", "throttled", pause_channel=True)
BAD = RetryAt("p", "account", pause_channel=True)


def wish(after: int) -> RetryAt:
    return RetryAt("p", "throttled", after=after, pause_channel=True)


def call(breaker: Breaker, outcome: Outcome | None, now: int = 0) -> None:
    breaker.end(breaker.begin(now), outcome, now)


@pytest.mark.parametrize("failure", [LOST, AWAY])
def test_failures_in_a_row_open_it(failure: Outcome) -> None:
    breaker = Breaker()
    for _ in range(FAILURES - 1):
        call(breaker, failure)
    call(breaker, OK)
    for _ in range(FAILURES - 1):
        call(breaker, failure)
    assert (breaker.state(0), breaker.room(0), breaker.wait(0)) == (State.CLOSED, None, 0)
    call(breaker, failure)
    assert (breaker.state(0), breaker.room(0), breaker.wait(0)) == (State.OPEN, 0, SHORTEST)


@pytest.mark.parametrize("outcome", [OK, NO, GREY])
def test_what_speaks_of_one_message_opens_nothing(outcome: Outcome) -> None:
    breaker = Breaker()
    for _ in range(50):
        call(breaker, outcome)
    assert breaker.state(0) is State.CLOSED


@pytest.mark.parametrize(
    ("outcome", "state", "wait"),
    [
        (SLOW, State.THROTTLED, SHORTEST),
        (BAD, State.OPEN, 30_000),
        (wish(7_000), State.THROTTLED, 7_000),
        (wish(LONGEST_WISH * 9), State.THROTTLED, LONGEST_WISH),
    ],
)
def test_what_speaks_of_the_account_opens_it_at_once(outcome: Outcome, state: State, wait: int) -> None:
    breaker = Breaker()
    call(breaker, outcome)
    assert (breaker.state(0), breaker.wait(0)) == (state, wait)
    assert (breaker.room(wait - 1), breaker.room(wait)) == (0, 1)


def test_one_probe_at_a_time_and_a_success_closes_it() -> None:
    breaker = Breaker()
    call(breaker, SLOW)
    assert breaker.state(SHORTEST) is State.PROBING
    probe = breaker.begin(SHORTEST)
    assert (breaker.room(SHORTEST), breaker.wait(SHORTEST)) == (0, None)
    breaker.end(probe, OK, SHORTEST)
    assert (breaker.state(SHORTEST), breaker.room(SHORTEST)) == (State.CLOSED, None)


def test_each_probe_that_fails_doubles_the_pause() -> None:
    breaker, now, pauses = Breaker(), 0, []
    call(breaker, SLOW)
    for _ in range(9):
        wait = breaker.wait(now)
        assert wait is not None
        pauses.append(wait)
        now += wait
        call(breaker, LOST, now)
    assert pauses == [1000, 2000, 4000, 8000, 16000, 32000, *[LONGEST] * 3]
    call(breaker, OK, now + LONGEST)
    call(breaker, SLOW, now + LONGEST)
    assert breaker.wait(now + LONGEST) == SHORTEST, "a success forgets it"


def test_a_probe_that_was_not_made_leaves_room_for_another() -> None:
    breaker = Breaker()
    call(breaker, SLOW)
    call(breaker, None, SHORTEST)
    assert (breaker.state(SHORTEST), breaker.room(SHORTEST)) == (State.PROBING, 1)


def test_a_message_that_was_given_back_uncalled_proves_nothing() -> None:
    breaker = Breaker()
    waits = RetryAt("p", Reason.THROTTLED, called=False)
    for _ in range(FAILURES - 1):
        call(breaker, AWAY)
    call(breaker, waits)
    call(breaker, AWAY)
    assert breaker.state(0) is State.OPEN, "four failures are not forgotten over it"
    call(breaker, waits, SHORTEST)
    assert (breaker.state(SHORTEST), breaker.room(SHORTEST)) == (State.PROBING, 1)


def test_calls_that_began_before_it_opened_say_nothing_of_now() -> None:
    breaker = Breaker()
    early = [breaker.begin(0) for _ in range(FAILURES * 3)]
    for turn in early[:FAILURES]:
        breaker.end(turn, LOST, 10)
    assert breaker.wait(10) == SHORTEST
    for turn in early[FAILURES:-2]:
        breaker.end(turn, LOST, 500)
    assert breaker.wait(500) == SHORTEST - 490, "not longer for failures that were under way"
    breaker.end(early[-2], OK, 600)
    assert breaker.state(600) is State.OPEN
    breaker.end(early[-1], wish(9_000), 700)
    assert breaker.wait(700) == 9_000, "but what the provider asks for holds"


def test_a_clock_that_goes_back_opens_nothing_early() -> None:
    breaker = Breaker()
    call(breaker, SLOW, 10_000)
    assert breaker.room(0) == 0
    assert breaker.wait(0) == SHORTEST


OUTCOMES: list[Any] = [OK, NO, LOST, AWAY, GREY, SLOW, BAD, wish(3_000), None]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20_000), st.sampled_from(OUTCOMES), st.booleans()), max_size=60))
def test_whatever_comes_at_most_one_probe_runs_and_it_never_stays_shut(
    steps: list[tuple[int, Outcome | None, bool]],
) -> None:
    breaker, now = Breaker(), 0
    under_way: list[Turn] = []
    probing: Turn | None = None
    for elapsed, outcome, later in steps:
        now += elapsed
        state, room = breaker.state(now), breaker.room(now)
        assert (room is None) is (state is State.CLOSED)
        assert not (room and probing), "one probe at a time"
        if room != 0:
            turn = breaker.begin(now)
            under_way.append(turn)
            probing = turn if state is State.PROBING else None
        if not later and under_way:
            ended = under_way.pop(0)
            breaker.end(ended, outcome, now)
            probing = None if ended is probing else probing
    for turn in under_way:
        breaker.end(turn, None, now)
    wait = breaker.wait(now)
    assert wait is not None, "no probe is under way for ever"
    assert wait <= LONGEST_WISH
    assert breaker.room(now + wait) != 0
