"""E-mail: from a company's connected mailbox where its rule says so and the mailbox can be used, else from
the service's own address by its mail server, signed with its DKIM keys.

A message goes one way or the other, never both: the service's address steps in only where the mailbox's
server is known not to have taken the message. What it may have taken is ``Unknown``; what then goes once
more, by whichever way, has the same Message-ID.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from schemas.records import Channel
from senders.dkim import Signer, sign
from senders.mailboxes import Mailboxes, NotUsable
from senders.mime import HeaderError, address, build
from senders.outcomes import smtp_verdict
from senders.pacing import Bucket
from senders.settings import DkimKey, SmtpSettings
from senders.smtp_account import SmtpAccount, said
from senders.smtp_pool import RefusedError
from streams.clock import Clock
from streams.domain.messages import (
    Accepted,
    EmailMessage,
    Inquiry,
    Message,
    Outcome,
    Rejected,
    RetryAt,
    Unknown,
    service_address_note,
)
from streams.domain.reasons import Reason

PROVIDER = "smtp"

_REASONS = {"To": Reason.BAD_ADDRESS, "From": Reason.NO_SENDER}
"""What is wrong with a message whose header can't be written; else its content."""


class SmtpEmail:
    """A Sender. ``send`` may run many times at once. ``mailboxes``: None, and none can be used."""

    channel = Channel.EMAIL
    name = PROVIDER

    def __init__(
        self,
        settings: SmtpSettings,
        clock: Clock,
        *,
        dkim: tuple[DkimKey, ...] = (),
        mailboxes: Mailboxes | None = None,
    ) -> None:
        self._clock = clock
        envelope = settings.envelope_from
        self._envelope_from = address("envelope_from", envelope) if envelope else ""
        self._send_timeout = settings.send_timeout
        self._account = SmtpAccount(settings, PROVIDER)
        self._signers = [Signer(key) for key in dkim]
        self._mailboxes = mailboxes
        self.bucket = Bucket(settings.per_second, settings.burst) if settings.per_second else None

    async def send(self, message: Message) -> Outcome:
        if not isinstance(message, EmailMessage):
            return Rejected(PROVIDER, Reason.REFUSED, "not an e-mail")
        try:
            async with asyncio.timeout(self._send_timeout) as limit:
                return await self._send(message, limit)
        except TimeoutError:
            return RetryAt(PROVIDER, Reason.UNREACHABLE, "not handed over in time")
        except HeaderError as error:
            return Rejected(PROVIDER, _REASONS.get(error.header, Reason.CONTENT), str(error))

    async def _send(self, message: EmailMessage, limit: asyncio.Timeout) -> Outcome:
        if message.mailbox is None:
            return await self._by_service(message, limit)
        way = NotUsable("this worker uses no mailboxes")
        if self._mailboxes is not None:
            outcome = await self._mailboxes.send(message, message.mailbox, limit)
            if not isinstance(outcome, NotUsable):
                return outcome
            way = outcome
        return await self._instead(message, way, limit)

    async def inquire(self, message: Message, since: int, until: int) -> Inquiry:
        """A mailbox can be asked, the service's mail server can't."""
        if isinstance(message, EmailMessage) and message.mailbox is not None and self._mailboxes is not None:
            return await self._mailboxes.inquire(message, message.mailbox)
        return Unknown(PROVIDER, Reason.NO_ANSWER, "a mail server can't be asked")

    async def close(self) -> None:
        await self._account.close()
        if self._mailboxes is not None:
            await self._mailboxes.close()

    async def _by_service(self, message: EmailMessage, limit: asyncio.Timeout, reply_to: str = "") -> Outcome:
        now = self._clock.now()
        mime = build(message, now, reply_to=reply_to)
        mime = replace(mime, data=sign(mime.data, self._signers, now))
        try:
            return await self._account.deliver(message, mime, limit, self._envelope_from)
        except RefusedError as refused:
            verdict = smtp_verdict(refused.phase, refused.code, refused.text)
            return verdict.outcome(PROVIDER, said(refused, message))

    async def _instead(self, message: EmailMessage, way: NotUsable, limit: asyncio.Timeout) -> Outcome:
        """From the service's address, with answers to the mailbox; the outcome says so."""
        assert message.mailbox is not None
        note = service_address_note(message.mailbox.id, way.why)
        if not message.from_address:
            # Perhaps the mailbox is connected again before the message is of no more use.
            without = f"mailbox {message.mailbox.id}: {way.why}; the company has no other sender address"
            return RetryAt(PROVIDER, Reason.NO_SENDER, without, after=way.wait, called=False)
        outcome = await self._by_service(message, limit, _reply_to(message.mailbox.address))
        if isinstance(outcome, Accepted):
            return replace(outcome, sender=message.from_address, note=note)
        return replace(outcome, detail="; ".join(part for part in (note, outcome.detail) if part))


def _reply_to(mailbox: str) -> str:
    try:
        return address("Reply-To", mailbox)
    except HeaderError:
        return ""
