"""The real client against a local mail server that fails in every phase."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deploy.fakes.mail import At, Fault, MailFake
from deploy.fakes.sms import SmsFake
from schemas.records import Channel
from senders.factory import build_senders
from senders.settings import SenderSettings, SmtpSettings, Tls
from senders.smtp_email import SmtpEmail
from senders.smtp_pool import Pool
from senders.twilio_sms import TwilioSms
from streams.domain.messages import Accepted, Outcome, Rejected, RetryAt, Unknown
from streams.domain.reasons import Reason
from streams.secret import Secret
from tests.senders.samples import EMAIL, NOW, SMS, StillClock, email, smtp_settings, twilio_settings

ACCEPTED = Accepted("smtp", EMAIL.message_id)


async def test_accepted(smtp: SmtpEmail, mail_fake: MailFake) -> None:
    assert await smtp.send(email()) == ACCEPTED
    [kept] = mail_fake.messages
    assert (kept["from"], kept["to"]) == ("shop@example.org", ["ann@example.com"])
    assert "Message-ID: <0123456789abcdef@carillon.example.org>\r\n" in kept["data"]
    assert "\r\n.hidden dot\r\n" in kept["data"], "stuffed on the way, whole on arrival"
    assert kept["data"].count("Date: Tue, 31 Mar 2026 23:33:20") == 1


async def test_connections_are_reused(smtp: SmtpEmail, mail_fake: MailFake) -> None:
    for _ in range(5):
        assert await smtp.send(email()) == ACCEPTED
    assert mail_fake.connections == 1
    assert mail_fake.commands.count("EHLO") == 1
    await smtp.close()
    await mail_fake.until(lambda fake: fake.open == 0)
    assert mail_fake.commands[-1] == "QUIT"
    assert isinstance(await smtp.send(email()), RetryAt), "closed"


async def test_connections_are_bounded(mail_fake: MailFake) -> None:
    smtp = SmtpEmail(smtp_settings(mail_fake, connections=3), StillClock())
    outcomes = await asyncio.gather(*(smtp.send(email(subject=f"n{n}")) for n in range(60)))
    await smtp.close()
    assert outcomes == [ACCEPTED] * 60
    assert mail_fake.most_open <= 3
    assert len({kept["data"] for kept in mail_fake.messages}) == 60


async def test_a_fresh_connection_takes_the_place_of_an_idle_one(mail_fake: MailFake) -> None:
    pool = Pool(smtp_settings(mail_fake, connections=1))
    first = await pool.take()
    first.clean = True
    pool.give_back(first)
    second = await pool.take(fresh=True)
    assert second is not first
    await mail_fake.until(lambda fake: fake.connections == 2 and fake.open == 1)
    pool.give_back(second)
    await pool.close()


async def test_a_failed_connection_gives_its_place_back(mail_fake: MailFake) -> None:
    smtp = SmtpEmail(smtp_settings(mail_fake, connections=1, connect_timeout=2.0), StillClock())
    mail_fake.script(At.CONNECT, Fault.CLOSE, times=2)
    for _ in range(2):
        assert isinstance(await smtp.send(email()), RetryAt)
    assert await smtp.send(email()) == ACCEPTED
    await smtp.close()


async def test_an_idle_connection_is_closed(mail_fake: MailFake) -> None:
    smtp = SmtpEmail(smtp_settings(mail_fake, idle_seconds=0.05), StillClock())
    await asyncio.gather(*(smtp.send(email()) for _ in range(3)))
    await mail_fake.until(lambda fake: fake.open == 0)
    assert await smtp.send(email()) == ACCEPTED
    await smtp.close()


# --- every phase --------------------------------------------------------------------------------------


def long_enough_for(at: At) -> str:
    """To lose a body in the middle it must be more than what the sockets' buffers hold."""
    return "line of text\n" * (1_000_000 if at is At.BODY else 1)


