"""The real client against a local server that speaks the API."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import aiohttp
import pytest

from deploy.fakes.sms import Fault, SmsFake
from senders.twilio_sms import TRIAL_PREFIX, ListError, TwilioSms
from streams.domain.messages import Accepted, NotFound, Rejected, RetryAt, Unknown
from streams.domain.reasons import Reason
from tests.senders.samples import NOW, SMS, StillClock, sms, twilio_settings


class SetClock:
    def __init__(self, at: int) -> None:
        self.at = at

    def now(self) -> int:
        return self.at


SERVICE = "MG" + "0" * 32
SECOND = 1000


async def test_accepted(twilio: TwilioSms, sms_fake: SmsFake) -> None:
    outcome = await twilio.send(sms(text="Größe & 100% ☕ + =\n😀"))
    [kept] = sms_fake.messages
    assert outcome == Accepted("twilio", kept["sid"], segments=1)
    assert kept["to"] == SMS.to
    assert kept["from"] == SMS.sender
    assert kept["body"] == "Größe & 100% ☕ + =\n😀"
    assert kept["validity_period"] == "3600"
    assert "status_callback" not in kept


@pytest.mark.parametrize(
    ("left", "asked"),
    [(40_000_000, "36000"), (36_000_999, "36000"), (35_999_999, "35999"), (1_999, "1"), (500, "1"), (0, "1")],
)
async def test_the_validity_period_is_what_the_api_allows(
    twilio: TwilioSms, sms_fake: SmsFake, left: int, asked: str
) -> None:
    assert isinstance(await twilio.send(sms(valid_until=NOW + left)), Accepted)
    assert sms_fake.messages[0]["validity_period"] == asked


async def test_the_wait_for_a_turn_is_taken_off_the_validity(sms_fake: SmsFake) -> None:
    """Between composing and sending lies the wait for the account's pace."""
    clock = SetClock(NOW)
    sender = TwilioSms(twilio_settings(sms_fake), clock)
    waiting = sms(valid_until=NOW + 60 * SECOND)
    clock.at += 45 * SECOND
    assert isinstance(await sender.send(waiting), Accepted)
    assert sms_fake.messages[0]["validity_period"] == "15"
    clock.at = waiting.valid_until + 1
    assert await sender.send(waiting) == RetryAt(
        "twilio", Reason.LATENESS, "it waited for its turn too long", called=False
    )
    await sender.close()
    assert sms_fake.requests == 1


@pytest.mark.parametrize("sender", [SERVICE, "MGRepair", "Repair Shop", "+4930123456", "12345"])
async def test_a_sender_is_a_service_or_a_from(sms_fake: SmsFake, twilio: TwilioSms, sender: str) -> None:
    outcome = await twilio.send(sms(sender=sender))
    assert isinstance(outcome, Accepted)
    [kept] = sms_fake.messages
    assert (kept["messaging_service_sid"], kept["from"]) == (
        (sender, None) if sender == SERVICE else (None, sender)
    )
    assert outcome.segments == (None if sender == SERVICE else 1), "a service doesn't know yet"


async def test_receipts_go_to_the_address_of_the_message(twilio: TwilioSms, sms_fake: SmsFake) -> None:
    await twilio.send(sms(status_url="https://x.example/v1/sms/status/AbC-_"))
    [kept] = sms_fake.messages
    assert kept["status_callback"] == "https://x.example/v1/sms/status/AbC-_#rc=3&rp=all"


async def test_a_messaging_service_changes_no_character(twilio: TwilioSms, sms_fake: SmsFake) -> None:
    """Else its list would not show the text that we ask for when we don't know whether it was taken."""
    await twilio.send(sms(sender=SERVICE))
    assert sms_fake.messages[0]["smart_encoded"] == "false"


async def test_an_api_key_signs_in_for_the_account(sms_fake: SmsFake) -> None:
    sender = TwilioSms(twilio_settings(sms_fake, api_key="SK123"), StillClock())
    outcome = await sender.send(sms())
    await sender.close()
    assert isinstance(outcome, RetryAt), "the local server knows the account's own token only"
    assert outcome.reason is Reason.ACCOUNT


