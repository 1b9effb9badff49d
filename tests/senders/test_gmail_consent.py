"""A mailbox's owner agrees: the code is worth something to whoever has the verifier, and once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from deploy.fakes.google import CLIENT_ID, CLIENT_SECRET, GoogleFake
from senders.gmail_consent import ConsentError, consent_url, redeemed
from senders.settings import GmailSettings
from streams.secret import Secret

REDIRECT = "https://console.example/oauth/google"
VERIFIER = "v" * 64


@pytest.fixture
async def google() -> AsyncIterator[GoogleFake]:
    fake = GoogleFake(owner="maria@gmail.com", redirects=(REDIRECT,))
    await fake.start()
    yield fake
    await fake.stop()


def settings(google: GoogleFake) -> GmailSettings:
    return GmailSettings(
        client_id=CLIENT_ID,
        client_secret=Secret(CLIENT_SECRET),
        auth_url=f"{google.url}/authorize",
        token_url=f"{google.url}/token",
        api_url=google.url,
    )


async def led_to(url: str) -> dict[str, str]:
    """What the redirect address is told."""
    async with aiohttp.ClientSession() as session, session.get(url, allow_redirects=False) as answer:
        assert answer.status == 302, await answer.text()
        there = answer.headers["Location"]
    assert there.startswith(REDIRECT + "?")
    return {name: values[0] for name, values in parse_qs(urlsplit(there).query).items()}


async def agreed(google: GoogleFake, verifier: str = VERIFIER) -> str:
    told = await led_to(consent_url(settings(google), REDIRECT, "the-state", verifier))
    assert told["state"] == "the-state"
    return told["code"]


async def test_the_code_becomes_a_refresh_token_and_the_address_is_the_mailboxs_own(
    google: GoogleFake,
) -> None:
    consent = await redeemed(settings(google), REDIRECT, await agreed(google), VERIFIER)
    assert consent.address == "maria@gmail.com"
    assert google.accounts == {consent.refresh_token.reveal(): "maria@gmail.com"}
    assert consent.refresh_token.reveal() not in repr(consent)


async def test_whoever_has_the_code_alone_gets_nothing_and_nobody_gets_it_twice(google: GoogleFake) -> None:
    code = await agreed(google)
    with pytest.raises(ConsentError, match="invalid_grant"):
        await redeemed(settings(google), REDIRECT, code, "w" * 64)
    code = await agreed(google)
    await redeemed(settings(google), REDIRECT, code, VERIFIER)
    with pytest.raises(ConsentError, match="invalid_grant"):
        await redeemed(settings(google), REDIRECT, code, VERIFIER)
    code = await agreed(google)
    with pytest.raises(ConsentError, match="invalid_grant"):
        await redeemed(settings(google), "https://console.example/elsewhere", code, VERIFIER)


async def test_no_access_is_taken_for_one(google: GoogleFake) -> None:
    google.granted = "openid"
    with pytest.raises(ConsentError, match="not granted"):
        await redeemed(settings(google), REDIRECT, await agreed(google), VERIFIER)
    google.owner = ""
    told = await led_to(consent_url(settings(google), REDIRECT, "s", VERIFIER))
    assert told == {"error": "access_denied", "state": "s"}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, "<html>a proxy's page</html>"), "status 200"),
        ((500, {"error": "<b>secret words</b>"}), "status 500"),
        ((200, {"scope": "https://mail.google.com/", "access_token": "a"}), "no lasting access"),
        ((200, {"scope": "https://mail.google.com/", "access_token": "a", "refresh_token": "r"}), "refused"),
    ],
)
async def test_strange_answers_are_said_in_our_words(
    google: GoogleFake, answer: tuple[int, str | dict[str, str]], words: str
) -> None:
    google.answers.append(answer)
    with pytest.raises(ConsentError, match=words) as refused:
        await redeemed(settings(google), REDIRECT, "code", VERIFIER)
    assert "secret" not in str(refused.value)


async def test_nobody_answers(google: GoogleFake) -> None:
    away = replace(settings(google), token_url="http://127.0.0.1:1/token")
    with pytest.raises(ConsentError, match="no answer"):
        await redeemed(away, REDIRECT, "code", VERIFIER)