BEFORE = [At.CONNECT, At.EHLO, At.MAIL, At.RCPT, At.DATA, At.BODY]


@pytest.mark.parametrize("at", BEFORE)
@pytest.mark.parametrize("fault", [Fault.CLOSE, Fault.RESET])
async def test_lost_before_the_final_dot_was_not_accepted(
    smtp: SmtpEmail, mail_fake: MailFake, at: At, fault: Fault
) -> None:
    """A body that did not leave in one piece; a short one is in the next test."""
    mail_fake.script(at, fault)
    outcome = await smtp.send(email(text=long_enough_for(at)))
    assert isinstance(outcome, RetryAt), outcome
    assert outcome.reason is Reason.UNREACHABLE
    assert mail_fake.messages == []
    assert mail_fake.connections == 1, "a fresh connection is not tried twice"


@pytest.mark.parametrize("at", [At.DOT, At.KEPT])
@pytest.mark.parametrize("fault", [Fault.CLOSE, Fault.RESET, Fault.HANG])
async def test_lost_after_the_final_dot_is_unknown(mail_fake: MailFake, at: At, fault: Fault) -> None:
    smtp = SmtpEmail(smtp_settings(mail_fake, final_timeout=0.3), StillClock())
    mail_fake.script(at, fault)
    outcome = await smtp.send(email())
    assert isinstance(outcome, Unknown), outcome
    assert len(mail_fake.messages) == (at is At.KEPT)
    assert mail_fake.commands.count("DATA") == 1, "never sent again from here"
    assert await smtp.send(email()) == ACCEPTED
    assert mail_fake.connections == 2, "a connection with an answer outstanding is not used again"
    assert isinstance(await smtp.inquire(email(), 0, NOW), Unknown)
    await smtp.close()


@pytest.mark.parametrize("at", BEFORE)
async def test_a_time_out_before_the_final_dot_was_not_accepted(mail_fake: MailFake, at: At) -> None:
    smtp = SmtpEmail(smtp_settings(mail_fake, connect_timeout=0.3, command_timeout=0.3), StillClock())
    mail_fake.script(at, Fault.HANG)
    outcome = await smtp.send(email(text=long_enough_for(at)))
    assert isinstance(outcome, RetryAt), outcome
    assert await smtp.send(email()) == ACCEPTED
    await smtp.close()


@pytest.mark.parametrize("at", [At.CONNECT, At.EHLO, At.MAIL, At.RCPT, At.DATA])
async def test_all_of_it_before_the_final_dot_has_its_time(mail_fake: MailFake, at: At) -> None:
    """However long each step may take: another worker may be about to look into this message."""
    smtp = SmtpEmail(smtp_settings(mail_fake, send_timeout=0.5), StillClock())
    mail_fake.script(at, Fault.HANG, times=0)
    for _ in range(2):
        outcome = await smtp.send(email())
        assert outcome == RetryAt("smtp", Reason.UNREACHABLE, "not handed over in time")
    assert mail_fake.messages == []
    await smtp.close()


@pytest.mark.parametrize("at", [At.DOT, At.KEPT])
async def test_after_the_final_dot_that_time_does_not_count(mail_fake: MailFake, at: At) -> None:
    """Held until well after the time, however slow this machine is."""
    smtp = SmtpEmail(smtp_settings(mail_fake, send_timeout=2.0), StillClock())
    mail_fake.script(at, Fault.HOLD)
    sending = asyncio.create_task(smtp.send(email()))
    async with asyncio.timeout(30):
        while not mail_fake.held:  # noqa: ASYNC110 - the fake has no event for it
            await asyncio.sleep(0.01)
    await asyncio.wait([sending], timeout=2.1)
    mail_fake.release.set()
    assert await sending == ACCEPTED
    await smtp.close()


