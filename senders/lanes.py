"""Which provider account a channel's next messages go by, and how many of them now.

A channel has one account or several, the preferred one first. The next one steps in only where the first may
not be called (its breaker is not closed): a message that was refused for now, or was never tried, then goes
another way. What a provider may have taken never gets here again, it is asked about where it was sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from schemas.records import Channel
from senders.breaker import Breaker, State, Turn
from senders.sender import Sender
from streams.domain.messages import Outcome
from streams.stages.ready import Room


@dataclass(slots=True)
class Account:
    """A provider account as this worker knows it."""

    sender: Sender
    breaker: Breaker = field(default_factory=Breaker)

    def room(self, now: int, most: int) -> int:
        """How many messages may begin now, at most ``most``."""
        bucket = self.sender.bucket
        passing = self.breaker.room(now)
        rooms = [most] if passing is None else [most, passing]
        return max(0, min([*rooms, bucket.tokens(now)] if bucket is not None else rooms))

    def wait(self, now: int) -> int | None:
        """Milliseconds until ``room`` may be another; None: nobody can say, or nothing is waited for."""
        bucket = self.sender.bucket
        passing = self.breaker.wait(now)
        if passing is None or bucket is None:
            return passing or None
        return max(passing, bucket.wait(now)) or None


@dataclass(frozen=True, slots=True)
class Call:
    """A message on its way by ``account``: each that was begun must be ended."""

    channel: Channel
    account: Account
    turn: Turn


class Lane:
    """One channel. ``limit``: messages (and questions) at its providers at once."""

    def __init__(self, channel: Channel, senders: Sequence[Sender], limit: int) -> None:
        self.accounts = [Account(sender) for sender in senders]
        self.used = 0
        self._channel = channel
        self._limit = limit

    def room(self, now: int) -> Room:
        """For the next round: all of it goes by one account."""
        for account in self.accounts:
            room = account.room(now, self._limit - self.used)
            # Probing or closed: its turn. A closed one whose tokens are used up has no stand-in.
            if room or account.breaker.state(now) is State.CLOSED:
                return Room(room, account.sender.name)
        return Room(0, self.accounts[0].sender.name)

    def wait(self, now: int) -> int | None:
        """Milliseconds until there may be room, other than by what comes back; None: nobody can say."""
        waits = [wait for account in self.accounts if (wait := account.wait(now)) is not None]
        return min(waits, default=None)

    def sender(self, provider: str) -> Sender:
        """By its name; what an earlier release wrote has none, and one that is gone can't be asked."""
        named = (account.sender for account in self.accounts if account.sender.name == provider)
        return next(named, self.accounts[0].sender)

    def begin(self, provider: str, now: int) -> Call:
        account = next(
            (one for one in self.accounts if one.sender.name == provider),
            self.accounts[0],
        )
        self.used += 1
        if account.sender.bucket is not None:
            account.sender.bucket.take(now)
        return Call(self._channel, account, account.breaker.begin(now))

    def end(self, call: Call, outcome: Outcome | None, now: int) -> None:
        """``outcome`` None: the message was withdrawn before its provider was called."""
        self.used -= 1
        sender = call.account.sender
        if outcome is None and sender.bucket is not None:
            sender.bucket.give_back()
        # What another account says (a company's mailbox on the e-mail channel) is none of this one's.
        mine = outcome is not None and outcome.provider == sender.name
        call.account.breaker.end(call.turn, outcome if mine else None, now)

    def states(self, now: int) -> Mapping[str, State]:
        """By provider."""
        return {account.sender.name: account.breaker.state(now) for account in self.accounts}