async def test_the_process_environment_changes_nothing(
    sms_fake: SmsFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TWILIO_EDGE", "TWILIO_REGION", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"):
        monkeypatch.setenv(name, "elsewhere")
    sender = TwilioSms(twilio_settings(sms_fake), StillClock())
    assert isinstance(await sender.send(sms()), Accepted)
    await sender.close()


# --- answers ------------------------------------------------------------------------------------------

ANSWERS: list[tuple[dict[str, Any], Any]] = [
    (
        {"fault": Fault.REFUSE, "status": 429, "code": 20429, "retry_after": "7"},
        RetryAt("twilio", Reason.THROTTLED, "HTTP 429, code 20429: scripted", after=7000, pause_channel=True),
    ),
    (
        {"fault": Fault.PROBLEM, "status": 429, "code": 20429, "retry_after": "8"},
        RetryAt("twilio", Reason.THROTTLED, "HTTP 429, code 20429: scripted", after=8000, pause_channel=True),
    ),
    (
        {"fault": Fault.HTML, "status": 429, "retry_after": "soon"},
        RetryAt("twilio", Reason.THROTTLED, "HTTP 429, code None", after=0, pause_channel=True),
    ),
    (
        {"fault": Fault.REFUSE, "status": 400, "code": 21610},
        Rejected("twilio", Reason.OPTED_OUT, "HTTP 400, code 21610: scripted", suppress=True),
    ),
    (
        {"fault": Fault.PROBLEM, "status": 400, "code": 21211},
        Rejected("twilio", Reason.INVALID_RECIPIENT, "HTTP 400, code 21211: scripted", suppress=True),
    ),
    (
        {"fault": Fault.REFUSE, "status": 400, "code": 29999},
        Rejected("twilio", Reason.REFUSED, "HTTP 400, code 29999: scripted"),
    ),
    (
        {"fault": Fault.REFUSE, "status": 401, "code": 20003},
        RetryAt("twilio", Reason.ACCOUNT, "HTTP 401, code 20003: scripted", pause_channel=True),
    ),
    ({"fault": Fault.HTML, "status": 503}, Unknown("twilio", Reason.NO_ANSWER, "HTTP 503, code None")),
    (
        {"fault": Fault.REFUSE, "status": 500, "code": 20500},
        Unknown("twilio", Reason.NO_ANSWER, "HTTP 500, code 20500: scripted"),
    ),
    (
        {"fault": Fault.HTML, "status": 302},
        RetryAt("twilio", Reason.ACCOUNT, "HTTP 302, code None", pause_channel=True),
    ),
]


@pytest.mark.parametrize(("script", "outcome"), ANSWERS)
async def test_an_answer_that_refuses(
    twilio: TwilioSms, sms_fake: SmsFake, script: dict[str, Any], outcome: object
) -> None:
    sms_fake.script(**script)
    assert await twilio.send(sms()) == outcome
    assert sms_fake.messages == []
    assert sms_fake.requests == 1, "nothing is retried here"
    assert isinstance(await twilio.send(sms()), Accepted), "the session is fit for the next"


async def test_a_slow_answer_is_waited_for(twilio: TwilioSms, sms_fake: SmsFake) -> None:
    sms_fake.script(Fault.DELAY, seconds=0.05)
    assert isinstance(await twilio.send(sms()), Accepted)


async def test_an_unverified_certificate_was_not_sent(sms_fake: SmsFake) -> None:
    """The local server speaks no TLS at all: the handshake fails before the request."""
    sender = TwilioSms(
        twilio_settings(sms_fake, api_base=sms_fake.url.replace("http:", "https:")), StillClock()
    )
    outcome = await sender.send(sms())
    await sender.close()
    assert isinstance(outcome, RetryAt)
    assert outcome.reason is Reason.UNREACHABLE


async def test_each_of_200_concurrent_sends_gets_its_own_answer(sms_fake: SmsFake) -> None:
    """With the library's ``pool_connections=False`` 199 of 200 got another's."""
    sender = TwilioSms(twilio_settings(sms_fake, connections=16), StillClock())
    outcomes = await asyncio.gather(*(sender.send(sms(text=f"message {n}")) for n in range(200)))
    await sender.close()
    by_sid = {kept["sid"]: kept["body"] for kept in sms_fake.messages}
    assert len(by_sid) == 200
    for number, outcome in enumerate(outcomes):
        assert isinstance(outcome, Accepted)
        assert by_sid[outcome.provider_id] == f"message {number}"
    assert sms_fake.most_connections <= 16


