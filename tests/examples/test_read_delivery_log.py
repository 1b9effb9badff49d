"""The pure part of the example for analysts."""

from __future__ import annotations

import msgspec
import pytest

from examples.read_delivery_log import Repeats, decode, line
from schemas.codec import Codec
from schemas.errors import DecodeError
from schemas.records import Delivery, DeliveryState, EntityKind
from schemas.registry import EmbeddedRegistry

SENT = Delivery(
    delivery_id="0" * 32,
    transition=2,
    state=DeliveryState.SENT,
    reason="accepted",
    company="acme",
    kind=EntityKind.ORDER,
    entity_id="R-1",
    entity_version=3,
    rule_id="ready",
    rule_version=1,
    customer_id="c-1",
    channel="sms",
    at=1_775_635_200_123,
)


def test_repeats_are_dropped_and_order_is_kept() -> None:
    again = msgspec.structs.replace(SENT, at=SENT.at + 5)
    later = msgspec.structs.replace(SENT, transition=3)
    other = msgspec.structs.replace(SENT, delivery_id="1" * 32)
    repeats = Repeats()
    assert list(repeats.fresh([SENT, again, later, other])) == [SENT, later, other]
    assert list(repeats.fresh([later, SENT])) == []


def test_only_so_many_are_remembered() -> None:
    repeats = Repeats(size=1)
    later = msgspec.structs.replace(SENT, transition=3)
    assert list(repeats.fresh([SENT, later, SENT])) == [SENT, later, SENT]


def test_a_line() -> None:
    assert line(SENT) == "2026-04-08T08:00:00.123+00:00 acme/order/R-1 sms ready: sent (accepted)"


def test_decodes_what_carillon_writes() -> None:
    registry = EmbeddedRegistry()
    codec = Codec(registry)
    assert decode(codec, registry, codec.encode(SENT)) == SENT
    with pytest.raises(DecodeError):
        decode(codec, registry, b"junk")
