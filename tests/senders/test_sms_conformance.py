"""What every SMS sender must do, whoever the provider is: each real client against its local provider."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from deploy.fakes.http_sms import DESCRIPTION, HttpSmsFake
from deploy.fakes.sms import Fault, SmsFake
from schemas.records import Channel
from senders.http_sms import HttpSms
from senders.http_sms_settings import HttpSmsSettings, read_description
from senders.sender import Sender
from senders.twilio_sms import TwilioSms
from streams.clock import Clock
from streams.domain.messages import Accepted, NotFound, Rejected, RetryAt, SmsMessage, Unknown
from streams.domain.reasons import Reason
from streams.secret import Secret
from tests.senders.samples import EMAIL, NOW, SMS, StillClock, sms, twilio_settings

AT = (NOW - 60_000, NOW + 60_000)
GONE = "http://127.0.0.1:{port}"


@dataclass(frozen=True, slots=True)
class Provider:
    """A local one, and how a sender to it is made: with changed time-outs or connections, or elsewhere."""

    fake: SmsFake
    make: Callable[..., Sender]
    keep_decoy: Callable[[SmsFake, SmsMessage], object]
    """Something that was accepted, looks like the message, and is not."""


def http_settings(url: str, form: bool = False, **changes: Any) -> HttpSmsSettings:
    described = DESCRIPTION.format(url=url)
    if form:
        described = described.replace("[send]", '[send]\nformat = "form"', 1)
        described = described.replace('Authorization = "Bearer {token}"\n', "")
        described += '\n[send.auth]\nuser = "AC00000000000000000000000000000000"\n'
    return replace(read_description(described, Secret("local-token")), **changes)


def twilio_provider(fake: SmsFake) -> Provider:
    def make(clock: Clock = StillClock(), url: str = "", **changes: Any) -> Sender:  # noqa: B008 - has no state
        return TwilioSms(twilio_settings(fake, **changes, **({"api_base": url} if url else {})), clock)

    def decoys(fake: SmsFake, message: SmsMessage) -> None:
        fake.now = lambda: AT[0] - 1_000
        fake.keep(message.to, message.sender, message.text)
        fake.now = lambda: AT[1] + 1_000
        fake.keep(message.to, message.sender, message.text)
        fake.now = lambda: NOW
        fake.keep(message.to, "+4930999999", message.text)
        fake.keep("+4915100000000", message.sender, message.text)

    return Provider(fake, make, decoys)


def http_provider(fake: SmsFake, form: bool) -> Provider:
    def make(clock: Clock = StillClock(), url: str = "", **changes: Any) -> Sender:  # noqa: B008 - has no state
        return HttpSms(http_settings(url or fake.url, form, **changes), clock)

    def decoys(fake: SmsFake, message: SmsMessage) -> None:
        """Same text, recipient, sender and time; another delivery, or none."""
        for reference in ("f" * 32, "", message.delivery_id[:-1]):
            fake.keep(message.to, message.sender, message.text, reference=reference)

    return Provider(fake, make, decoys)


@pytest.fixture(params=["twilio", "http json", "http form"])
async def provider(request: pytest.FixtureRequest) -> AsyncIterator[Provider]:
    fake = (SmsFake if request.param == "twilio" else HttpSmsFake)(now=lambda: NOW)
    await fake.start()
    yield twilio_provider(fake) if request.param == "twilio" else http_provider(fake, "form" in request.param)
    await fake.stop()


@pytest.fixture
async def sender(provider: Provider) -> AsyncIterator[Sender]:
    made = provider.make()
    yield made
    await made.close()


async def test_accepted(provider: Provider, sender: Sender) -> None:
    message = sms(text="Größe & 100% ☕ + = {to} {id}\n😀")
    outcome = await sender.send(message)
    [kept] = provider.fake.messages
    assert isinstance(outcome, Accepted)
    assert (outcome.provider, outcome.provider_id) == (sender.name, kept["sid"])
    assert (kept["to"], kept["from"], kept["body"]) == (message.to, message.sender, message.text)
    assert sender.channel is Channel.SMS
    assert await sender.inquire(message, *AT) == replace(outcome, sender="")


@pytest.mark.parametrize(
    ("control", "reason"), [("opted_out", Reason.OPTED_OUT), ("invalid", Reason.INVALID_RECIPIENT)]
)
async def test_refused_for_the_number(
    provider: Provider, sender: Sender, control: str, reason: Reason
) -> None:
    provider.fake.control({control: [SMS.to]})
    outcome = await sender.send(sms())
    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.suppress) == (reason, True)
    assert SMS.to not in outcome.detail
    assert isinstance(await sender.send(sms(to="+4915199999999")), Accepted), (
        "the session is fit for the next"
    )


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ({"fault": Fault.REFUSE, "status": 400, "code": 29999}, (Rejected, Reason.REFUSED)),
        ({"fault": Fault.REFUSE, "status": 401, "code": 29999}, (RetryAt, Reason.ACCOUNT)),
        ({"fault": Fault.HTML, "status": 403}, (RetryAt, Reason.ACCOUNT)),
        ({"fault": Fault.HTML, "status": 404}, (RetryAt, Reason.ACCOUNT)),
        ({"fault": Fault.HTML, "status": 302}, (RetryAt, Reason.ACCOUNT)),
        ({"fault": Fault.HTML, "status": 408}, (Unknown, Reason.NO_ANSWER)),
        ({"fault": Fault.PROBLEM, "status": 422, "code": 29999}, (Rejected, Reason.REFUSED)),
        ({"fault": Fault.REFUSE, "status": 500, "code": 29999}, (Unknown, Reason.NO_ANSWER)),
        ({"fault": Fault.HTML, "status": 503}, (Unknown, Reason.NO_ANSWER)),
        ({"fault": Fault.HTML, "status": 504}, (Unknown, Reason.NO_ANSWER)),
    ],
)
async def test_other_answers(
    provider: Provider, sender: Sender, script: dict[str, Any], outcome: tuple[type, Reason]
) -> None:
    provider.fake.script(**script)
    said = await sender.send(sms())
    assert (type(said), getattr(said, "reason", "")) == outcome
    assert provider.fake.requests == 1, "nothing is retried here"


async def test_too_fast(provider: Provider, sender: Sender) -> None:
    for after in ("7", "Fri, 31 Dec 1999 23:59:59 GMT", "soon"):
        provider.fake.script(Fault.REFUSE, status=429, code=429, retry_after=after)
        said = await sender.send(sms())
        assert isinstance(said, RetryAt)
        assert (said.reason, said.pause_channel) == (Reason.THROTTLED, True)
        assert said.after == (7_000 if after == "7" else 0)


@pytest.mark.parametrize(
    "fault", [Fault.ACCEPT_RESET, Fault.ACCEPT_GARBAGE, Fault.ACCEPT_EMPTY, Fault.ACCEPT_ERROR]
)
async def test_accepted_without_a_word(provider: Provider, sender: Sender, fault: Fault) -> None:
    provider.fake.script(fault)
    assert isinstance(await sender.send(sms()), Unknown)
    assert (provider.fake.requests, len(provider.fake.messages)) == (1, 1), "a POST is never repeated"
    found = await sender.inquire(sms(), *AT)
    assert isinstance(found, Accepted)
    assert found.provider_id == provider.fake.messages[0]["sid"]


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.ACCEPT_HANG])
async def test_no_answer(provider: Provider, fault: Fault) -> None:
    sender = provider.make(connect_timeout=0.2, answer_timeout=0.2)
    provider.fake.script(fault)
    assert await sender.send(sms()) == Unknown(sender.name, Reason.NO_ANSWER, "TimeoutError")
    await sender.close()


async def test_nobody_listens(provider: Provider) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        sender = provider.make(url=GONE.format(port=closed.getsockname()[1]))
        refused = await sender.send(sms())
        assert refused == RetryAt(sender.name, Reason.UNREACHABLE, "ClientConnectorError")
        assert isinstance(await sender.inquire(sms(), *AT), Unknown)
        await sender.close()


async def test_no_free_connection(provider: Provider) -> None:
    sender = provider.make(connections=1, connect_timeout=0.2)
    provider.fake.script(Fault.ACCEPT_HANG)
    first = asyncio.create_task(sender.send(sms()))
    await provider.fake.ledger.reached(1)
    assert await sender.send(sms()) == RetryAt(sender.name, Reason.UNREACHABLE, "ConnectionTimeoutError")
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await sender.close()


async def test_decoys(provider: Provider, sender: Sender) -> None:
    provider.keep_decoy(provider.fake, sms())
    assert await sender.inquire(sms(), *AT) == NotFound(sender.name)


async def test_a_list_that_lags(provider: Provider, sender: Sender) -> None:
    await sender.send(sms())
    provider.fake.listed = False
    assert await sender.inquire(sms(), *AT) == NotFound(sender.name)


@pytest.mark.parametrize(
    "script",
    [
        {"fault": Fault.REFUSE, "status": 429, "code": 20429},
        {"fault": Fault.HTML, "status": 500},
        {"fault": Fault.HTML, "status": 200},
        {"fault": Fault.HTML, "status": 403},
    ],
)
async def test_a_question_without_an_answer(
    provider: Provider, sender: Sender, script: dict[str, Any]
) -> None:
    await sender.send(sms())
    provider.fake.script(method="GET", **script)
    assert isinstance(await sender.inquire(sms(), *AT), Unknown)
    assert isinstance(await sender.inquire(sms(), *AT), Accepted)


async def test_two_that_fit(provider: Provider, sender: Sender) -> None:
    """The same delivery twice: which of them was meant is as unknown as whether."""
    for _ in range(2):
        assert isinstance(await sender.send(sms()), Accepted)
    assert isinstance(await sender.inquire(sms(), *AT), Unknown)


async def test_what_is_no_sms_no_text_or_of_no_more_use(provider: Provider, sender: Sender) -> None:
    assert isinstance(await sender.send(EMAIL), Rejected)
    half = await sender.send(sms(text="half \ud83d"))
    assert isinstance(half, Rejected)
    assert half.reason is Reason.CONTENT
    late = await sender.send(sms(valid_until=NOW - 1))
    assert isinstance(late, RetryAt)
    assert (late.reason, late.called) == (Reason.LATENESS, False)
    assert isinstance(await sender.inquire(EMAIL, *AT), Unknown)
    assert provider.fake.requests == 0


async def test_many_at_once_get_their_own_answers(provider: Provider) -> None:
    sender = provider.make(connections=8)
    texts = [f"message {number}" for number in range(50)]
    outcomes = await asyncio.gather(*(sender.send(sms(text=text)) for text in texts))
    by_id = {kept["sid"]: kept["body"] for kept in provider.fake.messages}
    assert [by_id[one.provider_id] for one in outcomes if isinstance(one, Accepted)] == texts
    await sender.close()


async def test_closed(provider: Provider, sender: Sender) -> None:
    await sender.close()
    await sender.close()
    assert not isinstance(await sender.send(sms()), Accepted)
    assert provider.fake.requests == 0