async def test_slow_answers_are_waited_for(smtp: SmtpEmail, mail_fake: MailFake) -> None:
    for at in (*BEFORE, At.DOT, At.KEPT):
        mail_fake.script(at, Fault.DELAY, seconds=0.01)
    assert await smtp.send(email()) == ACCEPTED


REPLIES: list[tuple[At, str, Outcome]] = [
    (
        At.CONNECT,
        "554 No service",
        RetryAt("smtp", Reason.ACCOUNT, "connect: 554 No service", pause_channel=True),
    ),
    (
        At.CONNECT,
        "421 Busy",
        RetryAt("smtp", Reason.PROVIDER_BUSY, "connect: 421 Busy", pause_channel=True),
    ),
    (
        At.CONNECT,
        "HTTP/1.1 200",
        RetryAt("smtp", Reason.UNREACHABLE, "connect: -1 Malformed SMTP response line: HTTP/1.1 200"),
    ),
    (At.EHLO, "550 Go away", RetryAt("smtp", Reason.ACCOUNT, "hello: 550 Go away", pause_channel=True)),
    (At.MAIL, "451 Later", RetryAt("smtp", Reason.PROVIDER_BUSY, "mail: 451 Later")),
    (
        At.MAIL,
        "550 5.4.5 Daily quota exceeded",
        RetryAt("smtp", Reason.ACCOUNT, "mail: 550 5.4.5 Daily quota exceeded", pause_channel=True),
    ),
    (At.MAIL, "553 5.7.1 No", Rejected("smtp", Reason.NO_SENDER, "mail: 553 5.7.1 No")),
    (At.MAIL, "garbage", RetryAt("smtp", Reason.UNREACHABLE, "mail: SMTPResponseException")),
    (At.RCPT, "450 4.2.1 Busy", RetryAt("smtp", Reason.PROVIDER_BUSY, "rcpt: 450 4.2.1 Busy")),
    (
        At.RCPT,
        "550 5.1.1 <ann@example.com>: no such user",
        Rejected("smtp", Reason.INVALID_RECIPIENT, "rcpt: 550 5.1.1 <…>: no such user", suppress=True),
    ),
    (At.RCPT, "554 5.7.1 Relay", Rejected("smtp", Reason.REFUSED, "rcpt: 554 5.7.1 Relay")),
    (At.DATA, "452 4.3.1 Full", RetryAt("smtp", Reason.PROVIDER_BUSY, "data: 452 4.3.1 Full")),
    (At.DATA, "250 What?", RetryAt("smtp", Reason.PROVIDER_BUSY, "data: 250 What?")),
    (At.DOT, "451 4.3.0 Later", RetryAt("smtp", Reason.PROVIDER_BUSY, "final: 451 4.3.0 Later")),
    (
        At.DOT,
        "421 4.7.0 Slow down",
        RetryAt("smtp", Reason.THROTTLED, "final: 421 4.7.0 Slow down", pause_channel=True),
    ),
    (At.DOT, "550 5.7.1 Spam", Rejected("smtp", Reason.CONTENT, "final: 550 5.7.1 Spam")),
    (At.KEPT, "354 What?", Unknown("smtp", Reason.NO_ANSWER, "final: 354 What?")),
    (At.KEPT, "garbage", Unknown("smtp", Reason.NO_ANSWER, "final: SMTPResponseException")),
]


@pytest.mark.parametrize(("at", "reply", "outcome"), REPLIES)
async def test_a_reply_in_each_phase(
    smtp: SmtpEmail, mail_fake: MailFake, at: At, reply: str, outcome: Outcome
) -> None:
    mail_fake.script(at, Fault.REPLY, reply)
    assert await smtp.send(email()) == outcome
    assert await smtp.send(email()) == ACCEPTED, "the next message is not harmed"


