"""Which provider account a channel's next messages go by, and how many of them now.

A channel has one account or several, the preferred one first. The next one steps in only where the first may
not be called (its breaker is not closed): a message that was refused for now, or was never tried, then goes
another way. What a provider may have taken never gets here again, it is asked about where it was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import msgspec

from schemas.records import Channel
from senders.breaker import Breaker, State, Turn
from senders.pacing import Pace
from senders.pauses import Pauses
from senders.sender import Sender
from senders.shares import SharedBucket, Shares
from senders.turns import WEIGHT, Rates, Turns
from streams.domain.messages import Outcome, RetryAt
from streams.stages.ready import Room

PAUSED = "paused"
_TURN = 100
"""Milliseconds between looks of who waits for the turn of another, who may have nothing to send any more."""


@dataclass(slots=True)
class Account:
    """A provider account as this worker knows it."""

    sender: Sender
    pace: Pace | None
    breaker: Breaker = field(default_factory=Breaker)

    def room(self, now: int, most: int) -> int:
        """How many messages may begin now, at most ``most``."""
        passing = self.breaker.room(now)
        rooms = [most] if passing is None else [most, passing]
        return max(0, min([*rooms, self.pace.tokens(now)] if self.pace is not None else rooms))

    def wait(self, now: int) -> int | None:
        """Milliseconds until ``room`` may be another; None: nobody can say, or nothing is waited for."""
        passing = self.breaker.wait(now)
        if passing is None or self.pace is None:
            return passing or None
        return max(passing, self.pace.wait(now)) or None


class Call(msgspec.Struct, frozen=True, gc=False):
    """A message on its way by ``account``: each that was begun must be ended."""

    channel: Channel
    account: Account
    turn: Turn
    company: str = ""


class Lane:
    """One channel. ``limit``: messages (and questions) at its providers at once; ``ahead``: how many more may
    have begun. ``shares``: with whom the accounts' rates are shared; None: this worker has all of them.
    ``waiting``: how many messages wait, by company; ``rates``: of the companies that have one."""

    def __init__(
        self,
        channel: Channel,
        senders: Sequence[Sender],
        limit: int,
        shares: Shares | None = None,
        pauses: Pauses | None = None,
        waiting: Callable[[], Mapping[str, int]] = dict,
        rates: Rates = MappingProxyType({}),
        ahead: int = 0,
    ) -> None:
        self._waiting = waiting
        self._turns = Turns(channel, rates, shares)
        self.accounts = [Account(sender, _pace(channel, sender, shares)) for sender in senders]
        self.used = 0
        self._pauses = pauses or Pauses()
        self._channel = channel
        self._limit = limit
        self._ahead = ahead

    @property
    def free(self) -> int:
        """How many may begin. While all places are taken and others have begun, what comes next has time: it
        comes by half of ``ahead`` or more, because a round costs about as much for many as for one."""
        free = self._limit + self._ahead - self.used
        return max(0, free) if 2 * free >= self._ahead else 0

    def room(self, now: int) -> Room:
        """For the next round: all of it goes by one account."""
        if self._pauses.paused(self._channel):
            return Room(0, self.accounts[0].sender.name)
        for account in self.accounts:
            room = account.room(now, self.free)
            # Probing or closed: its turn. A closed one whose tokens are used up has no stand-in.
            if room or account.breaker.state(now) is State.CLOSED:
                return self._shared_room(account, room, now)
        return Room(0, self.accounts[0].sender.name)

    def wait(self, now: int) -> int | None:
        """Milliseconds until there may be room, other than by what comes back; None: nobody can say."""
        waits = [wait for account in self.accounts if (wait := account.wait(now)) is not None]
        if self._turns.rates and (wait := self._turns.wait(now, self._waiting())) is not None:
            waits.append(wait)
        if self.room(now).first is not None:
            waits.append(_TURN)
        return min(waits, default=None)

    def _shared_room(self, account: Account, room: int, now: int) -> Room:
        name, limits = account.sender.name, dict.fromkeys(self._pauses.companies(self._channel), 0)
        scarce = account.pace is not None
        if not room or not (scarce or self._turns.rates):
            return Room(room, name, limits)
        waiting = self._waiting()
        limits = self._turns.limits(now, waiting) | limits
        if not scarce or room >= len(waiting):
            return Room(room, name, limits)
        barred = {company for company, count in limits.items() if count <= 0}
        return Room(room, name, limits, self._turns.first(room, waiting, barred))

    def sender(self, provider: str) -> Sender:
        """By its name; what an earlier release wrote has none, and one that is gone can't be asked."""
        named = (account.sender for account in self.accounts if account.sender.name == provider)
        return next(named, self.accounts[0].sender)

    def begin(self, provider: str, now: int, company: str = "") -> Call:
        account = next(
            (one for one in self.accounts if one.sender.name == provider),
            self.accounts[0],
        )
        self.used += 1
        if account.pace is not None:
            account.pace.take(now)
        self._turns.began(company, now)
        return Call(self._channel, account, account.breaker.begin(now), company)

    def held_back(self, call: Call, now: int) -> str:
        """Why a call that has begun is not to be made after all, in words; empty: it is."""
        if self._pauses.paused(self._channel) or call.company in self._pauses.companies(self._channel):
            return "paused while it waited for its turn"
        return "" if call.account.breaker.lets(call.turn, now) else "its account failed before its turn"

    def end(self, call: Call, outcome: Outcome | None, now: int) -> bool:
        """``outcome`` None: the message was withdrawn before its provider was called. Whether another account
        may have it at once: else a message that happens to be each probe of a provider that is away would be
        the one to wait for it."""
        self.used -= 1
        if outcome is None:
            self._turns.withdrawn(call.company)
            if call.account.pace is not None:
                call.account.pace.give_back()
        # What another account says (a company's mailbox on the e-mail channel) is none of this one's.
        mine = outcome is not None and outcome.provider == call.account.sender.name
        call.account.breaker.end(call.turn, outcome if mine else None, now)
        return mine and isinstance(outcome, RetryAt) and self._steps_in(call.account, now)

    def _steps_in(self, away: Account, now: int) -> bool:
        return away.breaker.state(now) is not State.CLOSED and any(
            account is not away and account.breaker.state(now) is State.CLOSED for account in self.accounts
        )

    def backlog(self) -> dict[str, int]:
        """What waits for accounts and of companies with a rate, in the words of ``Shares``."""
        paced = [account for account in self.accounts if account.pace is not None]
        if not paced and not self._turns.rates:
            return {}
        waiting = self._waiting()
        weight = WEIGHT * len(waiting)
        accounts = {_share_name(self._channel, account.sender): weight for account in paced}
        return accounts | self._turns.backlog(waiting)

    def states(self, now: int) -> Mapping[str, str]:
        """By provider: the state of its breaker, or ``paused``."""
        paused = self._pauses.paused(self._channel)
        return {
            account.sender.name: PAUSED if paused else str(account.breaker.state(now))
            for account in self.accounts
        }


def _pace(channel: Channel, sender: Sender, shares: Shares | None) -> Pace | None:
    own = sender.bucket
    if own is None or shares is None:
        return own
    return SharedBucket(shares, _share_name(channel, sender), own.rate, own.burst)


def _share_name(channel: Channel, sender: Sender) -> str:
    return f"{channel}/{sender.name}"
