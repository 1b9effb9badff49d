"""What every way out looks like to the sender agents."""

from __future__ import annotations

from typing import Protocol

from schemas.records import Channel
from senders.pacing import Bucket
from streams.domain.messages import Inquiry, Message, Outcome


class Sender(Protocol):
    """One provider account. Nothing here raises but ``asyncio.CancelledError``: what goes wrong is an
    outcome, and where it can't be known whether the provider took the message the outcome is ``Unknown``.

    A cancelled ``send`` may have gone out: the caller treats it as unknown. No implementation sends a
    message a second time after its last byte may have left.
    """

    @property
    def channel(self) -> Channel: ...

    @property
    def name(self) -> str:
        """The provider, as the delivery log names it."""

    @property
    def bucket(self) -> Bucket | None:
        """The account's pace. The caller takes from it *before* its final check, so that nothing waits
        between that check and the provider; None: not paced."""

    async def send(self, message: Message) -> Outcome:
        """One attempt. How many run at once is the caller's to bound; connections are bounded here."""

    async def inquire(self, message: Message, since: int, until: int) -> Inquiry:
        """Whether the provider accepted this message between ``since`` and ``until`` (milliseconds, its
        clock). Two that fit are as unknown as none that can be asked. ``NotFound`` is no proof: the message
        may still be under way or not listed yet."""

    async def close(self) -> None:
        """Releases connections. Idempotent; sends under way fail as outcomes."""