async def test_a_refusal_keeps_the_connection(smtp: SmtpEmail, mail_fake: MailFake) -> None:
    mail_fake.script(At.RCPT, Fault.REPLY, "550 5.1.1 No", to="bob@example.com")
    assert isinstance(await smtp.send(email(to_address="bob@example.com")), Rejected)
    assert await smtp.send(email()) == ACCEPTED
    assert mail_fake.connections == 1
    mail_fake.script(At.RCPT, Fault.REPLY, "550 5.1.1 No")
    mail_fake.script(At.RSET, Fault.CLOSE)
    assert isinstance(await smtp.send(email()), Rejected), "the outcome stands, whatever becomes of RSET"
    assert await smtp.send(email()) == ACCEPTED
    assert mail_fake.connections == 2


# --- stale connections --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "at"),
    [
        (Fault.CLOSE, At.IDLE),
        (Fault.RESET, At.IDLE),
        (Fault.CLOSE, At.MAIL),
        (Fault.RESET, At.MAIL),
        (Fault.DROP_REPLY, At.MAIL),
    ],
)
async def test_a_stale_connection_is_replaced(
    smtp: SmtpEmail, mail_fake: MailFake, fault: Fault, at: At
) -> None:
    """Closed while idle, noticed or not before MAIL: the message has not been seen, so nothing is lost."""
    if at is At.IDLE:
        mail_fake.script(at, fault)
    assert await smtp.send(email()) == ACCEPTED
    if at is At.IDLE:
        await mail_fake.until(lambda fake: fake.open == 0)
    else:
        mail_fake.script(at, fault, "421 4.4.2 Idle too long")
    assert await smtp.send(email()) == ACCEPTED
    assert mail_fake.connections == 2
    assert len(mail_fake.messages) == 2


async def test_a_stale_connection_is_replaced_once(smtp: SmtpEmail, mail_fake: MailFake) -> None:
    assert await smtp.send(email()) == ACCEPTED
    mail_fake.script(At.MAIL, Fault.CLOSE, times=0)
    assert isinstance(await smtp.send(email()), RetryAt)
    assert mail_fake.connections == 2


async def test_a_reused_connection_lost_later_is_not_retried(smtp: SmtpEmail, mail_fake: MailFake) -> None:
    assert await smtp.send(email()) == ACCEPTED
    mail_fake.script(At.KEPT, Fault.CLOSE)
    assert isinstance(await smtp.send(email()), Unknown)
    assert len(mail_fake.messages) == 2
    assert mail_fake.connections == 1


# --- connecting ---------------------------------------------------------------------------------------


async def test_a_refused_connection_was_not_sent() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        smtp = SmtpEmail(
            SmtpSettings(host="127.0.0.1", port=closed.getsockname()[1], tls=Tls.NONE), StillClock()
        )
        assert await smtp.send(email()) == RetryAt("smtp", Reason.UNREACHABLE, "connect: SMTPConnectError")
        await smtp.close()


async def test_busy_connections_are_waited_for_and_then_not(mail_fake: MailFake) -> None:
    smtp = SmtpEmail(smtp_settings(mail_fake, connections=1, connect_timeout=0.2), StillClock())
    mail_fake.script(At.KEPT, Fault.HANG)
    first = asyncio.create_task(smtp.send(email()))
    await mail_fake.ledger.reached(1)
    assert await smtp.send(email()) == RetryAt(
        "smtp", Reason.UNREACHABLE, "connect: all connections are busy"
    )
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await smtp.send(email()) == ACCEPTED, "a cancelled send gives its place back, not its connection"
    assert mail_fake.connections == 2
    await smtp.close()


async def test_authentication(mail_fake: MailFake) -> None:
    mail_fake.users = {"shop": "pass word"}
    right = smtp_settings(mail_fake, username="shop", password=Secret("pass word"))
    for settings, outcome in (
        (right, ACCEPTED),
        (replace(right, password=Secret("wrong")), Reason.ACCOUNT),
        (replace(right, username=""), Reason.ACCOUNT),
    ):
        smtp = SmtpEmail(settings, StillClock())
        said = await smtp.send(email())
        assert said == outcome or (
            isinstance(said, RetryAt) and said.reason is outcome and said.pause_channel
        )
        await smtp.close()
    mail_fake.users = {}
    smtp = SmtpEmail(right, StillClock())
    said = await smtp.send(email())
    assert isinstance(said, RetryAt), "a server that offers no AUTH gets no message"
    assert said.reason is Reason.ACCOUNT
    await smtp.close()
    assert len(mail_fake.messages) == 1


