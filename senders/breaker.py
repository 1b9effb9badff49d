"""Whether a provider account may be called now: a circuit breaker that is told the time.

Closed, everything passes. It opens after some failures in a row, or at once when the provider asks for a
pause or refuses the account; while it is open nothing is tried, so nothing fails. When its time is over one
call at a time is a probe: a success closes it, a failure opens it for twice as long.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from streams.domain.messages import Outcome, RetryAt, Unknown
from streams.domain.reasons import Reason

FAILURES = 5
"""In a row. Fewer, and a flaw of the network that hits a few calls side by side would stop an account."""
SHORTEST = 1_000
"""Milliseconds of a first opening, doubled with each probe that fails."""
LONGEST = 60_000
"""An account that works again is found within a minute."""
LONGEST_WISH = 3_600_000
"""A provider that asks for more than an hour is tried again after an hour."""
_ACCOUNT = 30_000
"""First opening when the account itself is refused: somebody has to mend it."""


class State(StrEnum):
    CLOSED = "closed"
    """It works."""
    THROTTLED = "throttled"
    """The provider has asked for a pause."""
    OPEN = "open"
    """It does not work; nothing is tried until the time is over."""
    PROBING = "probing"
    """One call at a time finds out whether it works again."""


class Turn(msgspec.Struct, frozen=True, gc=False):
    """One call that the breaker let pass. ``opened``: how often it had opened by then."""

    opened: int


class Breaker:
    """Pure: every call says what time it is (milliseconds). A time that goes back changes nothing."""

    __slots__ = ("_failures", "_now", "_opened", "_pause", "_probe", "_throttled", "_until")

    def __init__(self) -> None:
        self._failures = 0
        self._opened = 0  # how often; turns of before say nothing about now
        self._until: int | None = None  # None: closed
        self._pause = 0
        self._probe: Turn | None = None
        self._throttled = False
        self._now = 0

    def state(self, now: int) -> State:
        if self._until is None:
            return State.CLOSED
        if self._time(now) < self._until:
            return State.THROTTLED if self._throttled else State.OPEN
        return State.PROBING

    def room(self, now: int) -> int | None:
        """How many calls may begin now; None: as many as you like."""
        state = self.state(now)
        if state is State.CLOSED:
            return None
        return 1 if state is State.PROBING and self._probe is None else 0

    def wait(self, now: int) -> int | None:
        """Milliseconds until a call may begin, 0: now; None: when the probe under way has ended."""
        left = 0 if self._until is None else self._until - self._time(now)
        return max(0, left) if left > 0 or self._probe is None else None

    def lets(self, turn: Turn, now: int) -> bool:
        """Whether a call that has begun, and had to wait since, is to be made after all."""
        return turn is self._probe or self.state(now) is State.CLOSED

    def begin(self, now: int) -> Turn:
        """A call begins; ``room`` was asked before. Each turn must be ended, whatever becomes of the call."""
        turn = Turn(self._opened)
        if self.state(now) is State.PROBING:
            self._probe = turn
        return turn

    def end(self, turn: Turn, outcome: Outcome | None, now: int) -> None:
        """``outcome`` None: the call was not made, or what came of it says nothing about this account."""
        probed = turn is self._probe
        if probed:
            self._probe = None
        if outcome is None or (isinstance(outcome, RetryAt) and not outcome.called):
            return
        failure = _failure(outcome)
        if isinstance(failure, RetryAt) and failure.after > 0:
            # The provider's own wish holds, whenever the call began.
            self._open(now, min(failure.after, LONGEST_WISH), throttled=True)
        elif turn.opened != self._opened:
            return  # it began before the last opening: that is known already
        elif failure is None:
            self._failures = 0
            if probed:
                self._until, self._pause = None, 0
        else:
            self._failures += 1
            if probed or self._failures >= FAILURES or _at_once(failure):
                least = _ACCOUNT if failure.reason == Reason.ACCOUNT else SHORTEST
                self._pause = min(max(least, self._pause * 2), LONGEST)
                self._open(now, self._pause, throttled=failure.reason == Reason.THROTTLED)

    def _open(self, now: int, pause: int, *, throttled: bool) -> None:
        until = self._time(now) + pause
        if self._until is None or until > self._until:
            self._until, self._throttled = until, throttled
        self._opened += 1
        self._failures = 0

    def _time(self, now: int) -> int:
        self._now = max(self._now, now)
        return self._now


def _failure(outcome: Outcome) -> RetryAt | Unknown | None:
    """What speaks of the account or the way to it, rather than of one message."""
    if isinstance(outcome, RetryAt):
        return outcome if outcome.pause_channel or outcome.reason == Reason.UNREACHABLE else None
    return outcome if isinstance(outcome, Unknown) else None


def _at_once(failure: RetryAt | Unknown) -> bool:
    return isinstance(failure, RetryAt) and failure.pause_channel