# --- asking -------------------------------------------------------------------------------------------


async def test_decoys_do_not_fool_an_inquiry(twilio: TwilioSms, sms_fake: SmsFake) -> None:
    since, until = NOW - 5 * SECOND, NOW + 5 * SECOND
    sms_fake.now = lambda: since - SECOND
    sms_fake.keep(SMS.to, SMS.sender, SMS.text)
    sms_fake.now = lambda: until + SECOND
    sms_fake.keep(SMS.to, SMS.sender, SMS.text)
    sms_fake.now = lambda: NOW
    sms_fake.keep("+4915100000000", SMS.sender, SMS.text)
    sms_fake.keep(SMS.to, "+4930999999", SMS.text)
    sms_fake.keep(SMS.to, SMS.sender, SMS.text + "!")
    sms_fake.keep(SMS.to, SMS.sender, SMS.text, direction="inbound")
    sms_fake.keep(SMS.to, SERVICE, SMS.text)
    sms_fake.keep(SMS.to, SMS.sender, SMS.text, date_created=None)
    assert await twilio.inquire(sms(), since, until) == NotFound("twilio")
    wanted = sms_fake.keep(SMS.to, SMS.sender, SMS.text, price="-0.0079")
    assert await twilio.inquire(sms(), since, until) == Accepted(
        "twilio", wanted["sid"], segments=1, price="0.0079", currency="USD"
    )


