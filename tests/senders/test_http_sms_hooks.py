"""Receipts of a described provider: who may post them, and what they say."""

from __future__ import annotations

import hmac
import json
from base64 import b64encode
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.fakes.http_sms import WITH_RECEIPTS
from schemas.records import EventStatus
from senders.http_sms_hooks import HttpSmsHooks
from senders.http_sms_settings import read_description
from senders.receipts import HookError, Receipt
from streams.secret import Secret
from tests.agents.gateway.conftest import ANN

SECRET = "the secret"
DESCRIBED = read_description(WITH_RECEIPTS.format(url="http://127.0.0.1:1"), Secret("token"))
BODY = b'{"message": {"id": 77, "status": "DELIVRD"}}'


def hooks(**changes: Any) -> HttpSmsHooks:
    assert DESCRIBED.receipts is not None
    return HttpSmsHooks(DESCRIBED, replace(DESCRIBED.receipts, **changes), Secret(SECRET))


def said(**message: object) -> bytes:
    return json.dumps({"message": {"id": "m1", "status": "DELIVRD"} | message}).encode()


def test_what_a_receipt_says() -> None:
    assert hooks().receipt_of(said(to=ANN, code="E9")) == Receipt(
        provider="local", provider_id="m1", status=EventStatus.DELIVERED, code="E9", to=ANN, suppress=""
    )
    assert hooks().receipt_of(BODY) == Receipt(
        provider="local", provider_id="77", status=EventStatus.DELIVERED, code="", to="", suppress=""
    )
    form = hooks(format="form", id="MsgId", status="s", to="to")
    found = form.receipt_of(urlencode({"MsgId": "m 1", "s": "SENT", "to": ANN[1:]}).encode())
    assert found is not None
    assert (found.provider_id, found.status, found.to) == ("m 1", EventStatus.SENT, ANN)


@pytest.mark.parametrize(
    ("status", "code", "suppress"),
    [
        ("UNDELIV", "bad_number", "invalid_recipient"),
        ("UNDELIV", "opted_out", "opted_out"),
        ("UNDELIV", "another", ""),
        ("UNDELIV", None, ""),
        ("DELIVRD", "bad_number", ""),
    ],
)
def test_a_number_that_is_bad_for_good(status: str, code: str | None, suppress: str) -> None:
    found = hooks().receipt_of(said(status=status, code=code, to=ANN))
    assert found is not None
    assert (found.suppress, found.code) == (suppress, code or "")


@pytest.mark.parametrize("status", ["delivrd", "", None, "EXPIRED", ["DELIVRD"], True])
def test_another_status_is_passed_over(status: object) -> None:
    assert hooks().receipt_of(said(status=status)) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no JSON",
        b"7",
        b'{"message": 7}',
        said(id=""),
        said(id="x" * 201),
        said(id="a\nb"),
        said(id=None),
    ],
)
def test_what_names_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(HookError):
        hooks().receipt_of(body)


def digest(algorithm: str) -> bytes:
    return hmac.digest(SECRET.encode(), BODY, algorithm)


@pytest.mark.parametrize(
    ("rules", "given"),
    [
        ({"signed": "hmac-sha256"}, "sha256=" + digest("sha256").hex()),
        ({"signed": "hmac-sha256"}, "SHA256=" + digest("sha256").hex().upper()),
        ({"signed": "hmac-sha1", "prefix": ""}, digest("sha1").hex()),
        ({"signed": "hmac-sha512", "prefix": "", "encoding": "base64"}, b64encode(digest("sha512")).decode()),
        ({"signed": "secret", "prefix": "Bearer "}, f"Bearer {SECRET}"),
    ],
)
def test_who_may_post(rules: dict[str, str], given: str) -> None:
    made = hooks(**rules)
    assert made.genuine({"X-Signature": given}, BODY)
    assert rules["signed"] == "secret" or not made.genuine({"X-Signature": given}, BODY + b" ")
    for wrong in ("", given[:-1], given + "0", " " + given, given.swapcase()[:-1] + "\x7f", "é", "\udcff"):
        assert not made.genuine({"X-Signature": wrong}, BODY)
    assert not made.genuine({"X-Other": given}, BODY)


def test_where_nothing_is_signed_the_address_says_who_it_is() -> None:
    assert hooks(signed="no").genuine({}, BODY)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([ANN, "DELIVRD"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["message", "id", "status", "code", "to", "0"]), inner, max_size=5)
    ),
    max_leaves=12,
)


@given(JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200), st.booleans())
def test_whatever_is_posted_it_is_a_receipt_or_none(body: bytes, form: bool) -> None:
    made = hooks(format="form", id="id", status="status") if form else hooks()
    assert not made.genuine({"X-Signature": body.decode("latin-1")}, body)
    try:
        found = made.receipt_of(body)
    except HookError:
        return
    assert found is None or found.provider_id


def test_deeply_nested_json_is_none() -> None:
    with pytest.raises(HookError):
        hooks().receipt_of(b"[" * 60_000)
