"""When a token is renewed, and by whom. The clock stands still until it is moved."""

from __future__ import annotations

import asyncio

import pytest

from senders.access_tokens import EARLY, LAST, PAUSE, AccessTokens, RevokedError, Token, UnavailableError
from streams.secret import Secret
from tests.senders.gmail import MovedClock

HOUR = 3600_000


class Endpoint:
    """Counts; fails with ``error`` if there is one; answers when ``open``."""

    def __init__(self, clock: MovedClock) -> None:
        self.asked = 0
        self.error: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()
        self._clock = clock

    async def fetch(self) -> Token:
        self.asked += 1
        number = self.asked
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return Token(Secret(f"token {number}"), self._clock.now() + HOUR)


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
async def endpoint(clock: MovedClock) -> Endpoint:
    return Endpoint(clock)


@pytest.fixture
def tokens(endpoint: Endpoint, clock: MovedClock) -> AccessTokens:
    return AccessTokens(endpoint.fetch, clock, timeout=30)


async def test_one_is_kept_and_renewed_before_its_end(
    tokens: AccessTokens, endpoint: Endpoint, clock: MovedClock
) -> None:
    assert (await tokens.get()).reveal() == "token 1"
    clock.moment += HOUR - EARLY - 1
    assert (await tokens.get()).reveal() == "token 1"
    clock.moment += 1
    assert (await tokens.get()).reveal() == "token 2"
    assert endpoint.asked == 2


async def test_one_request_for_all_who_wait(tokens: AccessTokens, endpoint: Endpoint) -> None:
    endpoint.open.clear()
    waiting = [asyncio.ensure_future(tokens.get()) for _ in range(20)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    endpoint.open.set()
    got = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(got[0], asyncio.CancelledError)
    assert {secret.reveal() for secret in got[1:] if isinstance(secret, Secret)} == {"token 1"}
    assert (len(got), endpoint.asked) == (20, 1)


async def test_one_that_is_still_good_is_used_while_nobody_answers(
    tokens: AccessTokens, endpoint: Endpoint, clock: MovedClock
) -> None:
    await tokens.get()
    endpoint.error = UnavailableError("no answer")
    clock.moment += HOUR - EARLY
    for _ in range(3):
        assert (await tokens.get()).reveal() == "token 1"
    assert endpoint.asked == 2, "not asked for each message"
    clock.moment += PAUSE
    assert (await tokens.get()).reveal() == "token 1"
    assert endpoint.asked == 3
    clock.moment += EARLY - LAST - PAUSE
    with pytest.raises(UnavailableError):
        await tokens.get()
    endpoint.error = None
    assert (await tokens.get()).reveal() == "token 5"


async def test_revoked_is_said_to_all(tokens: AccessTokens, endpoint: Endpoint) -> None:
    endpoint.error = RevokedError("gone")
    got = await asyncio.gather(*(tokens.get() for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in got] == [RevokedError] * 3
    assert endpoint.asked == 1


async def test_one_that_was_refused_is_forgotten_but_not_its_successor(
    tokens: AccessTokens, endpoint: Endpoint
) -> None:
    first = await tokens.get()
    tokens.forget(first)
    second = await tokens.get()
    tokens.forget(first)
    assert await tokens.get() is second
    assert endpoint.asked == 2


async def test_no_answer_in_time(endpoint: Endpoint, clock: MovedClock) -> None:
    endpoint.open.clear()
    tokens = AccessTokens(endpoint.fetch, clock, timeout=0.05)
    with pytest.raises(UnavailableError):
        await tokens.get()


async def test_closed_while_somebody_waits(tokens: AccessTokens, endpoint: Endpoint) -> None:
    endpoint.open.clear()
    waiting = asyncio.ensure_future(tokens.get())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tokens.close()
    with pytest.raises(UnavailableError):
        await waiting
    tokens.close()
