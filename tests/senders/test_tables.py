"""Every row of every outcome table once more, as it comes from a provider: over a socket, or in a mail.

What each row must mean stands in ``test_outcomes`` and ``test_bounces``; here the rows of the tables
themselves are gone through, so that none can be added that a sender does not come to.
"""

from __future__ import annotations

import pytest

from deploy.fakes.mail import At, MailFake
from deploy.fakes.mail import Fault as MailFault
from deploy.fakes.sms import Fault, SmsFake
from senders.dsn import read_bounce
from senders.outcomes import (
    HTTP_CLASSES,
    HTTP_DEFAULT,
    HTTP_STATUSES,
    TWILIO_CODES,
    Phase,
    Verdict,
)
from senders.smtp_email import SmtpEmail
from senders.twilio_hooks import STATUSES, receipt_of
from senders.twilio_sms import TwilioSms
from streams.domain.bounces import ROWS, Judge
from streams.domain.messages import Outcome, Rejected, RetryAt, Unknown
from streams.domain.reasons import Reason
from tests.senders import dsn_samples as samples
from tests.senders.samples import StillClock, email, sms, smtp_settings
from tests.senders.test_outcomes import SMTP


def means(outcome: Outcome, verdict: Verdict) -> bool:
    """But for the sentence in it."""
    wanted = verdict.outcome(outcome.provider, getattr(outcome, "detail", ""))
    return outcome == wanted


# --- Twilio ------------------------------------------------------------------------------------------


async def test_twilio_s_codes(twilio: TwilioSms, sms_fake: SmsFake) -> None:
    for code, verdict in TWILIO_CODES.items():
        for fault in (Fault.REFUSE, Fault.PROBLEM):
            sms_fake.script(fault, status=400, code=code)
            assert means(await twilio.send(sms()), verdict), code
    assert sms_fake.messages == []


async def test_http_statuses(twilio: TwilioSms, sms_fake: SmsFake) -> None:
    for status in range(300, 600):
        sms_fake.script(Fault.HTML, status=status)
        verdict = HTTP_STATUSES.get(status) or HTTP_CLASSES.get(status // 100) or HTTP_DEFAULT
        assert means(await twilio.send(sms()), verdict), status


async def test_codes_that_nobody_knows(twilio: TwilioSms, sms_fake: SmsFake) -> None:
    """The default row: permanent in a 4xx, unknown in a 5xx."""
    for code in (0, 1, 29_999, 10**9):
        assert code not in TWILIO_CODES
        sms_fake.script(Fault.REFUSE, status=400, code=code)
        refused = await twilio.send(sms())
        assert isinstance(refused, Rejected)
        assert (refused.reason, refused.suppress) == (Reason.REFUSED, False)
        sms_fake.script(Fault.REFUSE, status=500, code=code)
        assert isinstance(await twilio.send(sms()), Unknown)


@pytest.mark.parametrize("said", STATUSES)
def test_receipts_by_status_and_code(said: str) -> None:
    """Only of a message that ended badly, and only for a code that is about the number for good."""
    badly = said in ("undelivered", "failed", "canceled")
    for code, verdict in [*TWILIO_CODES.items(), (99_999, None)]:
        form = {"MessageSid": "SM" + "0" * 32, "MessageStatus": said, "To": "+48501111222"}
        receipt = receipt_of({**form, "ErrorCode": str(code)})
        assert receipt is not None
        assert (receipt.status, receipt.code) == (STATUSES[said], str(code))
        blocked = badly and verdict is not None and verdict.suppress
        assert receipt.suppress == (str(verdict.reason) if verdict is not None and blocked else "")


# --- SMTP --------------------------------------------------------------------------------------------

_AT = {
    Phase.CONNECT: At.CONNECT,
    Phase.HELLO: At.EHLO,
    Phase.MAIL: At.MAIL,
    Phase.RCPT: At.RCPT,
    Phase.DATA: At.DATA,
    Phase.FINAL: At.DOT,
}
"""Without AUTH: the local server asks for none here (``test_smtp_email`` has it)."""


@pytest.mark.parametrize("phase", _AT)
async def test_smtp_replies(mail_fake: MailFake, phase: Phase) -> None:
    sender = SmtpEmail(smtp_settings(mail_fake), StillClock())
    for _, phases, reply, outcome in SMTP:
        if phase not in phases:
            continue
        mail_fake.script(_AT[phase], MailFault.REPLY, reply, times=1)
        said = await sender.send(email())
        assert type(said) is type(outcome), (reply, said)
        assert isinstance(said, Rejected | RetryAt | Unknown)
        assert isinstance(outcome, Rejected | RetryAt | Unknown)
        assert said.reason == outcome.reason, (reply, said)
        if isinstance(said, Rejected) and isinstance(outcome, Rejected):
            assert said.suppress == outcome.suppress, reply
        if isinstance(said, RetryAt) and isinstance(outcome, RetryAt):
            assert said.pause_channel == outcome.pause_channel, reply
        mail_fake.behaviours.clear()
    await sender.close()
    assert mail_fake.messages == []


# --- bounces -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("row", "verdict"), ROWS, ids=[row for row, _ in ROWS])
def test_bounces(row: str, verdict: object) -> None:
    code = row if not row.endswith(".") else {"4.": "4.4.1", "5.": "5.7.1"}.get(row, row + "3")
    for words, judged in (("no such user", "hard"), ("refused by policy", "soft")):
        mail = samples.POSTFIX.replace("Status: 5.1.1", f"Status: {code}")
        head, found, rest = mail.partition("Diagnostic-Code:")
        assert found
        rest = rest.partition("\n\n")[2]
        bounce = read_bounce(samples.as_bytes(f"{head}{found} smtp; 550 {words}\n\n{rest}"))
        assert bounce is not None
        assert bounce.code == code
        assert bounce.verdict == (judged if isinstance(verdict, Judge) else verdict)
