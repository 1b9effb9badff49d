"""Twilio's forms: whether they are genuine, and what they say."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import MultiDict  # of aiohttp
from twilio.request_validator import RequestValidator

from schemas.records import EventStatus
from senders.outcomes import TWILIO_CODES
from senders.receipts import HookError
from senders.twilio_hooks import STATUSES, TwilioHooks, answer_to_text, receipt_of, text_of
from streams.secret import Secret

TOKEN = "the token"
URL = "https://hooks.example/carillon"
HOOKS = TwilioHooks(Secret(TOKEN), URL + "/")
SID = "SM" + "0a" * 16
SENT = {"MessageSid": SID, "MessageStatus": "sent", "To": "+48501111222", "AccountSid": "AC1"}
TEXT = {"MessageSid": SID, "From": "+48501111222", "To": "+48500000000", "Body": "Stop!"}


def signed(url: str, form: dict[str, str] | MultiDict[str]) -> str:
    return str(RequestValidator(TOKEN).compute_signature(url, form))


@pytest.mark.parametrize("target", ["/v1/sms/status/AQ", "/v1/sms/incoming?b=2&a=1", "/x?q=%C5%82+%2B"])
def test_what_twilio_signed_is_genuine(target: str) -> None:
    assert HOOKS.genuine(target, MultiDict(SENT), signed(URL + target, SENT))
    # Twilio signs with and without the port that the scheme implies.
    assert HOOKS.genuine(
        target, MultiDict(SENT), signed(URL.replace(".example", ".example:443") + target, SENT)
    )


def test_fields_that_come_twice_are_signed_as_twilio_does() -> None:
    form = MultiDict([("MediaUrl", "b"), ("MediaUrl", "a"), ("To", "+48501111222")])
    assert HOOKS.genuine("/v1/sms/incoming", form, signed(URL + "/v1/sms/incoming", form))


def test_anything_else_is_not() -> None:
    target = "/v1/sms/incoming?a=1&b=2"
    signature = signed(URL + target, TEXT)
    good = MultiDict(TEXT)
    assert HOOKS.genuine(target, good, signature)
    assert not HOOKS.genuine(target, MultiDict({**TEXT, "Body": "START"}), signature)
    assert not HOOKS.genuine(target, MultiDict({**TEXT, "More": "1"}), signature)
    assert not HOOKS.genuine("/v1/sms/incoming?b=2&a=1", good, signature)  # the order of the query counts
    assert not HOOKS.genuine("/v1/sms/incoming", good, signature)
    assert not HOOKS.genuine("http://hooks.example" + target, good, signature)
    assert not HOOKS.genuine(target, good, "")
    assert not HOOKS.genuine(target, good, "ł" * 28)
    assert not HOOKS.genuine(target, good, signature[:-1])
    assert not TwilioHooks(Secret("another"), URL).genuine(target, good, signature)
    assert not TwilioHooks(Secret(TOKEN), "https://other.example/carillon").genuine(target, good, signature)


@pytest.mark.parametrize(("said", "status"), STATUSES.items())
def test_every_status_of_a_message(said: str, status: EventStatus) -> None:
    receipt = receipt_of({**SENT, "MessageStatus": said})
    assert receipt is not None
    assert (receipt.status, receipt.provider_id, receipt.to) == (status, SID, "+48501111222")
    assert "501111" not in repr(receipt)


def test_older_names_of_the_fields() -> None:
    receipt = receipt_of({"SmsSid": SID, "SmsStatus": "delivered"})
    assert receipt is not None
    assert (receipt.status, receipt.to) == (EventStatus.DELIVERED, "")


def test_what_the_form_says_besides() -> None:
    receipt = receipt_of(
        {**SENT, "NumSegments": "2", "Price": "-0.0750", "PriceUnit": "usd", "ErrorCode": "0"}
    )
    assert receipt is not None
    assert (receipt.segments, receipt.price, receipt.currency, receipt.code) == (2, "0.0750", "USD", "")
    odd = {"NumSegments": "many", "Price": "NaN", "PriceUnit": "usd", "ErrorCode": "<b>"}
    receipt = receipt_of({**SENT, **odd})
    assert receipt is not None
    assert (receipt.segments, receipt.price, receipt.currency, receipt.code) == (None, "", "", "")


@pytest.mark.parametrize("code", TWILIO_CODES)
def test_a_number_that_is_bad_for_good_is_suppressed(code: int) -> None:
    failed = receipt_of({**SENT, "MessageStatus": "undelivered", "ErrorCode": str(code)})
    assert failed is not None
    assert failed.code == str(code)
    verdict = TWILIO_CODES[code]
    assert failed.suppress == (verdict.reason if verdict.suppress else "")
    sent = receipt_of({**SENT, "MessageStatus": "sent", "ErrorCode": str(code)})
    assert sent is not None
    assert sent.suppress == ""


def test_a_status_that_is_none_of_ours_is_passed_over_and_no_message_is_an_error() -> None:
    assert receipt_of({**SENT, "MessageStatus": "receiving"}) is None
    for sid in ("", "SM1", SID + "0", "CA" + "0a" * 16):
        with pytest.raises(HookError, match="MessageSid"):
            receipt_of({**SENT, "MessageSid": sid})
        with pytest.raises(HookError, match="MessageSid"):
            text_of({**TEXT, "MessageSid": sid})


def test_a_text_is_a_word_from_a_number_to_a_number() -> None:
    text = text_of({**TEXT, "MessagingServiceSid": "MG" + "1" * 32})
    assert (text.sender, text.to, text.word) == ("+48501111222", "+48500000000", EventStatus.STOP)
    assert text.service == "MG" + "1" * 32
    assert "501111" not in repr(text)
    assert text_of({**TEXT, "Body": "see you"}).word is EventStatus.OTHER
    assert text_of({key: value for key, value in TEXT.items() if key != "Body"}).word is EventStatus.OTHER


def test_the_word_that_twilio_recognised_counts() -> None:
    assert text_of({**TEXT, "Body": "LOPETA", "OptOutType": "STOP"}).word is EventStatus.STOP
    assert text_of({**TEXT, "Body": "yes", "OptOutType": "start"}).word is EventStatus.START
    assert text_of({**TEXT, "OptOutType": "?"}).word is EventStatus.STOP


@pytest.mark.parametrize("sender", ["", "266696687", "Acme", "whatsapp:+48501111222", "+", "+1" * 40])
def test_whoever_has_no_number_can_not_be_suppressed(sender: str) -> None:
    with pytest.raises(HookError, match="From") as caught:
        text_of({**TEXT, "From": sender})
    assert sender == "" or sender not in str(caught.value)


def test_the_answer_is_xml_and_its_text_only_text() -> None:
    assert list(ElementTree.fromstring(answer_to_text(""))) == []
    message = ElementTree.fromstring(answer_to_text("Koło & <Sons>: STOP"))[0]
    assert (message.tag, message.text) == ("Message", "Koło & <Sons>: STOP")


_KEYS = st.sampled_from([*SENT, *TEXT, "ErrorCode", "NumSegments", "Price", "PriceUnit", "OptOutType"])


@settings(max_examples=300)
@given(st.dictionaries(_KEYS, st.text(max_size=40) | st.sampled_from([SID, "sent", "-0.1", "30005"])))
def test_any_form_is_read_or_refused(form: dict[str, str]) -> None:
    for read in (receipt_of, text_of):
        try:
            read(form)
        except HookError:
            continue
