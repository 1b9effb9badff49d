"""From our sender to the provider and back: the address that a text carries leads to its own receipts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from deploy.fakes.callbacks import signature
from deploy.fakes.sms import SmsFake
from schemas.records import EventKind, EventStatus
from senders.settings import TwilioSettings
from senders.twilio_sms import TwilioSms
from streams.clock import SystemClock
from streams.domain.messages import Accepted, SmsMessage
from streams.secret import Secret
from tests.agents.gateway.conftest import (
    ACME,
    ANN,
    DEADLINE,
    LINKS,
    OUR_NUMBER,
    PUBLIC,
    RECEIPT,
    REF,
    TEXT,
    TOKEN,
    Spot,
)
from tests.agents.gateway.conftest import signature as library_signature

pytestmark = pytest.mark.embedded


@pytest.fixture
async def provider() -> AsyncIterator[SmsFake]:
    fake = SmsFake(token=TOKEN)
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def sender(provider: SmsFake) -> AsyncIterator[TwilioSms]:
    account = TwilioSettings(
        account_sid=provider.account, token=Secret(provider.token), api_base=provider.url
    )
    made = TwilioSms(account, SystemClock())
    yield made
    await made.close()


def message() -> SmsMessage:
    return SmsMessage(
        delivery_id=REF.delivery_id,
        company="acme",
        to=ANN,
        sender=OUR_NUMBER,
        text="Your order is ready",
        segments=1,
        valid_until=SystemClock().now() + 3_600_000,
        status_url=LINKS.receipts(REF),
    )


async def test_a_receipt_finds_its_delivery(spot: Spot, provider: SmsFake, sender: TwilioSms) -> None:
    async with spot.open(ACME):
        provider.control({"gateway": {"public": PUBLIC, "local": spot.base}})
        accepted = await sender.send(message())
        assert isinstance(accepted, Accepted)
        [entry] = provider.messages
        assert entry["status_callback"].startswith(PUBLIC), "the address, and not where it leads"
        # Late, twice and out of order: what is made of it is the readers'.
        for status in ("sent", "delivered", "sent"):
            answer = await provider.callbacks.receipt(entry, status, NumSegments="2", Price="-0.0100")
            assert (answer.status, answer.tries) == (204, 1)
        events = sorted(await spot.events(), key=lambda event: event.status)
        assert [event.status for event in events] == [EventStatus.DELIVERED, EventStatus.SENT]
        for event in events:
            assert event.provider_id == accepted.provider_id
            assert (event.company, event.delivery_id) == ("acme", REF.delivery_id)
            assert (event.customer_id, event.rule_id) == (REF.customer_id, REF.rule_id)
            assert (event.kind, event.entity_id) == (REF.kind, REF.entity_id)
            assert (event.segments, event.price) == (2, "0.0100")


async def test_the_provider_tells_by_itself(spot: Spot, provider: SmsFake, sender: TwilioSms) -> None:
    async with spot.open(ACME):
        provider.control(
            {"gateway": {"public": PUBLIC, "local": spot.base}, "receipts": ["sent", "undelivered"]}
        )
        await sender.send(message())
        async with asyncio.timeout(DEADLINE):
            while len(found := await spot.events()) < 2:  # noqa: ASYNC110 - on a topic, as others wait
                await asyncio.sleep(0.02)
        assert {event.status for event in found} == {EventStatus.SENT, EventStatus.UNDELIVERED}


async def test_what_we_can_not_take_now_comes_again(spot: Spot, provider: SmsFake, sender: TwilioSms) -> None:
    """The retries are asked for behind ``#``, which is neither sent nor signed."""
    async with spot.open(ACME):
        await sender.send(message())
        [entry] = provider.messages
        provider.callbacks.public, provider.callbacks.local = PUBLIC, "http://127.0.0.1:1"
        assert (await provider.callbacks.receipt(entry, "sent")).tries == 4, "nobody listens there"
        provider.callbacks.local, provider.callbacks.token = spot.base, "another"
        refused = await provider.callbacks.receipt(entry, "sent")
        assert (refused.status, refused.tries) == (403, 4)
        assert await spot.events() == []
        provider.callbacks.token = TOKEN
        assert (await provider.callbacks.receipt(entry, "sent")).status == 204
        assert len(await spot.events()) == 1


async def test_a_stop_is_texted_back(spot: Spot, provider: SmsFake) -> None:
    async with spot.open(ACME):
        provider.control({"gateway": {"public": PUBLIC, "local": spot.base}})
        url = PUBLIC + TEXT + "#rc=3&rp=all"
        wish = {"text": {"url": url, "sender": ANN, "to": OUR_NUMBER, "body": "Stop, proszę!"}}
        async with spot.client.post(provider.url + "/_control", json=wish) as answer:
            said = await answer.json()
        assert said["status"] == 200
        [event] = await spot.events()
        assert (event.event, event.status, event.provider_id) == (
            EventKind.TEXT,
            EventStatus.STOP,
            said["sid"],
        )
        assert await spot.is_blocked(ANN)


def test_the_local_provider_signs_as_the_library_does() -> None:
    form = {"b": "ł & +", "A": "", "a": "1"}
    assert signature(TOKEN, PUBLIC + RECEIPT, form) == library_signature(RECEIPT, form)