# --- TLS ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed one for 127.0.0.1, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    pem = serialization.Encoding.PEM
    file.write_bytes(
        made.public_bytes(pem)
        + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return file


@pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.TLS])
async def test_tls_and_its_checks(certificate: Path, tls: Tls) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    fake = MailFake(now=lambda: NOW, tls=context, implicit=tls is Tls.TLS)
    await fake.start()
    trusting = smtp_settings(fake, tls=tls, ca_file=str(certificate))
    for settings, outcome in (
        (trusting, ACCEPTED),
        (replace(trusting, ca_file=""), Reason.UNREACHABLE),
        (replace(trusting, host="localhost"), Reason.UNREACHABLE),
    ):
        smtp = SmtpEmail(settings, StillClock())
        said = await smtp.send(email())
        assert said == outcome or (isinstance(said, RetryAt) and said.reason is outcome), said
        await smtp.close()
    assert len(fake.messages) == 1, "an unverified server gets nothing"
    await fake.stop()


@pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.TLS])
async def test_tls_and_login_are_done_once_for_many_messages(certificate: Path, tls: Tls) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    fake = MailFake(now=lambda: NOW, tls=context, implicit=tls is Tls.TLS, users={"shop": "secret"})
    await fake.start()
    settings = smtp_settings(
        fake, tls=tls, ca_file=str(certificate), username="shop", password=Secret("secret"), connections=2
    )
    smtp = SmtpEmail(settings, StillClock())
    for _ in range(5):
        assert await asyncio.gather(*(smtp.send(email()) for _ in range(4))) == [ACCEPTED] * 4
    await smtp.close()
    await fake.stop()
    assert len(fake.messages) == 20
    assert {message["user"] for message in fake.messages} == {"shop"}
    assert fake.connections == fake.commands.count("AUTH") <= 2
    assert fake.commands.count("STARTTLS") == (fake.connections if tls is Tls.STARTTLS else 0)


async def test_a_server_without_starttls_gets_nothing(mail_fake: MailFake) -> None:
    smtp = SmtpEmail(smtp_settings(mail_fake, tls=Tls.STARTTLS), StillClock())
    said = await smtp.send(email())
    await smtp.close()
    assert isinstance(said, RetryAt)
    assert "MAIL" not in mail_fake.commands


def test_bad_settings_are_refused() -> None:
    good = SmtpSettings(host="mail.example.org", port=587)
    for changes in (
        {"tls": Tls.NONE, "username": "shop"},
        {"port": 0},
        {"host": ""},
        {"connections": 0},
        {"final_timeout": -1},
    ):
        with pytest.raises(ValueError, match=r"."):
            replace(good, **changes)


# --- addresses and headers ----------------------------------------------------------------------------


async def test_international_addresses(smtp: SmtpEmail, mail_fake: MailFake) -> None:
    assert await smtp.send(email(to_address="jörg@straße.de", subject="Größe")) == ACCEPTED
    assert await smtp.send(email(to_address="joerg@straße.de")) == ACCEPTED
    first, second = mail_fake.messages
    assert (first["to"], first["utf8"]) == (["jörg@xn--strae-oqa.de"], True)
    assert "To: Ann Smith <jörg@xn--strae-oqa.de>\r\n" in first["data"]
    assert (second["to"], second["utf8"]) == (["joerg@xn--strae-oqa.de"], False)


