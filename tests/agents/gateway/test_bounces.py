"""Bounce mails handed in: what is believed of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.gateway.process import Account, take_bounces
from schemas.records import Channel, EventKind, EventStatus
from streams.domain.links import Links
from streams.settings import SettingsError
from tests.agents.gateway.conftest import ACME, ANN, LINKS, PUBLIC, REF, Spot
from tests.senders import dsn_samples as samples

pytestmark = pytest.mark.embedded

LINK = LINKS.unsubscribe(REF)


async def test_a_hard_bounce_of_our_mail_blocks_its_address(spot: Spot) -> None:
    await spot.publish(ACME)
    # The report names another recipient: what counts is the address in our link.
    mail = samples.as_bytes(samples.POSTFIX, LINK).replace(b"rfc822;ann@", b"rfc822;boss@")
    assert await take_bounces(spot.settings, [mail]) == Account(bounces=1, blocked=1, others=0)
    (event,) = await spot.events()
    assert (event.event, event.status, event.code) == (EventKind.BOUNCE, EventStatus.HARD, "5.1.1")
    assert (event.customer_id, event.delivery_id, event.rule_id) == ("ann", REF.delivery_id, "ready")
    assert event.happened_at == 1775556003000
    assert event.received_at > event.happened_at
    assert await spot.is_blocked("ann@mail.example", Channel.EMAIL)
    assert not await spot.is_blocked("boss@mail.example", Channel.EMAIL)
    assert not await spot.is_blocked(ANN)


async def test_a_whole_mailbox(spot: Spot) -> None:
    await spot.publish(ACME)
    names = ("POSTFIX", "POSTFIX_HEADERS", "EXIM", "EXIM_LETTER", "EXCHANGE", "GMAIL", "POSTFIX_FULL")
    mails = [samples.as_bytes(getattr(samples, name), LINK) for name in names]
    mails += [samples.as_bytes(samples.OUT_OF_OFFICE), samples.as_bytes(samples.POSTFIX_DELAYED), b""]
    account = await take_bounces(spot.settings, mails)
    assert account == Account(bounces=7, blocked=6, others=3)
    # Postfix twice and Gmail said the same, so did Exim's letter: one event.
    found = sorted((event.status, event.code) for event in await spot.events())
    assert found == [("hard", "5.0.0"), ("hard", "5.1.1"), ("hard", "5.1.10"), ("soft", "5.2.2")]


async def test_soft_bounces_block_nothing(spot: Spot) -> None:
    await spot.publish(ACME)
    for sample in (samples.POSTFIX_FULL, samples.POSTFIX_EXPIRED):
        account = await take_bounces(spot.settings, [samples.as_bytes(sample, LINK)])
        assert account == Account(bounces=1, blocked=0, others=0)
    assert await spot.records("suppressions") == []


async def test_what_is_not_proven_to_be_ours_blocks_nothing(spot: Spot) -> None:
    """Anybody can write to the address of our bounces."""
    await spot.publish(ACME)
    forged = Links(PUBLIC, [b"guessed"]).unsubscribe(REF)
    account = await take_bounces(spot.settings, [samples.as_bytes(samples.POSTFIX, forged)])
    assert account == Account(bounces=1, blocked=0, others=0)
    (event,) = await spot.events()
    assert (event.company, event.delivery_id) == ("acme", "0123456789abcdef" * 2)
    assert (event.customer_id, event.address) == ("", "ann@mail.example")
    assert await spot.records("suppressions") == []


async def test_bounces_of_others_mail_are_not_taken(spot: Spot) -> None:
    await spot.publish(ACME)
    mail = samples.as_bytes(samples.POSTFIX, "https://news.example/out")
    for other in (
        mail.replace(b"@carillon.example>", b"@news.example>"),
        mail.replace(b"From: Acme <shop@acme.example>", b"From: Acme <shop@other.example>"),
    ):
        assert await take_bounces(spot.settings, [other]) == Account(bounces=0, blocked=0, others=1)
    assert await spot.events() == []


async def test_without_a_public_address_it_says_what_is_missing(spot: Spot) -> None:
    with pytest.raises(SettingsError, match="public_url"):
        await take_bounces(replace(spot.settings, public_url=""), [b""])
    with pytest.raises(SettingsError, match=r"no-such\..*carillon topics create"):
        await take_bounces(replace(spot.settings, topic_prefix="no-such."), [b""])
