"""A repr ends up in a log line, a traceback or a crash report sooner or later."""

from __future__ import annotations

import logging
import traceback
from base64 import b64encode

import msgspec
import pytest

from schemas.records import Channel, Customer, DeadLetter, Suppression, Timer, TimerOp
from schemas.registry import HttpRegistry, RegistryConfig
from senders.mime import HeaderError, build
from streams.domain.messages import EmailMessage, SmsMessage
from streams.kafka.batches import RecordBatch
from streams.settings import SettingsError, read_settings
from tests.schemas.fake_registry import serving
from tests.security.people import PERSONAL, SECRETS, told
from tests.senders.samples import email, sms
from tests.support.shop import ann

PHONE, ADDRESS, NAME, TEXT = "+48501987123", "zyx.quibble@mail.example", "Zyxelda", "tangerine velocipede"
ENVIRONMENT = {f"TEST_{number}": secret for number, secret in enumerate(SECRETS)}


def shown(thing: object) -> list[str]:
    text = f"{thing!r} {thing} {[thing]} {vars(thing) if hasattr(thing, '__dict__') else ''}"
    return [value for value in (*PERSONAL, *SECRETS) if value.lower() in text.lower()]


def test_settings_show_no_secret() -> None:
    given = {
        f"CARILLON_{name}": f"env:{variable}"
        for name, variable in zip(
            ("SMS_TOKEN", "SMTP_PASSWORD", "HASH_KEY", "REGISTRY_PASSWORD"), ENVIRONMENT, strict=True
        )
    }
    settings = read_settings(ENVIRONMENT | given)
    assert settings.smtp_password.reveal() == SECRETS[1]
    assert shown(settings) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"CARILLON_SMS_TOKEN": SECRETS[0]},
        {"CARILLON_SMS_TOKN": SECRETS[0]},
        {"CARILLON_REGISTRY": f"https://reader:{SECRETS[0]}@registry.example"},
        {"CARILLON_REGISTRY": f"reader:{SECRETS[0]}@registry.example"},
    ],
)
def test_a_secret_in_the_wrong_place_is_refused_and_not_repeated(wrong: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as refused:
        read_settings(wrong)
    assert shown(refused.value) == []


def test_the_registry_s_password_is_not_shown() -> None:
    assert shown(RegistryConfig("https://registry.example", user="reader", password=SECRETS[0])) == []


@pytest.mark.parametrize(
    "record",
    [
        ann(name=NAME, phone=PHONE, email=ADDRESS),
        Suppression(
            company="acme", channel=Channel.EMAIL, address=ADDRESS, reason="bounced", since=1, version=1
        ),
        DeadLetter(
            topic="customer-consents", partition=0, offset=1, timestamp=1, error="contract", detail="",
            key=PHONE.encode(), value=msgspec.json.encode(ann(name=NAME, phone=PHONE)), at=1,
        ),
        Timer(
            op=TimerOp.FACTS, company="acme", kind="order", entity_id="1",  # type: ignore[arg-type]  # as it comes
            customer_id="c", entity_version=1, change=TEXT.encode(),
        ),
        sms(to=PHONE, text=TEXT),
        email(to_address=ADDRESS, to_name=NAME, subject=TEXT, text=TEXT, html=TEXT),
    ],
    ids=lambda record: type(record).__name__,
)  # fmt: skip
def test_records_and_messages_show_nobody(
    record: Customer | Suppression | DeadLetter | Timer | SmsMessage | EmailMessage,
) -> None:
    assert shown(record) == []
    assert "acme" in repr(record) or "customer-consents" in repr(record), "but whose they are"


def test_a_batch_shows_no_record() -> None:
    records = [{"value": PHONE.encode()}]
    assert shown(RecordBatch("customer-consents", 0, records, 0, 1)) == []  # type: ignore[arg-type]  # any will do


@pytest.mark.parametrize(
    "fields",
    [
        {"to_address": f"{NAME} {ADDRESS}"},
        {"to_name": f"{NAME}\r\nBcc: {ADDRESS}"},
        {"subject": f"{TEXT}\n"},
        {"text": f"{TEXT} \ud800"},
        {"from_address": ADDRESS.replace("@", "")},
    ],
)
def test_an_e_mail_that_can_t_be_written_is_not_quoted(fields: dict[str, str]) -> None:
    try:
        build(email(**fields), 0)
    except HeaderError as error:
        said = str(error) + repr(error)
        trace = traceback.format_exc(limit=0, chain=False)
    assert [value for value in PERSONAL if value.lower() in (said + trace).lower()] == []


async def test_the_registry_s_client_logs_no_password(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever libraries say at their most talkative; the worker quiets only those of ``QUIET``."""
    caplog.set_level(logging.DEBUG)
    with serving() as fake:
        registry = HttpRegistry(RegistryConfig(fake.url, user="reader", password=SECRETS[1]))
        await registry.register_all()
        encoded = b64encode(f"reader:{SECRETS[1]}".encode()).decode()
        assert fake.authorization == {f"Basic {encoded}"}
    assert caplog.records, "something was said"
    assert told(caplog.text, (*SECRETS, encoded)) == []
