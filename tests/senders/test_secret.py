from __future__ import annotations

import pickle
import traceback

import pytest

from deploy.fakes.mail import MailFake
from deploy.fakes.sms import SmsFake
from senders.settings import SenderSettings, SmtpSettings, Tls
from senders.smtp_email import SmtpEmail
from senders.twilio_sms import TwilioSms
from streams.secret import Secret
from tests.senders.samples import StillClock, email, sms, smtp_settings, twilio_settings

TOKEN = "hunter2-hunter2"


def test_a_secret_shows_nothing() -> None:
    secret = Secret(TOKEN)
    for text in (
        repr(secret),
        str(secret),
        f"{secret:>40}",
        repr([secret]),
        repr({"a": secret}),
    ):
        assert TOKEN not in text
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    assert secret.reveal() == TOKEN
    assert not Secret("")


async def test_no_secret_in_reprs_outcomes_or_logs(
    sms_fake: SmsFake, mail_fake: MailFake, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    twilio = TwilioSms(twilio_settings(sms_fake, token=Secret(TOKEN)), StillClock())
    mail_fake.users = {"shop": "another"}
    mailer = smtp_settings(mail_fake, username="shop", password=Secret(TOKEN))
    smtp = SmtpEmail(mailer, StillClock())
    shown = [repr(twilio), repr(smtp), repr(mailer), repr(SenderSettings(email=mailer)), repr(vars(twilio))]
    shown += [str(await twilio.send(sms())), str(await smtp.send(email()))]
    shown += [repr(vars(smtp)), repr(sms()), repr(email())]
    try:
        SmtpSettings(host="mail.example.org", port=25, tls=Tls.NONE, username="shop", password=Secret(TOKEN))
    except ValueError:
        shown.append(traceback.format_exc())
    await twilio.close()
    await smtp.close()
    everything = "\n".join([*shown, caplog.text])
    assert TOKEN not in everything
    assert sms().text not in everything
    assert sms().to not in caplog.text
