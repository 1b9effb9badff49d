from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from deploy.fakes.mail import MailFake
from deploy.fakes.sms import SmsFake
from senders.smtp_email import SmtpEmail
from senders.twilio_sms import TwilioSms
from tests.senders.samples import NOW, StillClock, smtp_settings, twilio_settings


@pytest.fixture
async def sms_fake() -> AsyncIterator[SmsFake]:
    fake = SmsFake(now=lambda: NOW)
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def twilio(sms_fake: SmsFake) -> AsyncIterator[TwilioSms]:
    sender = TwilioSms(twilio_settings(sms_fake), StillClock())
    yield sender
    await sender.close()


@pytest.fixture
async def mail_fake() -> AsyncIterator[MailFake]:
    fake = MailFake(now=lambda: NOW)
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def smtp(mail_fake: MailFake) -> AsyncIterator[SmtpEmail]:
    sender = SmtpEmail(smtp_settings(mail_fake), StillClock())
    yield sender
    await sender.close()
