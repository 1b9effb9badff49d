"""The table of a message's life is whole: every state and every reason has its place."""

from __future__ import annotations

import pytest

from schemas.records import FINAL_STATES, DeliveryState
from streams.domain.life import AT_PROVIDER, GONE, NEXT, NOT_SENT, REASONS, RECEIPTS, STEPS, WAITING, allowed
from streams.domain.reasons import Reason

OF_DEAD_LETTERS = set(list(Reason)[list(Reason).index(Reason.UNDECODABLE) :])


def test_every_state_is_in_one_group() -> None:
    groups = [*WAITING, *AT_PROVIDER, *GONE, *NOT_SENT, *RECEIPTS]
    assert sorted(groups) == sorted(DeliveryState)
    assert {*GONE, *NOT_SENT} == FINAL_STATES


def test_every_state_can_be_reached_and_every_pending_one_left() -> None:
    reached: set[DeliveryState | None] = {None}
    while more := {target for state in reached for target in NEXT[state]} - reached:
        reached |= more
    assert reached == {None, *DeliveryState}
    for state in (*WAITING, *AT_PROVIDER):
        assert NEXT[state] & FINAL_STATES


def test_what_may_have_gone_out_never_goes_again() -> None:
    for state in (*GONE, *RECEIPTS):
        assert NEXT[state] <= {*RECEIPTS}


def test_only_what_was_announced_is_sent() -> None:
    # An e-mail that waits for its second try may turn out to have gone with the first.
    before_sent = {state for state in NEXT if DeliveryState.SENT in NEXT[state]}
    assert before_sent == {*AT_PROVIDER, DeliveryState.RETRYING}
    assert {state for state in NEXT if DeliveryState.SENDING in NEXT[state]} == {*WAITING}


def test_no_two_steps_say_the_same() -> None:
    pairs = [
        (source, target) for step in STEPS for source in (step.sources or (None,)) for target in step.targets
    ]
    assert len(pairs) == len(set(pairs)) == sum(len(targets) for targets in NEXT.values())


def test_every_reason_belongs_to_a_state_or_to_dead_letters() -> None:
    assert list(REASONS) == list(DeliveryState)
    used = {reason for reasons in REASONS.values() for reason in reasons}
    assert used == set(Reason) - OF_DEAD_LETTERS


@pytest.mark.parametrize(
    ("before", "state", "reason", "may"),
    [
        (None, DeliveryState.SCHEDULED, "armed", True),
        (None, DeliveryState.SCHEDULED, "accepted", False),
        (None, DeliveryState.SENDING, "", False),
        (DeliveryState.UNKNOWN, DeliveryState.SENT, "found", True),
        (DeliveryState.SENT, DeliveryState.SENDING, "", False),
    ],
)
def test_allowed(before: DeliveryState | None, state: DeliveryState, reason: str, may: bool) -> None:
    assert allowed(before, state, reason) is may
