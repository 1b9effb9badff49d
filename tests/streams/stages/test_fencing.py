"""Whose records of a changelog count."""

from __future__ import annotations

import msgspec
import pytest

from streams.stages.fencing import (
    CLAIM,
    EPOCH_HEADER,
    FORMAT,
    Claim,
    Fence,
    Fenced,
    LogRecord,
    StateTooNew,
    claim_record,
    epoch_of,
    header_of,
)


def claim(offset: int, epoch: int, after: int | None = None, by: str = "one") -> LogRecord:
    key, value = claim_record(epoch, offset if after is None else after, by)
    return offset, key, value, epoch


def test_a_former_owners_late_record_does_not_count() -> None:
    fence = Fence()
    found = fence.admit(
        [
            claim(0, 1),
            (1, b"a", b"old", 1),
            claim(2, 2, by="two"),
            (3, b"a", b"new", 2),
            (4, b"a", b"late", 1),
            (5, b"b", b"late", 1),
        ]
    )
    assert found == [(b"a", b"old"), (b"a", b"new")]
    assert (fence.epoch, fence.owner, list(fence.stale)) == (2, "two", [b"a", b"b"])


def test_what_is_written_over_is_not_stale_any_more() -> None:
    fence = Fence(2)
    assert fence.admit([(4, b"a", b"late", 1), (5, b"a", None, 2)]) == [(b"a", None)]
    assert not fence.stale


def test_a_claim_that_lies_elsewhere_than_it_says_is_void() -> None:
    """Its writer had not read the record before it; it has noticed, and has written nothing after it."""
    fence = Fence()
    fence.admit([claim(0, 1), claim(1, 2, after=0, by="two"), (2, b"a", b"x", 1)])
    assert (fence.epoch, fence.owner, fence.stale) == (1, "one", {})


def test_of_two_that_claim_the_same_epoch_one_is_the_owner() -> None:
    fence = Fence()
    fence.admit([claim(7, 4, by="one"), claim(8, 4, after=7, by="two")])
    assert fence.owner == "one"


def test_records_tell_the_epoch_when_its_claim_is_compacted_away() -> None:
    fence = Fence()
    assert fence.admit([(3, b"a", b"1", 5), (9, b"b", b"2", 4)]) == [(b"a", b"1")]
    assert list(fence.stale) == [b"b"]


@pytest.mark.parametrize("putting_back", [False, True])
def test_the_claim_that_held_is_compacted_away_by_one_that_failed(putting_back: bool) -> None:
    """An acknowledgement that is lost makes an owner claim twice. The changelog has had one all the same."""
    fence = Fence()
    failed = claim_record(3, 3, "one", putting_back=putting_back)
    assert fence.admit([(9, *failed, 3), (10, b"a", b"1", 3)]) == [(b"a", b"1")]
    assert (fence.epoch, fence.begun) == (3, not putting_back)


def test_what_running_workers_write_into_a_changelog_made_anew_is_no_beginning() -> None:
    fence = Fence()
    fence.admit(
        [(0, b"a", b"1", 3), (1, *claim_record(4, 1, "two", putting_back=True), 4), (2, b"a", b"2", 4)]
    )
    assert (fence.epoch, fence.begun) == (4, False)
    fence.admit([claim(3, 5, by="two")])
    assert (fence.epoch, fence.begun) == (5, True)


def test_a_record_of_a_release_without_epochs_counts() -> None:
    fence = Fence(3)
    assert fence.admit([(3, b"a", b"1", None)]) == [(b"a", b"1")]


def test_an_owner_finds_what_somebody_else_wrote_last() -> None:
    fence = Fence(2)
    between: list[LogRecord] = [
        (4, b"a", b"", 1),
        (5, b"b", b"", 1),
        (6, b"b", b"", 2),
        (7, b"c", b"", None),
        claim(8, 2, after=4, by="two"),  # void
        (9, b"d", b"", 2),
    ]
    assert fence.foreign(between, 2) == [b"a", b"c"]


@pytest.mark.parametrize("newer", [claim(4, 3, by="two"), (4, b"a", b"", 3)])
def test_a_newer_owner_fences(newer: LogRecord) -> None:
    with pytest.raises(Fenced, match="epoch 3"):
        Fence(2).foreign([newer, (5, b"a", b"", 2)], 2)


def test_a_newer_format_is_refused() -> None:
    raw = msgspec.msgpack.encode(Claim(1, 0, "one", FORMAT + 1))
    with pytest.raises(StateTooNew, match=f"format {FORMAT + 1}"):
        Fence().admit([(0, CLAIM, raw, 1)])


def test_the_epoch_travels_in_a_header() -> None:
    assert epoch_of([("x", b"1"), (EPOCH_HEADER, header_of(70_000))]) == 70_000
    assert epoch_of(None) is None
    assert epoch_of([("x", b"1")]) is None
