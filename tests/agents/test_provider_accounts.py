"""From settings to senders."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.accounts import allowed_of, sender_settings
from agents.worker import preflight
from schemas.records import Channel
from senders.factory import build_senders
from senders.settings import DkimKey, Tls
from senders.smtp_email import SmtpEmail
from streams.clock import SystemClock
from streams.secret import Secret
from streams.settings import Settings, SettingsError, read_settings

MAIL = {"smtp_host": "mail.example"}


@pytest.fixture
def key(tmp_path: Path) -> str:
    form, clear = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file = tmp_path / "dkim.pem"
    file.write_bytes(Ed25519PrivateKey.generate().private_bytes(serialization.Encoding.PEM, form, clear))
    return f"file:{file}"


def test_nothing_is_signed_and_no_mailbox_used_unless_it_is_set() -> None:
    made = sender_settings(read_settings({}, MAIL))
    assert made.email is not None
    assert (made.email.envelope_from, made.dkim, made.gmail) == ("", (), None)


async def test_dkim_gmail_and_the_envelope(key: str) -> None:
    settings = read_settings(
        {"SECRET": "s3cret"},
        MAIL
        | {
            "smtp_envelope_from": "bounces@mail.example",
            "dkim_domain": "mail.example",
            "dkim_selector": "a",
            "dkim_key": key,
            "dkim_second_selector": "b",
            "dkim_second_key": key,
            "gmail_client": "id.apps.example",
            "gmail_client_secret": "env:SECRET",
        },
    )
    made = sender_settings(settings)
    assert made.email is not None
    assert made.email.envelope_from == "bounces@mail.example"
    assert [(one.domain, one.selector) for one in made.dkim] == [("mail.example", "a"), ("mail.example", "b")]
    assert made.gmail is not None
    assert (made.gmail.host, made.gmail.port, made.gmail.tls) == ("smtp.gmail.com", 465, Tls.TLS)
    assert made.gmail.client_secret.reveal() == "s3cret"
    [mail] = build_senders(made, SystemClock())[Channel.EMAIL]
    assert isinstance(mail, SmtpEmail)
    await mail.close()


@pytest.mark.parametrize(
    "given",
    [
        {"dkim_domain": "mail.example"},
        {"dkim_domain": "mail.example", "dkim_selector": "a"},
        {"dkim_second_selector": "b"},
        {"gmail_client": "id.apps.example"},
    ],
)
def test_what_is_missing_is_named(given: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"needed with"):
        read_settings({}, MAIL | given)


def test_a_key_without_a_domain_is_named(key: str) -> None:
    with pytest.raises(SettingsError, match=r"^dkim_domain: "):
        read_settings({}, MAIL | {"dkim_key": key})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dkim_domain": "mail.example", "dkim_selector": "a", "dkim_key": Secret("no key")}, "DKIM: "),
        ({"gmail_client": "x", "gmail_client_secret": Secret("x"), "gmail_tls": "none"}, "in clear"),
        ({"smtp_ca": "/nowhere/ca.pem"}, "No such file"),
    ],
)
def test_a_worker_does_not_start_with_an_account_that_can_not_be_used(
    changes: dict[str, object], words: str
) -> None:
    settings = Settings(smtp_host="mail.example", **changes)  # type: ignore[arg-type]  # of the right types
    [problem] = preflight(settings)
    assert words in problem
    assert "no key" not in problem


def test_keys_do_not_show() -> None:
    assert "PEM" not in repr(DkimKey(domain="d", selector="s", private_key=Secret("PEM")))


@pytest.mark.parametrize(
    ("given", "limited"),
    [
        ({}, set()),  # nothing is sent at all
        ({"sms_api": "http://127.0.0.1:1", "smtp_host": "localhost"}, set()),
        ({"smtp_host": "mail.example"}, {Channel.SMS, Channel.EMAIL}),
        ({"sms_api": "http://127.0.0.1:1", "smtp_host": "mail.example"}, {Channel.EMAIL}),
        ({"smtp_host": "mail.example", "environment": "production"}, set()),
        (
            {"sms_api": "http://127.0.0.1:1", "smtp_host": "localhost", "gmail_client": "id"}
            | {"gmail_client_secret": "env:SECRET"},
            {Channel.EMAIL},
        ),
    ],
)
def test_a_fresh_install_with_real_providers_writes_to_nobody(
    given: dict[str, str], limited: set[Channel]
) -> None:
    account = {"sms_account": "AC1", "sms_token": "env:SECRET"} if given else {}
    allowed = allowed_of(read_settings({"SECRET": "s3cret"}, account | given))
    assert set(allowed) == limited
    assert not any(one.permits("ann@shop.example") for one in allowed.values())


def test_who_is_on_the_list_may_be_written_to() -> None:
    settings = read_settings({}, {"smtp_host": "mail.example", "allowed_addresses": "@shop.example, +4860*"})
    assert allowed_of(settings)[Channel.EMAIL].permits("ann@shop.example")
