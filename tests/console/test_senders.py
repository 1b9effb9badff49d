"""One message by the providers that are set up, and the records that they need."""

from __future__ import annotations

import json
from collections.abc import Iterator
from email import message_from_string
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from console.demo.processes import Processes, read_ready
from console.senders import COMPANY
from deploy.fakes.sms import ACCOUNT, TOKEN
from streams.domain.links import Links, Purpose
from tests.console.conftest import Carillon

PUBLIC, KEY = "https://hooks.example", "a key"


@pytest.fixture(scope="module")
def providers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("providers")
    processes = Processes(folder / "logs")
    try:
        found: dict[str, Any] = {"folder": folder}
        for name in ("sms", "mail"):
            ready = folder / f"{name}.json"
            arguments = [
                "-m",
                f"deploy.fakes.{name}",
                "--ready-file",
                str(ready),
                "--ledger",
                str(folder / name),
            ]
            found[name] = read_ready(ready, processes.start(name, arguments, {}))
        yield found
    finally:
        processes.stop_all()


@pytest.fixture(autouse=True)
def _settings(providers: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    sms, mail = providers["sms"], providers["mail"]
    for name, value in {
        "CARILLON_SMS_ACCOUNT": ACCOUNT,
        "CARILLON_SMS_TOKEN": "env:TRY_TOKEN",
        "TRY_TOKEN": TOKEN,
        "CARILLON_SMS_API": f"http://{sms['host']}:{sms['port']}",
        "CARILLON_SMTP_HOST": mail["host"],
        "CARILLON_SMTP_PORT": str(mail["port"]),
        "CARILLON_SMTP_TLS": "none",
        "CARILLON_EMAIL_DOMAIN": "mail.example",
        "CARILLON_ALLOWED_ADDRESSES": "ann@allowed.example",
        "CARILLON_PUBLIC_URL": PUBLIC,
        "CARILLON_LINK_KEY": "env:TRY_KEY",
        "TRY_KEY": KEY,
    }.items():
        monkeypatch.setenv(name, value)


def newest(providers: dict[str, Any], name: str) -> dict[str, Any]:
    lines = (providers["folder"] / name / f"{name}.jsonl").read_text().splitlines()
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def test_a_text_is_sent_and_its_receipt_leads_to_nobody_s_messages(
    carillon: Carillon, providers: dict[str, Any]
) -> None:
    done = carillon("senders", "try", "+48501111222", "--from", "+48732100100")
    assert done.exit_code == 0, done.output
    sent = newest(providers, "sms")
    assert done.output == f"accepted by twilio as {sent['sid']}\n"
    assert (sent["to"], sent["from"]) == ("+48501111222", "+48732100100")
    ref = Links(PUBLIC, [KEY.encode()]).find(Purpose.RECEIPT, sent["status_callback"])
    assert ref is not None
    assert ref.company == COMPANY


def test_an_email_is_sent_with_a_link_to_unsubscribe(carillon: Carillon, providers: dict[str, Any]) -> None:
    done = carillon("senders", "try", "ann@mail.example", "--from", "hello@shop.example", "--company", "acme")
    assert done.exit_code == 0, done.output
    mail = message_from_string(newest(providers, "mail")["data"])
    assert done.output == f"accepted by smtp as {mail['Message-ID']}\n"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = "".join(str(mail["List-Unsubscribe"]).split())
    ref = Links(PUBLIC, [KEY.encode()]).find(Purpose.UNSUBSCRIBE, link)
    assert ref is not None
    assert (ref.company, ref.address) == ("acme", "ann@mail.example")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("+48501111222", "--from", "not a sender!"), "twilio: "),
        (("ann@mail.example", "--from", "hello"), "smtp: "),
        (("ann@mail.example", "--from", "box@gmail.com", "--mailbox", "env:NO_SUCH"), "smtp: "),
        (
            ("+48501111222", "--from", "x", "--provider", "other"),
            "there is no provider 'other'; there are: twilio",
        ),
        (
            ("ann@mail.example", "--from", "a@b.example", "--set", "smtp_host=relay.invalid"),
            "CARILLON_ALLOWED_ADDRESSES does not name ann@mail.example",
        ),
        (("+48501111222", "--from", "x", "--set", "sms_account="), "CARILLON_SMS_ACCOUNT is empty"),
        (("ann@mail.example", "--from", "a@b.example", "--set", "smtp_host="), "CARILLON_SMTP_HOST is empty"),
    ],
)
def test_what_does_not_go_is_said_in_words(
    carillon: Carillon, arguments: tuple[str, ...], words: str
) -> None:
    done = carillon("senders", "try", *arguments)
    assert (done.exit_code, words in done.output) == (1, True), done.output
    assert "Traceback" not in done.output


def test_the_records_for_dns(carillon: Carillon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = generate_private_key(65537, 2048)
    form = serialization.PrivateFormat.PKCS8
    (tmp_path / "a.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    )
    monkeypatch.setenv("CARILLON_DKIM_DOMAIN", "mail.example")
    monkeypatch.setenv("CARILLON_DKIM_SELECTOR", "a2026")
    monkeypatch.setenv("CARILLON_DKIM_KEY", f"file:{tmp_path / 'a.pem'}")
    done = carillon("senders", "dns", "--set", "smtp_envelope_from=bounces@mail.example")
    assert done.exit_code == 0, done.output
    spf, dkim, dmarc = done.output.splitlines()
    assert spf == 'mail.example. IN TXT "v=spf1 include:YOUR-RELAY -all"'
    assert dkim.startswith('a2026._domainkey.mail.example. IN TXT "v=DKIM1; k=rsa; p=MII')
    assert dkim.count('"') == 4, "in strings of 255 bytes"
    assert dmarc == '_dmarc.mail.example. IN TXT "v=DMARC1; p=none; rua=mailto:dmarc@mail.example"'


def test_nothing_to_publish(carillon: Carillon) -> None:
    done = carillon("senders", "dns")
    assert (done.exit_code, "nothing to publish" in done.output) == (1, True)
