"""Bounces in connected mailboxes: read by Gmail's API, each once, whatever happens to the others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from agents.gateway.process import Account, take_mailboxes
from deploy.fakes.google import CLIENT_ID, CLIENT_SECRET, GoogleFake
from schemas.records import Channel, EventStatus, Mailbox
from streams.kafka.producer import BatchProducer
from streams.secret import Secret
from streams.settings import Settings, SettingsError
from tests.agents.gateway.conftest import ACME, LINKS, REF, Spot
from tests.senders import dsn_samples as samples

pytestmark = pytest.mark.embedded

LINK = LINKS.unsubscribe(REF)
GMAIL = samples.as_bytes(samples.GMAIL, LINK)
FULL = samples.as_bytes(samples.POSTFIX_FULL, LINK)
AWAY = samples.as_bytes(samples.OUT_OF_OFFICE)


def box(name: str, **changes: object) -> Mailbox:
    fields: dict[str, object] = {"address": f"{name}@gmail.com", "secret_ref": f"env:BOX_{name.upper()}"}
    return Mailbox(id=name, company="acme", version=1, **(fields | changes))  # type: ignore[arg-type]  # a test's own


@pytest.fixture
async def google(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[GoogleFake]:
    fake = GoogleFake(accounts={"1//one": "one@gmail.com", "1//two": "two@gmail.com"}, page=2)
    for name in ("one", "two"):
        secret = {"company": "acme", "refresh_token": f"1//{name}"}
        monkeypatch.setenv(f"BOX_{name.upper()}", json.dumps(secret))
    await fake.start()
    yield fake
    await fake.stop()


def connected(settings: Settings, google: GoogleFake) -> Settings:
    return replace(
        settings,
        gmail_client=CLIENT_ID,
        gmail_client_secret=Secret(CLIENT_SECRET),
        gmail_token_url=google.url + "/token",
        gmail_api=google.url,
    )


async def published(spot: Spot, *boxes: Mailbox) -> None:
    await spot.publish(ACME)
    producer = BatchProducer(spot.settings.broker, {}, partitions=lambda _: 1)
    await producer.start()
    records = [(f"acme/{one.id}".encode(), spot.codec.encode(one)) for one in boxes]
    await producer.send(spot.settings.topic_prefix + "mailboxes", records)
    await producer.stop()


async def test_each_bounce_is_taken_down_once(spot: Spot, google: GoogleFake) -> None:
    settings = connected(spot.settings, google)
    await published(spot, box("one"), box("two"))
    google.inbox = {"one@gmail.com": [AWAY, FULL, GMAIL, AWAY, AWAY], "two@gmail.com": [FULL]}
    assert await take_mailboxes(settings) == Account(bounces=3, blocked=1, others=3)
    assert {event.status for event in await spot.events()} == {EventStatus.HARD, EventStatus.SOFT}
    assert {event.customer_id for event in await spot.events()} == {"ann"}
    assert await spot.is_blocked("ann@mail.example", Channel.EMAIL)
    before = await spot.records("suppressions")
    assert await take_mailboxes(settings) == Account(bounces=0, blocked=0, others=0)
    assert await spot.records("suppressions") == before, "a block that was lifted meanwhile stays lifted"
    google.inbox["two@gmail.com"].append(GMAIL)
    assert await take_mailboxes(settings) == Account(bounces=1, blocked=1, others=0)


async def test_a_mailbox_that_can_t_be_read_keeps_none_of_the_others(
    spot: Spot, google: GoogleFake, caplog: pytest.LogCaptureFixture
) -> None:
    settings = connected(spot.settings, google)
    strange = [
        box("a_gone", secret_ref="env:NOWHERE"),
        box("b_other", connected=False),
        box("c_none", secret_ref=""),
    ]
    await published(spot, *strange, box("one"), box("two"))
    google.revoke("1//one")
    google.inbox = {"two@gmail.com": [GMAIL]}
    assert await take_mailboxes(settings) == Account(bounces=1, blocked=1, others=0)
    assert caplog.messages == [
        "mailbox a_gone of acme is not read: there is no such secret in this worker",
        "mailbox one of acme is not read: its access was revoked or has ended (invalid_grant)",
    ]
    assert "1//" not in caplog.text


async def test_what_is_not_taken_down_is_read_again(
    spot: Spot, google: GoogleFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The label comes after the brokers have it."""
    settings = connected(spot.settings, google)
    await published(spot, box("one"))
    google.inbox = {"one@gmail.com": [GMAIL]}

    async def refuse(*_: object) -> None:
        raise RuntimeError("away")

    with monkeypatch.context() as patch:
        patch.setattr("agents.gateway.post.Post.take", refuse)
        with pytest.raises(RuntimeError):
            await take_mailboxes(settings)
    assert google.labelled == set()
    assert await take_mailboxes(settings) == Account(bounces=1, blocked=1, others=0)


@pytest.mark.parametrize(
    "answer", [(500, "no JSON"), (200, "no JSON"), (200, "[]"), (403, {"error": {}}), (200, {"messages": 3})]
)
async def test_an_api_that_is_not_well(
    spot: Spot,
    google: GoogleFake,
    answer: tuple[int, Mapping[str, Any] | str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = connected(spot.settings, google)
    await published(spot, box("one"), box("two"))
    google.inbox = {"two@gmail.com": [GMAIL]}
    google.searches = [answer]
    assert await take_mailboxes(settings) == Account(bounces=1, blocked=1, others=0)
    said = [line for line in caplog.messages if line.startswith("mailbox one of acme is not read: ")]
    assert len(said) == (answer != (200, {"messages": 3}))


def test_without_a_client_there_is_nothing_to_read_with(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="gmail_client: needed"):
        asyncio.run(take_mailboxes(settings))
