"""The senders of this process, from its settings. What is not set up is not imported: the client libraries
and what they need are a good part of a worker's start."""

from __future__ import annotations

from schemas.records import Channel
from senders.sender import Sender
from senders.settings import SenderSettings
from senders.usage import Usage
from streams.clock import Clock


def build_senders(
    settings: SenderSettings, clock: Clock, usage: Usage | None = None
) -> dict[Channel, list[Sender]]:
    """Those of each channel that is set up, the preferred one first. Opens no connection yet; close each of
    them in the end. ``usage``: of the mailboxes, by other workers. Raises ValueError for a DKIM key that
    can't be used."""
    senders: dict[Channel, list[Sender]] = {}
    if accounts := sms_senders(settings, clock):
        senders[Channel.SMS] = accounts
    if settings.email is not None:
        from senders.smtp_email import SmtpEmail  # noqa: PLC0415 - see above

        mailboxes = None
        if settings.gmail is not None:
            from senders.mailboxes import Mailboxes  # noqa: PLC0415 - see above

            mailboxes = Mailboxes(settings.gmail, clock, usage=usage)
        senders[Channel.EMAIL] = [SmtpEmail(settings.email, clock, dkim=settings.dkim, mailboxes=mailboxes)]
    return senders


def sms_senders(settings: SenderSettings, clock: Clock) -> list[Sender]:
    """Every SMS account that is set up, the one to use first in front. Opens no connection yet."""
    accounts: list[Sender] = []
    if settings.sms is not None:
        from senders.twilio_sms import TwilioSms  # noqa: PLC0415 - see above

        accounts.append(TwilioSms(settings.sms, clock))
    if settings.http_sms is not None:
        from senders.http_sms import HttpSms  # noqa: PLC0415 - see above

        accounts.append(HttpSms(settings.http_sms, clock))
    return accounts
