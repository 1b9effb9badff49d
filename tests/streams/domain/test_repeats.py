from __future__ import annotations

import msgspec
import pytest

from schemas.records import Company
from streams.domain.reasons import Reason
from streams.domain.repeats import LONGEST_DAY, MOST, Recent, kept, remembers, repeated
from tests.support.shop import HOUR, MINUTE, at

NOON = at("2026-04-07 12:00")
WARSAW = "Europe/Warsaw"
OFF = Company(id="acme", name="Acme", language="en", zone=WARSAW, version=1)
CAPPED = msgspec.structs.replace(OFF, customer_daily_cap=2)
GUARDED = msgspec.structs.replace(OFF, duplicate_window=10 * MINUTE)


def recent(number: int, ago: int = 0, body: str = "text", to: str = "ann") -> Recent:
    return Recent(f"{number}", NOON - ago, body, to)


def test_only_who_asks_is_remembered_for() -> None:
    assert [remembers(company) for company in (OFF, CAPPED, GUARDED)] == [False, True, True]


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ([], None),
        ([recent(1, 10 * MINUTE - 1)], Reason.DUPLICATE_TEXT),
        ([recent(1, 10 * MINUTE)], None),
        ([recent(1, body="another")], None),
        ([recent(1, to="ben")], None),
        ([recent(0)], None),  # an earlier attempt at the message itself
        ([recent(1), recent(2, HOUR)], Reason.DUPLICATE_TEXT),
    ],
)
def test_the_same_text_to_the_same_address(before: list[Recent], reason: Reason | None) -> None:
    assert repeated(before, recent(0), GUARDED, WARSAW) is reason


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ([recent(1)], None),
        ([recent(1), recent(2, HOUR)], Reason.OVER_CAP),
        ([recent(1), recent(0, HOUR)], None),
        ([recent(1), recent(2, 12 * HOUR)], Reason.OVER_CAP),  # midnight in Warsaw
        ([recent(1), recent(2, 12 * HOUR + 1)], None),  # the day before
    ],
)
def test_so_many_a_day(before: list[Recent], reason: Reason | None) -> None:
    assert repeated(before, recent(0), CAPPED, WARSAW) is reason


def test_the_day_is_that_of_the_zone() -> None:
    before = [recent(1), recent(2, 11 * HOUR)]
    assert repeated(before, recent(0), CAPPED, WARSAW) is Reason.OVER_CAP
    assert repeated(before, recent(0), CAPPED, "America/New_York") is None


def test_what_no_longer_counts_is_forgotten() -> None:
    old = [recent(1, LONGEST_DAY), recent(2, LONGEST_DAY - 1)]
    assert [one.delivery_id for one in kept(old, 0, NOON)] == ["2"]
    assert kept(old, LONGEST_DAY + 1, NOON) == old
    many = [recent(number) for number in range(MOST + 5)]
    assert kept(many, 0, NOON) == many[5:]
