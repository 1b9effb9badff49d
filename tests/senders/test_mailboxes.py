"""Connected mailboxes: the real clients against a local Gmail that refuses, hangs and hangs up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from deploy.fakes.google import CLIENT_ID
from deploy.fakes.mail import At, Fault
from deploy.fakes.vault import VaultFake
from schemas.records import Mailbox
from senders.mailboxes import Mailboxes
from senders.settings import GmailSettings, Tls
from senders.smtp_email import SmtpEmail
from streams.domain.messages import Accepted, NotFound, Rejected, RetryAt, Unknown
from streams.domain.reasons import Reason
from streams.secret import Secret
from streams.vault import VaultSettings
from tests.senders.gmail import ACCEPTED, BOX, World, instead, newer, opened
from tests.senders.samples import EMAIL, SMS, email, smtp_settings

REVOKED = "its access was revoked or has ended (invalid_grant)"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened() as made:
        yield made


async def test_it_leaves_by_the_mailbox(world: World) -> None:
    assert await world.send() == ACCEPTED
    [kept] = world.gmail.messages
    assert (kept["user"], kept["from"]) == ("ann@gmail.com", "ann@gmail.com")
    assert "\r\nTo: Ann Smith <ann@example.com>\r\n" in kept["data"]
    assert kept["data"].startswith("From: The Shop <ann@gmail.com>\r\n")
    assert f"\r\nMessage-ID: {EMAIL.message_id}\r\n" in kept["data"]
    assert "DKIM-Signature" not in kept["data"], "Gmail signs for its own domain"
    assert "Reply-To" not in kept["data"]
    assert world.relay.messages == []


async def test_without_a_mailbox_it_leaves_by_the_service(world: World) -> None:
    assert await world.sender.send(email()) == Accepted("smtp", EMAIL.message_id)
    assert (world.google.asked, world.gmail.connections, len(world.relay.messages)) == (0, 0, 1)
    assert isinstance(await world.sender.send(SMS), Rejected)


async def test_connections_and_tokens_are_used_again(world: World) -> None:
    for _ in range(5):
        assert await world.send() == ACCEPTED
    assert (world.google.asked, world.gmail.connections) == (1, 1)


async def test_each_mailbox_has_its_own_login(world: World) -> None:
    other = Mailbox(id="box", company="best", address="bob@best.example", secret_ref="env:BEST", version=1)
    world.connect(other, "refresh-2")
    await asyncio.gather(*(world.send(box) for box in (BOX, other) * 5))
    assert {(kept["user"], kept["from"]) for kept in world.gmail.messages} == {
        ("ann@gmail.com", "ann@gmail.com"),
        ("bob@best.example", "bob@best.example"),
    }
    assert world.google.asked == 2
    assert world.gmail.most_open <= 2 * world.settings.connections


async def test_idle_connections_are_bounded_over_all_mailboxes(world: World) -> None:
    await world.anew(open_mailboxes=2)
    boxes = [
        Mailbox(id=f"box{n}", company="acme", address=f"n{n}@gmail.com", secret_ref=f"env:N{n}", version=1)
        for n in range(6)
    ]
    for box in boxes:
        assert await world.send(world.connect(box, f"refresh-{box.id}")) == ACCEPTED
        await world.gmail.until(lambda fake: fake.open <= 2)
    assert await world.send(boxes[-1]) == ACCEPTED
    assert world.gmail.connections == 6
    assert await world.send(boxes[0]) == ACCEPTED
    assert world.gmail.connections == 7


# --- no access: the service's address steps in, and says so --------------------------------------------


async def test_revoked_access(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "senders.mailboxes")
    world.google.accounts.clear()
    assert await world.send() == instead(REVOKED)
    assert await world.send() == instead(REVOKED)
    assert world.google.asked == 1, "one that was lost is left alone for a while"
    first, _ = world.relay.messages
    assert first["from"] == "shop@example.org"
    assert "\r\nReply-To: ann@gmail.com\r\n" in first["data"]
    assert world.gmail.connections == 0
    assert [record.getMessage() for record in caplog.records] == [
        f"mailbox box of acme is disconnected: {REVOKED}"
    ]

    world.clock.pass_(seconds=world.settings.probe_seconds)
    assert await world.send() == instead(REVOKED)
    assert world.google.asked == 2, "then it is tried again"
    assert len(caplog.records) == 1, "said once"

    world.connect(BOX, "refresh-2")
    world.clock.pass_(seconds=world.settings.probe_seconds)
    assert await world.send() == ACCEPTED
    assert caplog.records[-1].getMessage() == "mailbox box of acme can be used again"


async def test_a_new_version_of_the_mailbox_is_tried_at_once(world: World) -> None:
    world.google.accounts.clear()
    assert await world.send() == instead(REVOKED)
    world.connect(BOX, "refresh-2")
    again = newer()
    assert await world.send(again) == ACCEPTED
    assert await world.send(BOX) == ACCEPTED, "an older version tells nothing new"
    assert world.google.asked == 2


async def test_only_one_message_tries_a_mailbox_that_was_lost(world: World) -> None:
    world.google.accounts.clear()
    assert await world.send() == instead(REVOKED)
    world.clock.pass_(seconds=world.settings.probe_seconds)
    world.google.hold = asyncio.Event()
    probe = asyncio.create_task(world.send())
    others = await asyncio.gather(*(world.send() for _ in range(5)))
    assert others == [instead(REVOKED)] * 5, "nobody waits for the probe"
    world.google.hold.set()
    assert await probe == instead(REVOKED)
    assert world.google.asked == 2


@pytest.mark.parametrize("at", [At.AUTH, At.MAIL])
@pytest.mark.parametrize(
    "reply",
    ["535 5.7.8 Not accepted", "534 5.7.9 Application-specific password required", "530 5.7.0 Log in first"],
)
async def test_the_server_refuses_the_login(world: World, at: At, reply: str) -> None:
    world.gmail.script(at, Fault.REPLY, reply, times=0)
    outcome = await world.send()
    assert isinstance(outcome, Accepted)
    assert (outcome.provider, outcome.sender) == ("smtp", "shop@example.org")
    assert f"refused ({at}: {reply})" in outcome.note
    assert len(world.relay.messages) == 1
    connections = world.gmail.connections
    assert connections == (2 if at is At.AUTH else 1), "once more with a new token, no more"
    await world.send()
    assert world.gmail.connections == connections


async def test_a_token_withdrawn_before_its_end_is_replaced(world: World) -> None:
    assert await world.send() == ACCEPTED
    world.google.expire()
    world.gmail.script(At.IDLE, Fault.CLOSE)
    assert await world.send() == ACCEPTED, "by the connection that stands"
    await world.gmail.until(lambda fake: fake.open == 0)
    assert await world.send() == ACCEPTED
    assert world.google.asked == 2


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"secret_ref": "env:OTHER"}, "there is no such secret in this worker"),
        ({"secret_ref": "file:/nowhere/at/all"}, "there is no such secret in this worker"),
        ({"secret_ref": "file:/etc/hostname"}, 'the secret is not {"company": ..., "refresh_token": ...}'),
        ({"company": "best"}, "the secret belongs to another company"),
        ({"address": "no address"}, "its address can't be written"),
    ],
)
async def test_a_mailbox_that_is_not_set_up_right(world: World, changes: dict[str, str], why: str) -> None:
    assert await world.send(newer(BOX, **changes)) == instead(why)
    assert world.google.asked == 0


async def test_a_mailbox_whose_secret_is_in_vault(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT", "hvs.t")
    fake = VaultFake(
        secrets={"secret/box": {"company": "acme", "refresh_token": "refresh-1"}}, tokens={"hvs.t": ("",)}
    )
    await fake.start()
    settings = replace(world.settings, vault=VaultSettings(fake.url, "env:VAULT"))
    sender = SmtpEmail(smtp_settings(world.relay), world.clock, mailboxes=Mailboxes(settings, world.clock))
    mail = email(mailbox=newer(secret_ref="vault:secret/box"))
    try:
        fake.answers = [(503, {}, "")]
        waits = await sender.send(mail)
        assert isinstance(waits, RetryAt), "it leaves by the mailbox or not at all while nobody knows"
        assert waits.reason == Reason.UNREACHABLE
        assert await sender.send(mail) == ACCEPTED
        fake.secrets["secret/box"] = None
        world.clock.pass_(hours=2)
        assert await sender.send(mail) == instead(
            "Vault has no secret/box in a key/value engine of version 2, or it was deleted"
        )
    finally:
        await sender.close()
        await fake.stop()


async def test_a_worker_that_uses_no_mailboxes(world: World) -> None:
    sender = SmtpEmail(smtp_settings(world.relay), world.clock)
    assert await sender.send(email(mailbox=BOX)) == instead("this worker uses no mailboxes")
    assert isinstance(await sender.inquire(email(mailbox=BOX), 0, 1), Unknown)
    await sender.close()


async def test_a_company_without_another_address_waits(world: World) -> None:
    world.google.accounts.clear()
    outcome = await world.send(from_address="")
    assert isinstance(outcome, RetryAt)
    assert (outcome.reason, outcome.after) == (Reason.NO_SENDER, 900_000)
    assert not outcome.pause_channel
    world.connect(BOX, "refresh-2")
    world.clock.pass_(minutes=15)
    assert await world.send(from_address="") == ACCEPTED


async def test_the_service_refuses_what_should_leave_by_it_instead(world: World) -> None:
    world.google.accounts.clear()
    world.relay.script(At.RCPT, Fault.REPLY, "550 5.1.1 No such user")
    outcome = await world.send()
    assert isinstance(outcome, Rejected)
    assert outcome.detail.endswith(f"{REVOKED}; rcpt: 550 5.1.1 No such user")
    world.relay.script(At.KEPT, Fault.CLOSE)
    outcome = await world.send()
    assert isinstance(outcome, Unknown)
    assert REVOKED in outcome.detail
    assert isinstance(await world.send(to_address="nobody"), Rejected)


# --- no answer: nothing is lost, nothing goes both ways -------------------------------------------------

BEFORE = [At.CONNECT, At.EHLO, At.AUTH, At.MAIL, At.RCPT, At.DATA, At.BODY]


@pytest.mark.parametrize("at", BEFORE)
@pytest.mark.parametrize("fault", [Fault.CLOSE, Fault.RESET, Fault.HANG])
async def test_lost_before_the_final_dot_it_is_tried_again_by_the_mailbox(
    world: World, at: At, fault: Fault
) -> None:
    if fault is Fault.HANG:
        await world.anew(connect_timeout=0.3, command_timeout=0.3)
    world.gmail.script(at, fault)
    outcome = await world.send(text="line of text\n" * (1_000_000 if at is At.BODY else 1))
    assert isinstance(outcome, RetryAt), outcome
    assert (outcome.provider, outcome.reason) == ("gmail", Reason.UNREACHABLE)
    assert not outcome.pause_channel
    assert await world.send() == ACCEPTED
    assert world.relay.messages == [], "the mailbox is not lost"


@pytest.mark.parametrize("at", [At.DOT, At.KEPT])
@pytest.mark.parametrize("fault", [Fault.CLOSE, Fault.RESET, Fault.HANG])
async def test_lost_after_the_final_dot_it_is_unknown_and_goes_no_other_way(
    world: World, at: At, fault: Fault
) -> None:
    await world.anew(final_timeout=0.3)
    world.gmail.script(at, fault)
    outcome = await world.send()
    assert isinstance(outcome, Unknown), outcome
    assert outcome.provider == "gmail"
    assert len(world.gmail.messages) == (at is At.KEPT)
    assert world.relay.messages == []
    found = await world.sender.inquire(email(mailbox=BOX), 0, 1)
    if at is At.KEPT:
        assert found == replace(ACCEPTED, sender="ann@gmail.com")
    else:
        assert found == NotFound("gmail")
    assert world.google.queries == [f"in:sent rfc822msgid:{EMAIL.message_id[1:-1]}"]


async def test_what_may_be_out_and_goes_by_the_service_has_the_same_message_id(world: World) -> None:
    """The mailbox took it, did not say so, and was lost: the one copy more that the policy allows."""
    world.gmail.script(At.KEPT, Fault.CLOSE)
    assert isinstance(await world.send(), Unknown)
    world.google.accounts.clear()
    world.google.expire()
    again = await world.send(newer())
    assert again == instead(REVOKED)
    ids = [
        kept["data"].partition("Message-ID: ")[2].partition("\r\n")[0]
        for fake in (world.gmail, world.relay)
        for kept in fake.messages
    ]
    assert ids == [EMAIL.message_id] * 2


@pytest.mark.parametrize(
    "answer",
    [
        (500, "oops"),
        (503, {"error": "backend"}),
        (200, "no JSON"),
        (429, {"error": "rate_limit"}),
        (403, "<p>proxy"),
        (200, {}),
    ],
)
async def test_a_token_endpoint_that_is_not_well(
    world: World, answer: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # google-auth asks three times, with seconds between them.
    monkeypatch.setattr("google.auth._exponential_backoff.time.sleep", lambda _: None)
    world.google.answers = [answer] * 3
    outcome = await world.send()
    assert isinstance(outcome, RetryAt), outcome
    assert (outcome.provider, outcome.reason, outcome.pause_channel) == ("gmail", Reason.UNREACHABLE, False)
    world.google.answers.clear()
    assert await world.send() == ACCEPTED
    assert world.relay.messages == []


async def test_a_token_endpoint_that_can_not_be_reached_or_does_not_answer(world: World) -> None:
    world.google.hold = asyncio.Event()
    await world.anew(token_timeout=0.2)
    outcome = await world.send()
    assert isinstance(outcome, RetryAt)
    world.google.hold.set()
    world.google.hold = None
    await world.google.stop()
    await world.anew(token_timeout=15.0)
    outcome = await world.send()
    assert isinstance(outcome, RetryAt)
    assert outcome.detail == "token: TransportError"


async def test_our_own_client_is_refused(world: World) -> None:
    await world.anew(client_secret=Secret("wrong"))
    assert await world.send() == instead("no access (invalid_client)")


# --- replies about the message ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "reply", "expected"),
    [
        (
            At.RCPT,
            "550 5.1.1 The email account does not exist",
            Rejected("gmail", Reason.INVALID_RECIPIENT, "", suppress=True),
        ),
        (At.DOT, "552 5.7.0 Blocked: a security issue", Rejected("gmail", Reason.CONTENT)),
        (At.RCPT, "452 4.5.3 Too many recipients", RetryAt("gmail", Reason.PROVIDER_BUSY)),
        (At.CONNECT, "421 Service not available", RetryAt("gmail", Reason.PROVIDER_BUSY)),
        (At.CONNECT, "554 No", RetryAt("gmail", Reason.ACCOUNT)),
        (At.KEPT, "354 What?", Unknown("gmail", Reason.NO_ANSWER)),
    ],
)
async def test_a_reply_about_the_message_is_no_trouble_of_the_mailbox(
    world: World, at: At, reply: str, expected: Rejected | RetryAt | Unknown
) -> None:
    world.gmail.script(at, Fault.REPLY, reply)
    outcome = await world.send()
    assert isinstance(outcome, Rejected | RetryAt | Unknown)
    assert replace(outcome, detail="") == expected, "and other mailboxes are not paused"
    assert await world.send() == ACCEPTED
    assert world.relay.messages == []


# --- pace and quota ---------------------------------------------------------------------------------------


async def test_the_daily_limit_is_kept(world: World) -> None:
    world.connect(BOX, "refresh-1", daily_limit=3)
    outcomes = await asyncio.gather(*(world.send() for _ in range(5)))
    assert outcomes.count(ACCEPTED) == 3
    left = [outcome for outcome in outcomes if isinstance(outcome, RetryAt)]
    assert len(left) == 2
    for outcome in left:
        assert outcome.reason is Reason.THROTTLED
        assert outcome.detail == "its daily limit is used up"
        assert 24 * 3600_000 <= outcome.after <= 24 * 3600_000 + 600_000
        assert not outcome.pause_channel
    assert world.tried == 3
    world.clock.pass_(hours=24, minutes=10)
    assert await world.send() == ACCEPTED


async def test_what_can_not_wait_for_tomorrow_leaves_by_the_service(world: World) -> None:
    world.connect(BOX, "refresh-1", daily_limit=1)
    assert await world.send() == ACCEPTED
    assert await world.send(valid_for=3600) == instead("its daily limit is used up")
    assert isinstance(await world.send(valid_for=2 * 24 * 3600), RetryAt)


async def test_what_did_not_go_is_not_counted(world: World) -> None:
    world.connect(BOX, "refresh-1", daily_limit=2)
    world.gmail.script(At.RCPT, Fault.REPLY, "550 5.1.1 No", times=2)
    world.gmail.script(At.DATA, Fault.CLOSE)
    for _ in range(3):
        assert isinstance(await world.send(), Rejected | RetryAt)
    world.gmail.script(At.KEPT, Fault.CLOSE)
    assert isinstance(await world.send(), Unknown), "this one may have gone"
    assert await world.send() == ACCEPTED
    assert isinstance(await world.send(), RetryAt)


@pytest.mark.parametrize("at", [At.MAIL, At.RCPT, At.DATA, At.DOT])
async def test_gmail_says_that_it_is_enough_for_today(world: World, at: At) -> None:
    assert await world.send() == ACCEPTED
    world.clock.pass_(hours=5)
    world.gmail.script(at, Fault.REPLY, "550 5.4.5 Daily user sending limit exceeded")
    outcome = await world.send()
    assert isinstance(outcome, RetryAt), "not a failure"
    assert (outcome.reason, outcome.pause_channel) == (Reason.THROTTLED, False)
    assert 18 * 3600_000 < outcome.after <= 19 * 3600_000, "when our first is a day old"
    tried = world.tried
    assert isinstance(await world.send(), RetryAt)
    assert world.tried == tried, "Gmail is not asked meanwhile"
    assert await world.send(valid_for=60) == instead("its daily limit is used up")
    world.clock.pass_(hours=19)
    assert await world.send() == ACCEPTED


async def test_too_fast_rests_that_mailbox_alone(world: World) -> None:
    other = Mailbox(id="two", company="acme", address="b@gmail.com", secret_ref="env:TWO", version=1)
    world.connect(other, "refresh-2")
    world.gmail.script(At.MAIL, Fault.REPLY, "421 4.7.0 Try again later, closing connection")
    outcome = await world.send()
    assert isinstance(outcome, RetryAt)
    assert (outcome.reason, outcome.after, outcome.pause_channel) == (Reason.THROTTLED, 60_000, False)
    tried = world.tried
    assert isinstance(await world.send(), RetryAt)
    assert world.tried == tried
    assert await world.send(other) == ACCEPTED
    world.clock.pass_(minutes=1)
    assert await world.send() == ACCEPTED


async def test_a_blast_is_spread(world: World) -> None:
    """Nothing waits between the final check and the provider; those refused come back one after another."""
    await world.anew(per_second=0.5, burst=3)
    outcomes = [await world.send() for _ in range(6)]
    assert outcomes[:3] == [ACCEPTED] * 3
    waits = [outcome.after for outcome in outcomes[3:] if isinstance(outcome, RetryAt)]
    assert waits == [2000, 4000, 6000]
    world.clock.pass_(seconds=2)
    assert await world.send() == ACCEPTED


# --- inquiries --------------------------------------------------------------------------------------------


async def test_a_question_without_an_answer(world: World) -> None:
    asked = email(mailbox=BOX)
    assert await world.sender.inquire(asked, 0, 1) == NotFound("gmail")
    for answer in ((403, {"error": {"code": 403}}), (500, "x"), (200, "no JSON"), (200, "[]")):
        world.google.searches.append(answer)
        assert isinstance(await world.sender.inquire(asked, 0, 1), Unknown)
    world.google.accounts.clear()
    await world.anew()
    assert isinstance(await world.sender.inquire(asked, 0, 1), Unknown)
    await world.google.stop()
    await world.anew()
    assert isinstance(await world.sender.inquire(asked, 0, 1), Unknown)


async def test_another_mailbox_s_message_is_not_found(world: World) -> None:
    other = Mailbox(id="two", company="acme", address="b@gmail.com", secret_ref="env:TWO", version=1)
    world.connect(other, "refresh-2")
    assert await world.send() == ACCEPTED
    assert await world.sender.inquire(email(mailbox=other), 0, 1) == NotFound("gmail")


# --- settings ---------------------------------------------------------------------------------------------


def test_bad_settings_are_refused() -> None:
    good = GmailSettings(client_id=CLIENT_ID, client_secret=Secret("x"))
    assert good.smtp().host == "smtp.gmail.com"
    for changes in (
        {"client_id": ""},
        {"client_secret": Secret("")},
        {"tls": Tls.NONE},
        {"token_url": "http://accounts.example/token"},
        {"api_url": "ftp://x.example"},
        {"per_second": 0.0},
    ):
        with pytest.raises(ValueError, match=r"."):
            replace(good, **changes)
