"""Ids never change and never collide; keys come apart as they were put together; masks hide."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain import ids

NASTY = st.text(st.sampled_from("ab/%:12é\ud800F5"), max_size=6)
FIELDS = st.tuples(NASTY, NASTY, NASTY, NASTY, NASTY, NASTY)


def test_golden_values() -> None:
    """A change of these would send every pending message of the world a second time."""
    assert ids.delivery_id("acme", "r1", "order", "o-17", "evt-9", "c-3") == GOLDEN_PLAIN
    assert ids.delivery_id("ącme", "", "appointment", "a/1", "1775649600000", "zoë") == GOLDEN_UNICODE


GOLDEN_PLAIN = "800552bbce49caae47bda7f0cd4ccc9d"
GOLDEN_UNICODE = "d5ca716a9cfc923a11da208d55b5eb5a"


@given(FIELDS, FIELDS)
def test_delivery_ids_collide_only_when_equal(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert (ids.delivery_id(*one) == ids.delivery_id(*other)) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ab", "c", "k", "e", "a", "u"), ("a", "bc", "k", "e", "a", "u")),
        (("a1:b", "c", "k", "e", "a", "u"), ("a", "b1:c", "k", "e", "a", "u")),
        (("", "a", "k", "e", "a", "u"), ("a", "", "k", "e", "a", "u")),
        (("c", "r", "k", "e", "1", "11"), ("c", "r", "k", "e", "11", "1")),
        (("c", "r", "ke", "e", "1", "1"), ("c", "r", "k", "ee", "1", "1")),
    ],
)
def test_moving_a_border_makes_another_id(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert ids.delivery_id(*one) != ids.delivery_id(*other)


@given(FIELDS)
def test_delivery_id_is_32_hexadecimal_digits(fields: tuple[str, ...]) -> None:
    found = ids.delivery_id(*fields)
    assert len(found) == 32
    assert set(found) <= set(string.hexdigits.lower())


def test_message_id() -> None:
    assert ids.message_id("0f" * 16, "mail.example.com") == f"<{'0f' * 16}@mail.example.com>"


@pytest.mark.parametrize(
    "domain", ["", "a b", "x>\r\nBcc: y", "exa_mple", "-a.com", "a-.com", "a..b", "ż.pl", "a.com\n"]
)
def test_message_id_refuses_what_is_no_host(domain: str) -> None:
    with pytest.raises(ValueError, match="not a host name"):
        ids.message_id("0f" * 16, domain)


def test_keys_as_documented() -> None:
    assert ids.customer_key("acme", "c1") == b"acme/c1"
    assert ids.entity_key("acme", "o1") == b"acme/o1"
    assert ids.reference_key("acme", "r1") == b"acme/r1"
    assert ids.log_key("acme", "order", "o1") == b"acme/order/o1"
    assert ids.suppression_key("acme", "email", "Anna@Example.com") == b"acme/email/anna@example.com"
    assert ids.customer_key("a/b", "c%d") == b"a%2Fb/c%25d"
    assert ids.split_key(ids.customer_key("a", "%2F")) == ("a", "%2F")
    assert ids.split_key(ids.customer_key("a/", "b")) == ("a/", "b")
    assert ids.customer_key("żółw", "c") == "żółw/c".encode()


@given(NASTY, NASTY, NASTY)
def test_keys_round_trip(a: str, b: str, c: str) -> None:
    assert ids.split_key(ids.customer_key(a, b)) == (a, b)
    assert ids.split_key(ids.entity_key(a, b)) == (a, b)
    assert ids.split_key(ids.reference_key(a, b)) == (a, b)
    assert ids.split_key(ids.log_key(a, b, c)) == (a, b, c)
    assert ids.split_key(ids.suppression_key(a, b, c)) == (a, b, c.lower())


@given(st.tuples(NASTY, NASTY), st.tuples(NASTY, NASTY))
def test_no_two_pairs_share_a_key(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (ids.customer_key(*one) == ids.customer_key(*other)) == (one == other)


def test_hashes_depend_on_each_argument() -> None:
    base = ids.address_hash(b"k", "acme", "+48600100123")
    assert base == "bb2862815058a64c83bb2a2739a55e46"
    assert base != ids.address_hash(b"K", "acme", "+48600100123")
    assert base != ids.address_hash(b"k", "acma", "+48600100123")
    assert base != ids.address_hash(b"k", "acme", "+48600100124")
    assert ids.address_hash(b"k", "ab", "c") != ids.address_hash(b"k", "a", "bc")
    assert ids.body_hash(b"k", "see you") == "1557089d090a0bf9673e534234cf2fc5"
    assert ids.body_hash(b"k", "see you") != ids.body_hash(b"k", "see you!")
    assert ids.body_hash(b"k", "4:acme+48600100123") != base
    assert len(base) == 32


def test_secrets_of_any_length() -> None:
    found = {ids.body_hash(b"s" * length, "text") for length in (0, 1, 63, 64, 65, 200)}
    assert len(found) == 6
    assert ids.body_hash(b"s" * 64, "text") == "b1b7396301ed6f09123157e9323e69ea"


@pytest.mark.parametrize(
    ("address", "masked"),
    [
        ("+48600100123", "+48 ••• ••• 123"),
        ("+12025550123", "+1 ••• ••• 123"),
        ("+380441234567", "+380 ••• ••• 567"),
        ("+4860010012", "+48 ••• ••• 12"),
        ("+48600100", "+48 ••• ••• 00"),
        ("+4860010", "+48 ••• •••"),
        ("+999123456789", "+ ••• ••• 789"),
        ("anna.k@example.com", "a…@e….com"),
        ("anna@shop.example.co.uk", "a…@s….uk"),
        ("@example.com", "•••"),
        ("anna@com", "•••"),
        ("anna@.com", "•••"),
        ("anna@example.", "•••"),
        ("600100123", "•••"),
        ("+", "•••"),
        ("+48x", "•••"),
        ("+x48600100", "•••"),
        ("+٤٨٦٠٠", "•••"),
        ("", "•••"),
    ],
)
def test_mask(address: str, masked: str) -> None:
    assert ids.mask(address) == masked
