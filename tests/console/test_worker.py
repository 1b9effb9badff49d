"""What a worker's end is told by: the last line is for a person."""

from __future__ import annotations

import asyncio

import pytest

from console.worker import advice_on, store_error
from streams.secret import Secret
from streams.settings import Settings
from streams.state.errors import StoreUnavailable

FULL = StoreUnavailable("/data/orders-state-0: the disk is full")


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        FULL,
        BaseExceptionGroup("unhandled errors in a TaskGroup", [ValueError(), FULL]),
        caused(asyncio.CancelledError(), ExceptionGroup("two", [FULL])),
    ],
    ids=["itself", "in a group", "what it came from"],
)
def test_what_a_store_said_is_found(error: BaseException) -> None:
    assert store_error(error) is FULL


def test_other_errors_are_none_of_a_store() -> None:
    one, other = RuntimeError("one"), RuntimeError("other")
    one.__cause__, other.__cause__ = other, one
    assert store_error(one) is None


def test_a_hash_key_that_everybody_knows_is_told() -> None:
    assert "hash_key" in advice_on(Settings())[0]
    assert advice_on(Settings(hash_key=Secret("ours"))) == []
