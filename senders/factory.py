"""The senders of this process, from its settings."""

from __future__ import annotations

from schemas.records import Channel
from senders.sender import Sender
from senders.settings import SenderSettings
from senders.smtp_email import SmtpEmail
from senders.twilio_sms import TwilioSms
from streams.clock import Clock


def build_senders(settings: SenderSettings, clock: Clock) -> dict[Channel, Sender]:
    """One for each channel that is set up. Opens no connection yet; close each of them in the end."""
    senders: dict[Channel, Sender] = {}
    if settings.sms is not None:
        senders[Channel.SMS] = TwilioSms(settings.sms)
    if settings.email is not None:
        senders[Channel.EMAIL] = SmtpEmail(settings.email, clock)
    return senders
