"""Links name one message to us and nothing to anybody else."""

from __future__ import annotations

import string
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.links import LONGEST_TOKEN, Links, MessageRef, Purpose

LINKS = Links("https://hooks.example/", [b"the key"])
REF = MessageRef(
    company="acme",
    kind="order",
    entity_id="R-1042",
    customer_id="ann",
    rule_id="ready",
    event_id="evt-1",
    delivery_id="0123456789abcdef" * 2,
    address="ann@mail.example",
)
ids = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=200)
refs = st.builds(
    MessageRef,
    company=ids,
    kind=st.sampled_from(["order", "lead", "appointment"]),
    entity_id=ids,
    customer_id=ids,
    rule_id=ids,
    event_id=ids,
    delivery_id=st.binary(min_size=16, max_size=16).map(bytes.hex),
    address=ids,
)


@given(refs, st.sampled_from(Purpose))
def test_what_went_into_a_link_comes_out_of_it(ref: MessageRef, purpose: Purpose) -> None:
    token = LINKS.token(purpose, ref)
    assert set(token) <= set(string.ascii_letters + string.digits + "-_")
    assert len(token) <= LONGEST_TOKEN
    assert LINKS.open(purpose, token) == ref


def test_links_stand_behind_the_public_address_on_one_path_each() -> None:
    receipts, unsubscribe = LINKS.receipts(REF), LINKS.unsubscribe(REF)
    assert receipts.startswith("https://hooks.example/v1/sms/status/")
    assert unsubscribe.startswith("https://hooks.example/v1/unsubscribe/")
    assert LINKS.open(Purpose.RECEIPT, receipts.rpartition("/")[2]) == REF
    # Stable for ever: a mail of today is unsubscribed from in two years.
    assert Links("", [b"the key"]).unsubscribe(REF) == (
        "/v1/unsubscribe/AXWmkghxcHoqSvT8KepkUkYHUC5uaVuFRBBeUFhM7cPqmwF5olrhe5_VKf1Mr99NI4XsYilmyLcfRaApeV5SdT2pbBvL3sE-ZdWvvlD69_Psfgt4wzD-"
    )


def test_the_longest_ids_make_a_token_that_a_web_server_takes() -> None:
    ref = MessageRef(
        company="ł" * 200,
        kind="appointment",
        entity_id="漢" * 200,
        customer_id="漢" * 200,
        rule_id="漢" * 200,
        event_id="漢" * 200,
        delivery_id="0" * 32,
        address="a" * 254,
    )
    assert LINKS.open(Purpose.RECEIPT, LINKS.token(Purpose.RECEIPT, ref)) == ref


@given(st.data())
def test_any_flipped_bit_is_refused(data: st.DataObject) -> None:
    token = LINKS.token(Purpose.UNSUBSCRIBE, REF)
    raw = bytearray(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    at = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[at // 8] ^= 1 << at % 8
    assert LINKS.open(Purpose.UNSUBSCRIBE, urlsafe_b64encode(raw).decode().rstrip("=")) is None


@given(st.data())
def test_any_other_spelling_is_refused(data: st.DataObject) -> None:
    token = LINKS.token(Purpose.UNSUBSCRIBE, REF)
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from(string.ascii_letters + string.digits + "-_").filter(token[at].__ne__))
    for wrong in (token[:at] + other + token[at + 1 :], token[:at] + token[at + 1 :], token + other):
        assert LINKS.open(Purpose.UNSUBSCRIBE, wrong) is None


def test_the_bits_that_the_last_character_leaves_unused_are_looked_at() -> None:
    ref = MessageRef(**{**_fields(REF), "address": "x@mail.exa"})
    for length in range(3):
        token = LINKS.token(Purpose.RECEIPT, MessageRef(**{**_fields(ref), "address": "x" * length}))
        alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
        last = alphabet.index(token[-1])
        for bit in range(6):
            assert LINKS.open(Purpose.RECEIPT, token[:-1] + alphabet[last ^ 1 << bit]) is None


@given(st.text(max_size=80))
def test_what_is_no_token_is_refused(text: str) -> None:
    assert LINKS.open(Purpose.RECEIPT, text) is None


@pytest.mark.parametrize(
    "text", ["", "A", "AQ", "AQAA", "AQ==", "A" * (LONGEST_TOKEN + 1), "ąę", "AQ/A", "é"]
)
def test_odd_tokens_are_refused(text: str) -> None:
    assert LINKS.open(Purpose.RECEIPT, text) is None


def test_a_link_for_receipts_unsubscribes_nobody() -> None:
    assert LINKS.open(Purpose.UNSUBSCRIBE, LINKS.token(Purpose.RECEIPT, REF)) is None
    assert LINKS.open(Purpose.RECEIPT, LINKS.token(Purpose.UNSUBSCRIBE, REF)) is None


def test_a_new_key_opens_the_links_of_the_one_before_and_makes_its_own() -> None:
    old, new = Links("", [b"old"]), Links("", [b"new", b"old"])
    purpose = Purpose.UNSUBSCRIBE
    assert new.open(purpose, old.token(purpose, REF)) == REF
    assert new.token(purpose, REF) == Links("", [b"new"]).token(purpose, REF)
    assert old.open(purpose, new.token(purpose, REF)) is None


def test_a_link_shows_nothing_of_whom_it_is_for() -> None:
    token = LINKS.token(Purpose.UNSUBSCRIBE, REF)
    raw = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    for name in (b"acme", b"R-1042", b"ann"):
        assert name not in raw
    assert "ann@mail" not in repr(REF)


def test_links_need_a_key() -> None:
    for keys in ([], [b""], [b"new", b""]):
        with pytest.raises(ValueError, match="key"):
            Links("https://hooks.example", keys)


def test_a_link_is_found_in_a_mail() -> None:
    link = LINKS.unsubscribe(REF)
    foreign = Links("https://elsewhere.example", [b"another"]).unsubscribe(REF)
    mail = f"List-Unsubscribe: <{foreign}>,\r\n <{link}>\r\n"
    assert LINKS.find(Purpose.UNSUBSCRIBE, mail) == REF
    assert LINKS.find(Purpose.UNSUBSCRIBE, link) == REF
    assert LINKS.find(Purpose.UNSUBSCRIBE, foreign) is None
    assert LINKS.find(Purpose.RECEIPT, mail) is None


def _fields(ref: MessageRef) -> dict[str, str]:
    return {name: getattr(ref, name) for name in MessageRef.__slots__}
