"""Receipts of an SMS provider that a file describes, over HTTP: from the text that it took to the topic."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from agents.accounts import http_sms_of
from agents.gateway.process import listening
from deploy.fakes.http_sms import WITH_RECEIPTS, HttpSmsFake, receipt
from schemas.records import EventStatus
from senders.http_sms import HttpSms
from streams.domain.messages import Accepted
from streams.secret import Secret
from streams.settings import Settings, SettingsError
from tests.agents.gateway.conftest import ACME, ANN, LINKS, PUBLIC, RECEIPT, REF, SID, Spot
from tests.agents.gateway.test_fuzz import FINE, ODD, ask, drawn
from tests.senders.samples import NOW, StillClock, sms

pytestmark = pytest.mark.embedded

SECRET = "the receipts' secret"


@pytest.fixture
async def fake() -> HttpSmsFake:
    return HttpSmsFake(now=lambda: NOW)


@pytest.fixture
def spot(settings: Settings, tmp_path: Path) -> Spot:
    """With a description of the provider."""
    file = tmp_path / "provider.toml"
    file.write_text(WITH_RECEIPTS.format(url="http://127.0.0.1:1"))
    described = replace(
        settings,
        http_sms=str(file),
        http_sms_token=Secret("local-token"),
        http_sms_receipt_secret=Secret(SECRET),
    )
    return Spot(described)


def entry(**changes: str) -> dict[str, str]:
    return {"sid": "m1", "to": ANN} | changes


async def post(spot: Spot, path: str, body: bytes, headers: dict[str, str]) -> int:
    async with spot.client.post(spot.base + path, data=body, headers=headers) as answer:
        return answer.status


async def test_from_the_text_to_the_topic(spot: Spot, fake: HttpSmsFake) -> None:
    await fake.start()
    account = http_sms_of(spot.settings)
    assert account is not None
    here = replace(account, url=fake.url + "/v2/messages", token=Secret(fake.token))
    sender = HttpSms(here, StillClock())
    try:
        assert isinstance(await sender.send(sms(to=ANN, status_url=LINKS.receipts(REF))), Accepted)
        [kept] = fake.ledger.entries
        async with spot.open(ACME):
            path = kept["callback"].removeprefix(PUBLIC)
            for status in ("SENT", "DELIVRD", "DELIVRD", "ENROUTE"):
                assert await post(spot, path, *receipt(kept, status, SECRET)) == 204
            sent, delivered = await spot.events()
            assert (sent.status, delivered.status) == (EventStatus.SENT, EventStatus.DELIVERED)
            assert (delivered.provider, delivered.provider_id) == ("local", kept["sid"])
            assert (delivered.customer_id, delivered.delivery_id) == ("ann", REF.delivery_id)
            assert not await spot.is_blocked(ANN)
    finally:
        await sender.close()
        await fake.stop()


async def test_a_number_that_is_bad_for_good_is_blocked(spot: Spot) -> None:
    async with spot.open(ACME):
        assert await post(spot, RECEIPT, *receipt(entry(), "UNDELIV", SECRET, "bad_number")) == 204
        assert await spot.is_blocked(ANN)


async def test_what_is_not_signed_is_refused(spot: Spot, caplog: pytest.LogCaptureFixture) -> None:
    body, headers = receipt(entry(), "DELIVRD", "a guess")
    async with spot.open(ACME):
        assert await post(spot, RECEIPT, body, headers) == 403
        assert await post(spot, RECEIPT, body, {}) == 403
        good = receipt(entry(), "DELIVRD", SECRET)
        assert await post(spot, RECEIPT[:-1], *good) == 404, "a token of somebody else's making"
        assert await post(spot, RECEIPT, *receipt(entry(sid=""), "DELIVRD", SECRET)) == 400
        assert await spot.events() == []
    assert SECRET not in caplog.text
    assert ANN not in caplog.text


async def test_both_providers_receipts_have_one_address(spot: Spot) -> None:
    async with spot.open(ACME):
        assert (await spot.twilio(RECEIPT, {"MessageSid": SID, "MessageStatus": "sent"}))[0] == 204
        assert await post(spot, RECEIPT, *receipt(entry(), "DELIVRD", SECRET)) == 204
        assert [event.provider for event in await spot.events()] == ["twilio", "local"]


async def test_a_provider_without_twilio(spot: Spot) -> None:
    spot.settings = replace(spot.settings, sms_token=Secret(""))
    async with spot.open(ACME):
        assert (await spot.twilio(RECEIPT, {"MessageSid": SID, "MessageStatus": "sent"}))[0] == 404
        assert await post(spot, RECEIPT, *receipt(entry(), "DELIVRD", SECRET)) == 204


async def test_what_nobody_signed_changes_nothing(spot: Spot, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with spot.open(ACME):
        for (odd,) in await drawn(60, ODD):
            if not odd.path.startswith("/v1/unsubscribe/"):
                assert await ask(spot, replace(odd, path=RECEIPT)) in FINE, odd
        assert await spot.events() == []
        assert await spot.records("suppressions") == []
    assert not [line for line in caplog.messages if "failed" in line or "Error handling" in line]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"http_sms_receipt_secret": Secret("")}, "receipts.signed needs http_sms_receipt_secret"),
        ({"http_sms": "/none/at/all"}, "No such file"),
    ],
)
async def test_a_description_that_can_not_be_used(spot: Spot, changes: dict[str, object], why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        async with listening(replace(spot.settings, **changes), lambda: None):  # type: ignore[arg-type]  # a test's own
            pass
    with pytest.raises(ValueError, match="receipts need a public_url"):
        http_sms_of(replace(spot.settings, public_url=""))