async def test_an_inquiry_reads_all_pages(
    twilio: TwilioSms, sms_fake: SmsFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("senders.twilio_sms.PAGE_SIZE", 10)
    wanted = sms_fake.keep(SMS.to, SMS.sender, SMS.text)
    for number in range(34):
        sms_fake.keep(SMS.to, SMS.sender, f"decoy {number}")
    assert await twilio.inquire(sms(), NOW, NOW) == Accepted("twilio", wanted["sid"], segments=1)
    assert sms_fake.requests == 4
    monkeypatch.setattr("senders.twilio_sms.MOST_PAGES", 3)
    assert isinstance(await twilio.inquire(sms(), NOW, NOW), Unknown)


async def test_whole_seconds_and_the_trial_prefix_fit(twilio: TwilioSms, sms_fake: SmsFake) -> None:
    sms_fake.now = lambda: NOW + 999
    wanted = sms_fake.keep(SMS.to, SMS.sender, TRIAL_PREFIX + SMS.text)
    found = await twilio.inquire(sms(), NOW + 998, NOW + 999)
    assert isinstance(found, Accepted)
    assert found.provider_id == wanted["sid"]
    service = sms_fake.keep(SMS.to, SERVICE, SMS.text)
    found = await twilio.inquire(sms(sender=SERVICE), NOW, NOW)
    assert isinstance(found, Accepted)
    assert found.provider_id == service["sid"]


async def test_retry_after_as_a_date(twilio: TwilioSms, sms_fake: SmsFake) -> None:
    """A date far ahead: the wait is what lies between it and the answer's own Date."""
    sms_fake.script(Fault.REFUSE, status=429, code=20429, retry_after="Fri, 31 Dec 2100 23:59:59 GMT")
    sms_fake.script(Fault.REFUSE, status=429, code=20429, retry_after="Fri, 31 Dec 1999 23:59:59 GMT")
    later, past = await twilio.send(sms()), await twilio.send(sms())
    assert isinstance(later, RetryAt)
    assert later.after > 30 * 365 * 86_400_000
    assert isinstance(past, RetryAt)
    assert past.after == 0


def test_bad_settings_are_refused() -> None:
    good = twilio_settings(SmsFake(host="127.0.0.1", port=1))
    for changes in (
        {"api_base": "127.0.0.1:1"},
        {"api_base": "http://user:pw@127.0.0.1"},
        {"account_sid": ""},
        {"answer_timeout": 0},
        {"connections": 0},
    ):
        with pytest.raises(ValueError, match=r"."):
            replace(good, **changes)


async def test_the_list_filters_by_date_sent_as_the_api_does(sms_fake: SmsFake) -> None:
    """Why an inquiry does not filter by DateSent: a queued message has none."""
    sms_fake.keep(SMS.to, SMS.sender, "queued")
    sms_fake.keep(SMS.to, SMS.sender, "sent", date_sent="Tue, 31 Mar 2026 23:33:20 +0000")
    base = f"{sms_fake.url}/2010-04-01/Accounts/{sms_fake.account}/Messages.json"
    signed = "Basic " + b64encode(f"{sms_fake.account}:{sms_fake.token}".encode()).decode()
    async with aiohttp.ClientSession(headers={"Authorization": signed}) as session:
        for query, bodies in (
            ({}, ["sent", "queued"]),
            ({"DateSent": "2026-03-31"}, ["sent"]),
            ({"DateSent>": "2026-03-31T23:33:20Z"}, ["sent"]),
            ({"DateSent<": "2026-03-31T23:33:19Z"}, []),
            ({"From": "+1"}, []),
        ):
            async with session.get(base, params=query) as answer:
                assert [one["body"] for one in (await answer.json())["messages"]] == bodies
        sid = sms_fake.messages[0]["sid"]
        async with session.get(base.replace(".json", f"/{sid}.json")) as answer:
            assert (await answer.json())["body"] == "queued"


# --- the whole list


def stamp(millis: int) -> str:
    return format_datetime(datetime.fromtimestamp(millis / 1000, UTC))


async def listed(twilio: TwilioSms, since: int, until: int, now: int = NOW) -> list[str]:
    return [one.body for page in [page async for page in twilio.listed(since, until, now)] for one in page]


async def test_the_list_of_a_period_has_all_its_pages_and_reads_no_further(
    twilio: TwilioSms, sms_fake: SmsFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("senders.twilio_sms.PAGE_SIZE", 3)
    for number in range(30):
        at = stamp(NOW + (number - 30) * 60 * SECOND)
        sms_fake.keep(SMS.to, SMS.sender, f"{number}", date_created=at)
    within = stamp(NOW - 3 * 60 * SECOND)
    sms_fake.keep(SMS.sender, SMS.to, "STOP", date_created=within, direction="inbound")
    found = await listed(twilio, NOW - 10 * 60 * SECOND, NOW - 2 * 60 * SECOND)
    assert found == [str(number) for number in range(28, 19, -1)]
    # Eleven of the period and one who wrote to us, in pages of three, and the page that is too old.
    assert sms_fake.requests == 5


async def test_the_list_of_days_ago_is_not_read_from_today_on(twilio: TwilioSms, sms_fake: SmsFake) -> None:
    day = 86_400 * SECOND
    then = stamp(NOW - 10 * day)
    sms_fake.keep(SMS.to, SMS.sender, "then", date_created=then, date_sent=then)
    sms_fake.keep(SMS.to, SMS.sender, "now", date_created=stamp(NOW), date_sent=stamp(NOW))
    assert await listed(twilio, NOW - 11 * day, NOW - 9 * day) == ["then"]


async def test_a_page_is_asked_for_again(twilio: TwilioSms, sms_fake: SmsFake) -> None:
    sms_fake.keep(SMS.to, "MG" + "0" * 32, "x")
    sms_fake.script(Fault.REFUSE, method="GET", status=429, code=20429, retry_after="0")
    pages = [page async for page in twilio.listed(NOW - SECOND, NOW, NOW)]
    assert [(one.to, one.sender, one.body, one.created) for one in pages[0]] == [(SMS.to, SERVICE, "x", NOW)]
    assert SMS.to not in repr(pages[0][0])
    sms_fake.script(Fault.REFUSE, method="GET", status=401, code=20003, message=f"no {SMS.to}")
    with pytest.raises(ListError, match=r"the provider refuses: HTTP 401, code 20003 no …"):
        await listed(twilio, NOW, NOW)


async def test_one_message_is_looked_up_by_its_id(twilio: TwilioSms, sms_fake: SmsFake) -> None:
    kept = sms_fake.keep(SMS.to, SMS.sender, "x")
    found = await twilio.look_up(kept["sid"])
    assert found is not None
    assert found.sid == kept["sid"]
    assert await twilio.look_up("SM" + "0" * 32) is None
