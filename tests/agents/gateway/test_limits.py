"""Who is asking, and how often one may be wrong."""

from __future__ import annotations

import pytest

from agents.gateway.limits import REFUSALS, WINDOW, Refusals, client_of


def test_a_client_may_be_wrong_so_often_in_a_window() -> None:
    now = 0.0
    refusals = Refusals(lambda: now)
    assert [refusals.too_many("a") for _ in range(REFUSALS + 2)] == [False] * REFUSALS + [True] * 2
    assert not refusals.too_many("b")
    now = WINDOW - 0.1
    assert refusals.too_many("a")
    now = WINDOW
    assert not refusals.too_many("a")


def test_a_crowd_of_clients_takes_no_more_room() -> None:
    refusals = Refusals(lambda: 0.0, limit=1)
    assert not refusals.too_many("first")
    for number in range(20_000):
        refusals.too_many(str(number))
    assert len(refusals._counts) == 10_000
    assert not refusals.too_many("first")


@pytest.mark.parametrize(
    ("forwarded", "proxies", "client"),
    [
        ("192.0.2.1", 0, "peer"),  # nobody in front of us: a header is anybody's claim
        ("192.0.2.1", 1, "192.0.2.1"),
        ("203.0.113.9, 192.0.2.1", 1, "192.0.2.1"),
        ("203.0.113.9,192.0.2.1,10.0.0.1", 2, "192.0.2.1"),
        ("192.0.2.1", 2, "peer"),
        ("", 1, "peer"),
        ("a, ", 1, "peer"),
        ("x" * 1000, 1, "x" * 64),
    ],
)
def test_who_is_asking(forwarded: str, proxies: int, client: str) -> None:
    assert client_of("peer", forwarded, proxies) == client
