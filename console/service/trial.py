"""A test message to oneself: rendered on the sample, and sent by the same senders as the workers'.

It is no customer's message: it stands in no topic but the audit, asks nobody's consent, and goes to the
address that stands in the user's own record, or nowhere.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from secrets import token_hex

import msgspec

from agents.accounts import allowed_of, sender_settings
from console.service.errors import RefusedError, TooManyError
from schemas.records import Channel, Company, EntityKind, Mailbox, Template, TemplateText, User
from senders.factory import build_senders
from senders.sender import Sender
from streams.clock import Clock
from streams.domain.addresses import normal_email, normal_phone
from streams.domain.ids import message_id
from streams.domain.messages import EmailMessage, Message, SmsMessage
from streams.domain.problems import Problem
from streams.domain.reasons import Reason
from streams.domain.segments import count
from streams.domain.template_sample import sample
from streams.domain.template_values import TextContext, shown
from streams.domain.templating import render_email, render_sms
from streams.settings import Settings

MOST, WINDOW = 20, 3600.0
"""Test messages of one user, in so many seconds."""
_USERS = 10_000
_VALID = 3600 * 1000
"""Milliseconds: whoever tests is waiting for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is to be tried. ``mailbox``: that it comes from; None: the service's own address."""

    channel: Channel
    entity: EntityKind
    language: str
    text: TemplateText
    mailbox: Mailbox | None = None


def own_address(user: User, channel: Channel) -> str:
    """Normalised. Raises RefusedError where their record has none: nobody types one in here."""
    if channel is Channel.SMS:
        found, why = (
            normal_phone(user.phone, None),
            "there is no phone number in your user's record",
        )
    else:
        found, why = normal_email(user.id), "you sign in with a name that is no e-mail address"
    if found is None:
        raise RefusedError([Problem("channel", why, "missing")])
    return found


def compose(trial: Trial, company: Company, user: User, email_domain: str, now: int) -> Message:
    """Raises RefusedError where the text does not work, or the company can't send."""
    address, delivery = own_address(user, trial.channel), token_hex(16)
    template = Template(id="trial", company=company.id, texts={trial.language: trial.text}, version=1)
    known: TextContext = sample(trial.entity)
    context = msgspec.structs.replace(known, company=company, currency=company.currency)
    if trial.channel is Channel.SMS:
        text = render_sms(template, context)
        if isinstance(text, Reason):
            raise RefusedError([Problem("text", text.text)])
        if not company.sms_sender:
            raise RefusedError([Problem("channel", Reason.NO_SENDER.text, "missing")])
        return SmsMessage(
            delivery_id=delivery,
            company=company.id,
            to=address,
            sender=company.sms_sender,
            text=text,
            segments=count(text).segments,
            valid_until=now + _VALID,
        )
    mail = render_email(template, context)
    if isinstance(mail, Reason):
        raise RefusedError([Problem("text", mail.text)])
    if trial.mailbox is None and not company.email_sender_address:
        raise RefusedError([Problem("channel", Reason.NO_SENDER.text, "missing")])
    return EmailMessage(
        delivery_id=delivery,
        company=company.id,
        to_address=address,
        to_name=shown(user.name),
        from_address=company.email_sender_address,
        from_name=shown(company.email_sender_name or company.name),
        subject=mail.subject,
        text=mail.text,
        html=mail.html,
        message_id=message_id(delivery, email_domain),
        mailbox=trial.mailbox,
        valid_for=_VALID // 1000,
    )


class Trials:
    """The senders of a console; opened with the first test, for most consoles send none."""

    def __init__(self, settings: Settings, clock: Clock, now: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._now = now
        self._senders: Mapping[Channel, list[Sender]] | None = None
        self._sent: OrderedDict[str, list[float]] = OrderedDict()

    def check(self, channel: Channel, address: str) -> Sender:
        """Who would send it. Raises RefusedError."""
        if self._senders is None:
            self._senders = build_senders(sender_settings(self._settings), self._clock)
        accounts = self._senders.get(channel, [])
        if not accounts:
            raise RefusedError(
                [Problem("channel", "this console has no provider's account for it", "unknown")]
            )
        allowed = allowed_of(self._settings).get(channel)
        if allowed is not None and not allowed.permits(address):
            raise RefusedError([Problem("channel", Reason.NOT_ALLOWED.text, "access")])
        return accounts[0]

    def take(self, user: str) -> None:
        """Counts one more. Raises TooManyError."""
        now = self._now()
        times = [at for at in self._sent.pop(user, ()) if now - at < WINDOW]
        self._sent[user] = times
        if len(times) >= MOST:
            raise TooManyError(int(WINDOW - (now - times[0])) + 1)
        times.append(now)
        if len(self._sent) > _USERS:
            self._sent.popitem(last=False)

    async def close(self) -> None:
        for accounts in (self._senders or {}).values():
            for account in accounts:
                await account.close()