async def test_a_server_without_smtputf8_gets_no_such_address(smtp: SmtpEmail, mail_fake: MailFake) -> None:
    mail_fake.smtputf8 = False
    assert isinstance(await smtp.send(email(to_address="jörg@example.com")), Rejected)
    assert await smtp.send(email()) == ACCEPTED
    assert mail_fake.connections == 1


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("to_address", Reason.BAD_ADDRESS),
        ("to_name", Reason.BAD_ADDRESS),
        ("from_address", Reason.NO_SENDER),
        ("from_name", Reason.NO_SENDER),
        ("subject", Reason.CONTENT),
        ("message_id", Reason.CONTENT),
    ],
)
@pytest.mark.parametrize(
    "attack", ["\r\nBcc: x@example.com", "\nBcc: x", "\r.\r\nRCPT TO:<x@example.com>", "\0"]
)
async def test_nothing_can_be_injected(
    smtp: SmtpEmail, mail_fake: MailFake, field: str, reason: Reason, attack: str
) -> None:
    value = getattr(EMAIL, field)
    outcome = await smtp.send(email(**{field: value[:3] + attack + value[3:]}))
    assert isinstance(outcome, Rejected)
    assert outcome.reason is reason
    assert mail_fake.connections == 0


async def test_a_body_can_not_end_the_message(smtp: SmtpEmail, mail_fake: MailFake) -> None:
    attack = "a\r\n.\r\nMAIL FROM:<x@example.com>\r\n..\n.\n\r.\r\n"
    assert await smtp.send(email(text=attack, html=attack)) == ACCEPTED
    assert await smtp.send(email(text=attack, html="")) == ACCEPTED
    assert mail_fake.commands.count("MAIL") == 2
    assert len(mail_fake.messages) == 2


async def test_what_is_no_email_is_rejected(smtp: SmtpEmail) -> None:
    assert isinstance(await smtp.send(SMS), Rejected)


async def test_the_envelope_may_have_a_sender_of_its_own(mail_fake: MailFake) -> None:
    settings = smtp_settings(mail_fake, envelope_from="bounces@example.org")
    smtp = SmtpEmail(settings, StillClock())
    assert await smtp.send(email()) == ACCEPTED
    await smtp.close()
    [kept] = mail_fake.messages
    assert kept["from"] == "bounces@example.org"
    with pytest.raises(ValueError, match="envelope_from"):
        SmtpEmail(replace(settings, envelope_from="a@b\r\nc"), StillClock())


async def test_one_click_unsubscribe(smtp: SmtpEmail, mail_fake: MailFake) -> None:
    assert await smtp.send(email(unsubscribe_url="https://x.example/u/abc")) == ACCEPTED
    assert await smtp.send(email()) == ACCEPTED
    with_, without = (kept["data"] for kept in mail_fake.messages)
    assert "List-Unsubscribe: <https://x.example/u/abc>\r\n" in with_
    assert "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in with_
    assert "List-Unsubscribe" not in without
    for url in ("x.example", "https://x.example/\r\nBcc: a@b.example", "https://x.example/<"):
        refused = await smtp.send(email(unsubscribe_url=url))
        assert isinstance(refused, Rejected)
        assert refused.reason is Reason.CONTENT


async def test_the_factory_builds_what_is_set_up(mail_fake: MailFake) -> None:
    twilio = twilio_settings(SmsFake(host="127.0.0.1", port=1), per_second=2.0)
    senders = build_senders(SenderSettings(sms=twilio, email=smtp_settings(mail_fake)), StillClock())
    [sms], [mail] = senders[Channel.SMS], senders[Channel.EMAIL]
    assert isinstance(sms, TwilioSms)
    assert isinstance(mail, SmtpEmail)
    assert sms.bucket is not None
    assert (sms.bucket.take(0), sms.bucket.take(0)) == (0, 500)
    assert mail.bucket is None
    assert build_senders(SenderSettings(), StillClock()) == {}
    for sender in (sms, mail):
        await sender.close()
