"""The gateway over HTTP: what it takes, what it refuses, and what lies on the topics afterwards."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from xml.etree import ElementTree

import aiohttp
import msgspec
import pytest

from agents.gateway.directory import Directory, GatewayCatalog
from agents.gateway.limits import REFUSALS
from agents.gateway.metrics import GatewayMetrics
from agents.gateway.post import Post
from agents.gateway.server import LARGEST, Gateway, Parts
from schemas.codec import Codec
from schemas.records import Channel, EventKind, EventStatus, ProviderEvent, Suppression
from schemas.registry import EmbeddedRegistry
from streams.domain.ids import customer_key, suppression_key
from streams.domain.links import Links
from streams.kafka.embedded import EmbeddedBroker
from streams.kafka.partitioner import partition_for
from streams.kafka.producer import BatchProducer
from streams.secret import Secret
from streams.settings import Settings
from tests.agents.gateway.conftest import (
    ACME,
    ANN,
    KEY,
    LINKS,
    OUR_NUMBER,
    PARTITIONS,
    PUBLIC,
    RECEIPT,
    REF,
    SID,
    TEXT,
    UNSUBSCRIBE,
    Spot,
    signature,
)

pytestmark = pytest.mark.embedded

DELIVERED = {"MessageSid": SID, "MessageStatus": "delivered", "To": ANN, "ErrorMessage": "", "From": " +1 "}
STOP = {"MessageSid": SID, "From": ANN, "To": OUR_NUMBER, "Body": "Stop."}


def other(sid: int) -> str:
    return f"SM{sid:032x}"


def answer_in(xml: str) -> str:
    return "".join(ElementTree.fromstring(xml).itertext())


# --- receipts


async def test_a_receipt_is_on_the_topic_when_it_is_answered(spot: Spot) -> None:
    async with spot.open(ACME):
        form = {**DELIVERED, "NumSegments": "2", "Price": "-0.0075", "PriceUnit": "USD"}
        assert await spot.twilio(RECEIPT, form) == (204, "")
        (record,) = await spot.records("provider-events")
        key = customer_key("acme", "ann")
        assert record.key == key
        assert record.partition == partition_for(key, PARTITIONS)
        event = spot.codec.decode(ProviderEvent, record.value)
        assert event == ProviderEvent(
            event=EventKind.RECEIPT,
            status=EventStatus.DELIVERED,
            event_id=f"twilio:{SID}:delivered",
            company="acme",
            channel=Channel.SMS,
            kind="order",
            entity_id="R-1",
            customer_id="ann",
            rule_id="ready",
            slot_event_id="evt-1",
            delivery_id=REF.delivery_id,
            provider="twilio",
            provider_id=SID,
            segments=2,
            price="0.0075",
            currency="USD",
            happened_at=event.received_at,
            received_at=event.received_at,
        )
        assert await spot.records("suppressions") == []


async def test_a_number_that_is_bad_for_good_is_blocked(spot: Spot) -> None:
    async with spot.open(ACME):
        form = {**DELIVERED, "MessageStatus": "undelivered", "ErrorCode": "30005"}
        assert (await spot.twilio(RECEIPT, form))[0] == 204
        assert await spot.is_blocked(ANN)
        (event,) = await spot.events()
        assert (event.status, event.code) == (EventStatus.UNDELIVERED, "30005")
        form = {**DELIVERED, "MessageStatus": "undelivered", "ErrorCode": "30003", "To": "+48502222333"}
        assert (await spot.twilio(RECEIPT, {**form, "MessageSid": other(2)}))[0] == 204
        assert not await spot.is_blocked("+48502222333")


async def test_repeats_are_answered_and_written_once(spot: Spot) -> None:
    async with spot.open(ACME):
        for _ in range(3):
            assert (await spot.twilio(RECEIPT, DELIVERED))[0] == 204
        assert (await spot.twilio(RECEIPT, {**DELIVERED, "MessageStatus": "sent"}))[0] == 204
        assert sorted(event.status for event in await spot.events()) == ["delivered", "sent"]
        metrics = (await spot.look("/metrics"))[1]
        assert 'carillon_provider_events_total{event="receipt.delivered"} 1.0' in metrics
        assert "carillon_gateway_repeats_total 2.0" in metrics
        assert 'carillon_gateway_requests_total{route="receipt",status="204"} 4.0' in metrics


async def test_repeats_that_reach_another_gateway_have_the_same_name(spot: Spot) -> None:
    for _ in range(2):
        async with spot.open(ACME):
            assert (await spot.twilio(RECEIPT, DELIVERED))[0] == 204
    assert [event.event_id for event in await spot.events()] == [f"twilio:{SID}:delivered"] * 2


async def test_a_status_that_is_none_of_ours_is_taken_for_nothing(spot: Spot) -> None:
    async with spot.open(ACME):
        assert (await spot.twilio(RECEIPT, {**DELIVERED, "MessageStatus": "receiving"}))[0] == 204
        assert (await spot.twilio(RECEIPT, {**DELIVERED, "MessageSid": "x"}))[0] == 400
        assert await spot.events() == []


async def test_what_is_not_genuine_is_refused(spot: Spot) -> None:
    async with spot.open(ACME):
        good = {"X-Twilio-Signature": signature(RECEIPT, DELIVERED)}
        assert (await spot.post(RECEIPT, DELIVERED))[0] == 403
        assert (await spot.post(RECEIPT, {**DELIVERED, "MessageStatus": "failed"}, good))[0] == 403
        assert (await spot.post(RECEIPT + "?x=1", DELIVERED, good))[0] == 403
        assert (await spot.post(TEXT, STOP))[0] == 403
        # Signed for the address that it was really sent to, not for the public one.
        inner = {"X-Twilio-Signature": signature(RECEIPT, DELIVERED, public="https://127.0.0.1")}
        assert (await spot.post(RECEIPT, DELIVERED, inner))[0] == 403
        # Genuine, but the token is for something else, or somebody else's.
        assert (await spot.twilio(UNSUBSCRIBE.replace("unsubscribe", "sms/status"), DELIVERED))[0] == 404
        foreign = Links(PUBLIC, [b"another key"]).receipts(REF).removeprefix(PUBLIC)
        assert (await spot.twilio(foreign, DELIVERED))[0] == 404
        assert (await spot.get(RECEIPT))[0] == 405
        assert (await spot.get("/"))[0] == 404
        for path in ("/metrics", "/ready", "/live"):  # the world's listener has none of these
            assert (await spot.get(path))[0] == 404
        assert await spot.events() == []


async def test_twilio_signs_with_or_without_the_port_and_the_query_as_it_stands(spot: Spot) -> None:
    async with spot.open(ACME):
        path = RECEIPT + "?b=2&a=%C5%82&a=1"
        assert (await spot.twilio(path, DELIVERED))[0] == 204
        sign = signature(RECEIPT, DELIVERED, public=PUBLIC.replace(".example", ".example:443"))
        assert (await spot.post(RECEIPT, DELIVERED, {"X-Twilio-Signature": sign}))[0] == 204


async def test_links_of_the_key_before_are_good(spot: Spot) -> None:
    spot.settings = _changed(spot, link_key=Secret("a new key"), link_key_before=Secret(KEY))
    async with spot.open(ACME):
        assert (await spot.twilio(RECEIPT, DELIVERED))[0] == 204
        assert (await spot.get(UNSUBSCRIBE))[0] == 200


# --- texts


async def test_stop_blocks_and_start_frees(spot: Spot) -> None:
    async with spot.open(ACME):
        code, xml = await spot.twilio(TEXT, STOP)
        assert (code, answer_in(xml)) == (200, "")  # the provider answers by itself
        assert await spot.is_blocked(ANN)
        (record,) = await spot.records("provider-events")
        event = spot.codec.decode(ProviderEvent, record.value)
        assert (event.event, event.status, event.address) == (EventKind.TEXT, EventStatus.STOP, ANN)
        assert (event.company, event.customer_id, event.provider_id) == ("acme", "", SID)
        assert record.key == suppression_key("acme", "sms", ANN)
        (kept,) = await spot.records("suppressions")
        suppression = spot.codec.decode(Suppression, kept.value)
        assert (suppression.reason, suppression.version) == ("stop", event.received_at)
        assert (await spot.twilio(TEXT, {**STOP, "MessageSid": other(2), "Body": "start"}))[0] == 200
        assert not await spot.is_blocked(ANN)
        # A STOP that the provider posts again is not a new one.
        assert (await spot.twilio(TEXT, STOP))[0] == 200
        assert not await spot.is_blocked(ANN)


@pytest.mark.parametrize("reason", ["staff", "invalid_recipient", "bounce+stop"])
async def test_start_does_not_lift_what_others_have_blocked(spot: Spot, reason: str) -> None:
    others = set(reason.split("+")) - {"stop"}
    await spot.block(ANN, reason)
    async with spot.open(ACME):
        assert (await spot.twilio(TEXT, {**STOP, "Body": "START"}))[0] == 200
        assert await spot.is_blocked(ANN)
        assert set((await spot.newest_block()).reason.split("+")) == others
    async with spot.open(ACME):  # one that has read what the other has written
        assert (await spot.twilio(TEXT, {**STOP, "MessageSid": other(2)}))[0] == 200
        kept = (await spot.newest_block()).reason
        assert set(kept.split("+")) == others | {"stop"}, "neither is forgotten over the other"
    async with spot.open(ACME):
        assert (await spot.twilio(TEXT, {**STOP, "MessageSid": other(3), "Body": "START"}))[0] == 200
        assert set((await spot.newest_block()).reason.split("+")) == others
        assert await spot.is_blocked(ANN)


@pytest.mark.parametrize("reason", ["stop", "opted_out", "unsubscribe"])
async def test_start_lifts_what_the_customer_did(spot: Spot, reason: str) -> None:
    await spot.block(ANN, reason)
    async with spot.open(ACME):
        assert await spot.is_blocked(ANN)
        assert (await spot.twilio(TEXT, {**STOP, "Body": "START"}))[0] == 200
        assert not await spot.is_blocked(ANN)


async def test_a_company_s_own_help(spot: Spot) -> None:
    spot.settings = _changed(spot, text_answers="carillon")
    async with spot.open(msgspec.structs.replace(ACME, sms_help="Call <us>")):
        code, xml = await spot.twilio(TEXT, {**STOP, "Body": "pomoc"})
        assert (code, answer_in(xml)) == (200, "Call <us>")


async def test_of_any_other_text_nothing_is_kept(spot: Spot) -> None:
    async with spot.open(ACME):
        assert (await spot.twilio(TEXT, {**STOP, "Body": "my secret wish"}))[0] == 200
        (record,) = await spot.records("provider-events")
        assert b"secret" not in record.value
        assert spot.codec.decode(ProviderEvent, record.value).status is EventStatus.OTHER
        assert await spot.records("suppressions") == []


@pytest.mark.parametrize(
    ("body", "begins"),
    [("STOP", "Acme & <Sons>: nie wyślemy"), ("HELP", "Acme & <Sons> pisze"), ("START", "Acme"), ("hm", "")],
)
async def test_answers_of_our_own_go_out_past_the_block(spot: Spot, body: str, begins: str) -> None:
    spot.settings = _changed(spot, text_answers="carillon")
    async with spot.open(ACME):
        code, xml = await spot.twilio(TEXT, {**STOP, "Body": body})
        assert code == 200
        assert answer_in(xml).startswith(begins)
        assert bool(answer_in(xml)) == bool(begins)
        assert (await spot.twilio(TEXT, {**STOP, "Body": body}))[1] == xml  # our first answer was lost


async def test_a_text_is_for_all_who_share_the_number(spot: Spot) -> None:
    service = "MG" + "1" * 32
    beta = msgspec.structs.replace(ACME, id="beta")
    pool = msgspec.structs.replace(ACME, id="pool", sms_sender=service)
    else_ = msgspec.structs.replace(ACME, id="else", sms_sender="+48599999999")
    async with spot.open(ACME, beta, pool, else_):
        assert (await spot.twilio(TEXT, {**STOP, "MessagingServiceSid": service}))[0] == 200
        blocked = await spot.blocked()
        names = ("acme", "beta", "pool", "else")
        assert [blocked.is_suppressed(name, Channel.SMS, ANN) for name in names] == [True, True, True, False]
        assert len({event.event_id for event in await spot.events()}) == 3


async def test_a_company_that_is_set_up_later_is_found(spot: Spot) -> None:
    async with spot.open(ACME):
        stray = {**STOP, "To": "+48597777777"}
        assert (await spot.twilio(TEXT, stray))[0] == 200
        assert "carillon_gateway_strays_total 1.0" in (await spot.look("/metrics"))[1]
        await spot.publish(msgspec.structs.replace(ACME, id="later", sms_sender="+48597777777"))
        async with asyncio.timeout(60):
            while not await spot.is_blocked(ANN, company="later"):
                assert (await spot.twilio(TEXT, stray))[0] == 200
        assert not await spot.is_blocked(ANN)


# --- unsubscribing


async def test_looking_at_the_page_changes_nothing_and_the_button_does(spot: Spot) -> None:
    async with spot.open(ACME):
        for _ in range(2):
            code, html = await spot.get(UNSUBSCRIBE, **{"Accept-Language": "de-CH, en;q=0.5"})
            assert code == 200
        assert '<html lang="de">' in html
        assert "Acme &amp; &lt;Sons&gt;" in html
        assert "mail.example" not in html
        async with spot.client.head(spot.base + UNSUBSCRIBE) as answer:
            assert answer.status == 200
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert answer.headers["Cache-Control"] == "no-store"
        assert await spot.events() == []
        code, html = await spot.post(UNSUBSCRIBE, {"confirm": "page"})
        assert code == 200
        assert '<html lang="pl">' in html  # no wish of the browser: the company's language
        assert await spot.is_blocked("ann@mail.example", Channel.EMAIL)
        assert await spot.is_blocked("Ann@Mail.example", Channel.EMAIL)
        assert not await spot.is_blocked("ann@mail.example", Channel.SMS)
        (event,) = await spot.events()
        assert (event.event, event.status) == (EventKind.UNSUBSCRIBE, EventStatus.PAGE)
        assert (event.customer_id, event.delivery_id) == ("ann", REF.delivery_id)


@pytest.mark.parametrize("multipart", [False, True])
async def test_one_click(spot: Spot, multipart: bool) -> None:
    """RFC 8058: either encoding, no cookies, no redirect."""
    async with spot.open(ACME):
        with aiohttp_form(multipart) as data:
            async with spot.client.post(spot.base + UNSUBSCRIBE, data=data, allow_redirects=False) as answer:
                assert answer.status == 200
                assert "Set-Cookie" not in answer.headers
        (event,) = await spot.events()
        assert event.status is EventStatus.ONE_CLICK
        assert await spot.is_blocked("ann@mail.example", Channel.EMAIL)


async def test_other_posts_unsubscribe_nobody(spot: Spot) -> None:
    async with spot.open(ACME):
        for form in ({}, {"List-Unsubscribe": "Two-Clicks"}, {"confirm": "yes"}):
            assert (await spot.post(UNSUBSCRIBE, form))[0] == 400
        flipped = UNSUBSCRIBE[:-1] + ("A" if UNSUBSCRIBE[-1] != "A" else "B")
        code, html = await spot.post(flipped, {"confirm": "page"})
        assert code == 404
        assert "<h1>" in html
        assert (await spot.get(flipped))[0] == 404
        receipt = RECEIPT.replace("sms/status", "unsubscribe")
        assert (await spot.post(receipt, {"List-Unsubscribe": "One-Click"}))[0] == 404
        assert await spot.events() == []
        assert await spot.records("suppressions") == []


async def test_a_message_whose_link_has_no_address_blocks_nothing(spot: Spot) -> None:
    async with spot.open(ACME):
        bare = type(REF)(**{name: getattr(REF, name) for name in type(REF).__slots__} | {"address": ""})
        path = LINKS.unsubscribe(bare).removeprefix(PUBLIC)
        assert (await spot.post(path, {"confirm": "page"}))[0] == 200
        assert len(await spot.events()) == 1
        assert await spot.records("suppressions") == []


# --- limits, faults, logs


async def test_too_much_is_refused(spot: Spot) -> None:
    async with spot.open(ACME):
        large = {**STOP, "Body": "x" * LARGEST}
        assert (await spot.twilio(TEXT, large))[0] == 413
        assert (await spot.post(UNSUBSCRIBE, {"confirm": "x" * LARGEST}))[0] == 413
        json = {"Content-Type": "application/json"}
        async with spot.client.post(spot.base + TEXT, data=b"{}", headers=json) as answer:
            assert answer.status == 415
        odd = {"Content-Type": "application/x-www-form-urlencoded; charset=klingon"}
        async with spot.client.post(spot.base + TEXT, data=b"a=%ff", headers=odd) as answer:
            assert answer.status == 400


async def test_who_guesses_is_told_nothing_and_holds_up_nobody(spot: Spot) -> None:
    spot.settings = _changed(spot, gateway_proxies=1)
    async with spot.open(ACME):
        path, guesser = "/v1/unsubscribe/AQ", {"X-Forwarded-For": "192.0.2.1, 198.51.100.7"}
        codes = [(await spot.post(path, {}, guesser))[0] for _ in range(REFUSALS + 2)]
        assert codes == [404] * REFUSALS + [429] * 2
        # The same proxy's other clients, and what is genuine from the same one.
        assert (await spot.post(path, {}, {"X-Forwarded-For": "198.51.100.7, 192.0.2.1"}))[0] == 404
        signed = {"X-Twilio-Signature": signature(RECEIPT, DELIVERED)}
        assert (await spot.post(RECEIPT, DELIVERED, guesser | signed))[0] == 204


async def test_what_the_brokers_do_not_take_is_not_answered_with_2xx(settings_of_a_mortal: Spot) -> None:
    spot = settings_of_a_mortal
    async with spot.open(ACME, produce_within=300):
        assert (await spot.twilio(RECEIPT, DELIVERED))[0] == 204
        MORTAL[0].stop()
        for path, form in ((RECEIPT, {**DELIVERED, "MessageSid": other(2)}), (TEXT, STOP)):
            async with spot.client.post(
                spot.base + path, data=form, headers={"X-Twilio-Signature": signature(path, form)}
            ) as answer:
                assert answer.status == 503
                assert answer.headers["Retry-After"]
        code, html = await spot.post(UNSUBSCRIBE, {"confirm": "page"})
        assert code == 503
        assert "<h1>" in html
        assert (await spot.look("/live"))[0] == 200
        # What was taken before is still known.
        assert (await spot.twilio(RECEIPT, DELIVERED))[0] == 204


async def test_it_is_not_ready_before_it_knows_the_companies(spot: Spot) -> None:
    spot.settings = _changed(spot, broker=spot.settings.broker)
    async with spot.open(ACME, wait=False):
        codes = [(await spot.look("/ready"))[0], (await spot.twilio(TEXT, STOP))[0]]
        assert set(codes) <= {200, 503}
        if codes[1] == 200:  # it had read them by then
            assert await spot.is_blocked(ANN)
        assert (await spot.look("/live"))[0] == 200


async def test_no_log_line_has_an_address_or_a_key(spot: Spot, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with spot.open(ACME):
        await spot.twilio(TEXT, STOP)
        await spot.twilio(TEXT, {**STOP, "To": "+48597777777"})
        await spot.post(TEXT, STOP)
        await spot.twilio(RECEIPT, DELIVERED)
        await spot.post(UNSUBSCRIBE, {"confirm": "page"})
        await spot.get(UNSUBSCRIBE + "x")
    ours = [line for line in caplog.messages if "Using selector" not in line]
    assert ours
    for line in ours:
        for secret in (ANN, ANN[1:], "mail.example", KEY, RECEIPT[-20:], UNSUBSCRIBE[-20:], "48597777777"):
            assert secret not in line


class BrokenClock:
    """Stands for a flaw of ours: an error that quotes what it was given."""

    def now(self) -> int:
        raise ValueError(f"no moment for {ANN}")


async def test_a_flaw_of_ours_asks_for_the_request_again_and_says_where_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    producer = BatchProducer("127.0.0.1:1", {}, partitions=lambda _: 1)
    post = Post(producer, Codec(EmbeddedRegistry()), "")
    metrics = GatewayMetrics()
    gateway = Gateway(
        Parts(
            post=post,
            links=LINKS,
            hooks=None,
            directory=Directory(GatewayCatalog()),
            clock=BrokenClock(),
            metrics=metrics,
            not_ready=list,
            not_live=list,
            on_fatal=lambda: None,
        )
    )
    port, _ = await gateway.start("127.0.0.1", 0, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{port}{UNSUBSCRIBE}"
    async with aiohttp.ClientSession() as session, session.post(url, data={"confirm": "page"}) as answer:
        assert answer.status == 503
        assert answer.headers["Retry-After"]
    await gateway.stop()
    [line] = [line for line in caplog.messages if "failed" in line]
    assert line.startswith("a request for unsubscribe failed: ValueError in now (test_server.py:")
    assert "called in _unsubscribe (server.py:" in line
    assert ANN not in caplog.text
    assert UNSUBSCRIBE[-20:] not in caplog.text


# --- helpers


MORTAL: list[EmbeddedBroker] = []


@pytest.fixture
def settings_of_a_mortal(spot: Spot) -> Iterator[Spot]:
    """On a broker that the test may stop."""
    prefix = spot.settings.topic_prefix
    counts = {"companies": 1, "suppressions": 1, "provider-events": PARTITIONS}
    with EmbeddedBroker({prefix + name: count for name, count in counts.items()}) as broker:
        MORTAL[:] = [broker]
        spot.settings = _changed(spot, broker=broker.bootstrap)
        yield spot


@contextmanager
def aiohttp_form(multipart: bool) -> Iterator[object]:
    if not multipart:
        yield {"List-Unsubscribe": "One-Click"}
        return
    with aiohttp.MultipartWriter("form-data") as writer:
        writer.append("One-Click").set_content_disposition("form-data", name="List-Unsubscribe")
        yield writer


def _changed(spot: Spot, **changes: object) -> Settings:
    return replace(spot.settings, **changes)  # type: ignore[arg-type]  # a wrong field fails at once
