"""Our signatures as dkimpy verifies them, which shares no line with what signs here."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.fakes.mail import MailFake
from senders.dkim import SIGNED, Signer, sign
from senders.mime import build
from senders.settings import DkimKey
from senders.smtp_email import SmtpEmail
from streams.domain.messages import Accepted
from streams.secret import Secret
from tests.senders.samples import NOW, StillClock, email, smtp_settings

PrivateKey = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
DOMAIN = "mail.example"


@cache
def private_key(name: str) -> PrivateKey:
    if name.startswith("ed"):
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, 2048)


def pem(key: PrivateKey) -> Secret:
    form, clear = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return Secret(key.private_bytes(serialization.Encoding.PEM, form, clear).decode())


def signer(selector: str) -> Signer:
    return Signer(DkimKey(domain=DOMAIN, selector=selector, private_key=pem(private_key(selector))))


def dns(*selectors: str) -> Callable[..., bytes | None]:
    records: Mapping[bytes, bytes] = {
        f"{name}.".encode(): text.encode() for name, text in (signer(one).record() for one in selectors)
    }
    return lambda name, timeout=5: records.get(name)


def verifies(data: bytes, selectors: Sequence[str], number: int = 0) -> bool:
    """Signature ``number`` (0: the first) by the keys in DNS."""
    try:
        return bool(dkim.DKIM(data).verify(number, dnsfunc=dns(*selectors)))
    except dkim.ValidationError as error:
        if "body hash mismatch" not in str(error):
            raise
        return False


MESSAGE = build(email(unsubscribe_url="https://x.example/u"), NOW, reply_to="box@gmail.example").data


@pytest.mark.parametrize("selector", ["rsa1", "ed1"])
def test_a_verifier_is_content(selector: str) -> None:
    signed = sign(MESSAGE, [signer(selector)], NOW)
    assert signed.endswith(MESSAGE), "the message itself is not touched"
    assert verifies(signed, [selector])
    assert max(map(len, signed.removesuffix(MESSAGE).split(b"\r\n"))) <= 78
    assert f"; t={NOW // 1000};".encode() in signed


def test_the_records_are_named_after_their_selectors() -> None:
    name, text = signer("ed1").record()
    assert (name, text[:24]) == (f"ed1._domainkey.{DOMAIN}", "v=DKIM1; k=ed25519; p=" + text[22:24])
    assert len(b64decode(text.partition("p=")[2])) == 32, "bare: RFC 8463 4"
    assert signer("rsa1").record()[1].startswith("v=DKIM1; k=rsa; p=MII")


def test_both_kinds_of_key_at_once() -> None:
    signed = sign(MESSAGE, [signer("rsa1"), signer("ed1")], NOW)
    assert signed.count(b"DKIM-Signature:") == 2
    assert verifies(signed, ["rsa1"], 0)
    assert verifies(signed, ["ed1"], 1)
    without_first = signed[signed.index(b"DKIM-Signature:", 1) :]
    assert verifies(without_first, ["ed1"]), "each stands alone"


def test_rotation() -> None:
    """Old and new record are in DNS while messages of both keys are under way; the old one goes later."""
    before, after = sign(MESSAGE, [signer("rsa1")], NOW), sign(MESSAGE, [signer("rsa2")], NOW)
    assert verifies(before, ["rsa1", "rsa2"])
    assert verifies(after, ["rsa1", "rsa2"])
    assert verifies(after, ["rsa2"])
    assert not verifies(before, ["rsa2"])


@pytest.mark.parametrize("name", SIGNED)
def test_no_header_can_be_added(name: str) -> None:
    signed = sign(MESSAGE, [signer("ed1")], NOW)
    assert not verifies(f"{name}: x@evil.example\r\n".encode() + signed, ["ed1"])
    head, _, body = signed.partition(b"\r\n\r\n")
    assert not verifies(head + f"\r\n{name}: x@evil.example\r\n\r\n".encode() + body, ["ed1"])


@pytest.mark.parametrize(
    "name", ["From", "To", "Reply-To", "Subject", "Date", "List-Unsubscribe", "List-Unsubscribe-Post"]
)
def test_no_header_can_be_changed_or_taken_away(name: str) -> None:
    signed = sign(MESSAGE, [signer("ed1")], NOW)
    field = re.search(rf"\r\n{name}: [^\r]*".encode(), signed)
    assert field is not None
    assert not verifies(signed.replace(field[0], field[0] + b"x"), ["ed1"])
    assert not verifies(signed.replace(field[0], b""), ["ed1"])


def test_the_body_can_not_be_changed_but_for_white_space_at_its_ends() -> None:
    signed = sign(MESSAGE, [signer("ed1")], NOW)
    assert not verifies(signed.replace(b"get it", b"get out"), ["ed1"])
    assert not verifies(signed + b"more\r\n", ["ed1"])
    assert verifies(signed + b"\r\n\r\n", ["ed1"])
    assert verifies(signed.replace(b"get it", b"get  it"), ["ed1"])


TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(" \t\r\n.="), max_size=200)
LINE = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]) | st.sampled_from(" =?,\t"))
URL = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="<>"), min_size=1)


@settings(max_examples=100, deadline=None)
@given(LINE, LINE, TEXT, TEXT, URL)
def test_whatever_the_message_says(subject: str, name: str, text: str, html: str, url: str) -> None:
    message = email(
        subject=subject, to_name=name, text=text, html=html, unsubscribe_url=f"https://x.example/{url}"
    )
    data = build(message, NOW).data
    assert verifies(sign(data, [signer("ed1")], NOW), ["ed1"])


@given(st.lists(st.sampled_from([b" ", b"\t", b"\r\n", b"a", b"=", b".", b"  \r\n"]), max_size=40))
def test_any_body_in_canonical_form(pieces: list[bytes]) -> None:
    """Also such as quoted-printable never has."""
    head = MESSAGE.partition(b"\r\n\r\n")[0]
    assert verifies(sign(head + b"\r\n\r\n" + b"".join(pieces), [signer("ed1")], NOW), ["ed1"])


def test_without_a_key_nothing_is_signed() -> None:
    assert sign(MESSAGE, [], NOW) is MESSAGE


@pytest.mark.parametrize(
    "changes",
    [
        {"private_key": Secret("")},
        {"private_key": Secret("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----")},
        {"private_key": pem(ec.generate_private_key(ec.SECP256R1()))},
        {"selector": ""},
        {"selector": "a; d=evil.example"},
        {"domain": ""},
        {"domain": "a b.example"},
    ],
)
def test_a_key_that_can_not_sign_is_refused_and_not_repeated(changes: dict[str, object]) -> None:
    values: dict[str, object] = {"domain": DOMAIN, "selector": "s", "private_key": pem(private_key("ed1"))}
    with pytest.raises(ValueError, match=r"^DKIM: ") as caught:
        Signer(DkimKey(**(values | changes)))  # type: ignore[arg-type]  # of the right types, wrong values
    assert "c2VjcmV0" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


async def test_what_arrives_is_signed(mail_fake: MailFake) -> None:
    keys = tuple(
        DkimKey(domain=DOMAIN, selector=selector, private_key=pem(private_key(selector)))
        for selector in ("rsa1", "ed1")
    )
    smtp = SmtpEmail(smtp_settings(mail_fake), StillClock(), dkim=keys)
    message = email(text=".\r\n..\r\nfrom the beginning\r\n", subject="Größe", to_address="jörg@example.com")
    assert isinstance(await smtp.send(message), Accepted)
    await smtp.close()
    [kept] = mail_fake.messages
    data = kept["data"].encode()
    assert verifies(data, ["rsa1"], 0)
    assert verifies(data, ["ed1"], 1)


def test_the_signature_is_base64_in_lines() -> None:
    field = sign(MESSAGE, [signer("rsa1")], NOW).partition(b"\r\nFrom:")[0]
    value = field.rpartition(b" b=")[2]
    assert len(b64decode(re.sub(rb"\s", b"", value))) == 256
