"""Messages and settings that the tests of the senders share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from deploy.fakes.mail import MailFake
from deploy.fakes.sms import SmsFake
from senders.settings import SmtpSettings, Tls, TwilioSettings
from streams.domain.messages import EmailMessage, SmsMessage
from streams.secret import Secret

NOW = 1_775_000_000_000
"""2026-03-31T23:33:20Z"""

SMS = SmsMessage(
    delivery_id="0123456789abcdef0123456789abcdef",
    company="acme",
    to="+4915112345678",
    sender="+4930123456",
    text="Your order is ready",
    segments=1,
    valid_until=NOW + 3_600_000,
)

EMAIL = EmailMessage(
    delivery_id="0123456789abcdef0123456789abcdef",
    company="acme",
    to_address="ann@example.com",
    to_name="Ann Smith",
    from_address="shop@example.org",
    from_name="The Shop",
    subject="Your order is ready",
    text="Come and get it.\n.hidden dot\n",
    html="<p>Come and get it.</p>",
    message_id="<0123456789abcdef@carillon.example.org>",
)


class StillClock:
    def now(self) -> int:
        return NOW

    def seconds_until(self, moment: int) -> float:
        return max(0, moment - NOW) / 1000


def sms(**changes: Any) -> SmsMessage:
    return replace(SMS, **changes)


def email(**changes: Any) -> EmailMessage:
    return replace(EMAIL, **changes)


def twilio_settings(fake: SmsFake, **changes: Any) -> TwilioSettings:
    return replace(
        TwilioSettings(
            account_sid=fake.account,
            token=Secret(fake.token),
            api_base=fake.url,
            connect_timeout=5.0,
            answer_timeout=10.0,
        ),
        **changes,
    )


def smtp_settings(fake: MailFake, **changes: Any) -> SmtpSettings:
    return replace(
        SmtpSettings(host="127.0.0.1", port=fake.port, tls=Tls.NONE, local_name="test.example.org"),
        **changes,
    )
