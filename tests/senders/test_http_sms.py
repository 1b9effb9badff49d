"""What a description may say besides what all senders do (``test_sms_conformance``), and what it may not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agents.accounts import sender_settings
from agents.worker import preflight
from deploy.fakes.http_sms import DESCRIPTION, HttpSmsFake
from deploy.fakes.sms import Fault
from schemas.records import Channel
from senders.description import DescriptionError
from senders.factory import build_senders
from senders.http_sms import HttpSms
from senders.http_sms_settings import HttpSmsSettings, read_description
from senders.outcomes import NAMED_VERDICTS
from streams.clock import SystemClock
from streams.domain.messages import Accepted, Inquiry, NotFound, Outcome, Rejected, RetryAt, Unknown
from streams.domain.reasons import Reason
from streams.secret import Secret
from streams.settings import read_settings
from tests.senders.samples import NOW, SMS, StillClock, sms

TOKEN = Secret("local-token")
SERVICE = "MG" + "0" * 32
SEND = '\n[send]\nurl = "http://127.0.0.1:1/send"\nid = "id"\n'
BODY = '\n[send.body]\nto = "{to}"\nfrom = "{from}"\ntext = "{text}"\nref = "{id}"\n'
LEAST = 'name = "other"\n' + SEND + BODY
CALLBACK = "back = '{status_url}'\n"
RECEIPTS = "[receipts]\nid = 'i'\nstatus = 's'\nsigned = 'no'\n[receipts.statuses]\nDELIVRD = 'delivered'\n"


@pytest.fixture
async def fake() -> AsyncIterator[HttpSmsFake]:
    made = HttpSmsFake(now=lambda: NOW)
    await made.start()
    yield made
    await made.stop()


def described(fake: HttpSmsFake, *more: tuple[str, str]) -> HttpSmsSettings:
    text = DESCRIPTION.format(url=fake.url)
    for old, new in more:
        assert old in text
        text = text.replace(old, new)
    return read_description(text, TOKEN)


async def sent(settings: HttpSmsSettings, **message: str) -> Outcome:
    sender = HttpSms(settings, StillClock())
    try:
        return await sender.send(sms(**message))
    finally:
        await sender.close()


async def asked(settings: HttpSmsSettings) -> Inquiry:
    sender = HttpSms(settings, StillClock())
    try:
        return await sender.inquire(sms(), NOW, NOW)
    finally:
        await sender.close()


async def test_the_provider_gets_our_id_and_the_time_that_is_left(fake: HttpSmsFake) -> None:
    assert isinstance(await sent(described(fake)), Accepted)
    [kept] = fake.messages
    assert (kept["reference"], kept["key"]) == (SMS.delivery_id, SMS.delivery_id)
    assert kept["ttl"] == 3600, "a number where a placeholder stands alone"


async def test_texts_of_any_kind_arrive_as_they_are(fake: HttpSmsFake) -> None:
    """What is filled in is not read again, in JSON, in a form, or as another placeholder."""
    texts = ['"}, "to": "+1', "{to}{id}{seconds}", "a&to=+1&x=", "{", "}", "{text}", "\\u0041 \\n", "'\"\n\t"]
    for text in texts:
        assert isinstance(await sent(described(fake), text=text), Accepted)
        form = described(fake, ("[send]", '[send]\nformat = "form"'))
        assert isinstance(await sent(form, text=text), Accepted)
    assert [kept["body"] for kept in fake.messages] == [text for text in texts for _ in range(2)]
    assert {kept["to"] for kept in fake.messages} == {SMS.to}


async def test_a_body_may_be_nested_and_have_fixed_parts(fake: HttpSmsFake) -> None:
    body = 'to = "{to}"\nfrom = "{from}"\ntext = "{text}"\nreference = "x-{id}"\n'
    body += 'ttl = {"seconds" = ["{seconds}", true]}'
    old = DESCRIPTION.split("[send.body]\n")[1].split("\n\n")[0].format(url="")
    assert isinstance(await sent(described(fake, (old, body))), Accepted)
    [kept] = fake.messages
    assert (kept["reference"], kept["ttl"]) == (f"x-{SMS.delivery_id}", {"seconds": [3600, True]})


async def test_another_provider_s_service_is_no_sender(fake: HttpSmsFake) -> None:
    outcome = await sent(described(fake), sender=SERVICE)
    assert isinstance(outcome, Accepted)
    assert outcome.sender == "Workshop", "the delivery log says by whom"
    assert fake.messages[0]["from"] == "Workshop"
    without = await sent(described(fake, ('sender = "Workshop"', "")), sender=SERVICE)
    assert isinstance(without, RetryAt), "the first provider may have it later"
    assert without.reason is Reason.NO_SENDER
    assert len(fake.messages) == 1


@pytest.mark.parametrize("name", NAMED_VERDICTS)
async def test_every_outcome_by_status_and_by_code(fake: HttpSmsFake, name: str) -> None:
    verdict = NAMED_VERDICTS[name]
    table = ("[outcomes.code]", f'[outcomes.status]\n418 = "{name}"\n\n[outcomes.code]\n77 = "{name}"')
    settings = described(fake, table)
    fake.script(Fault.REFUSE, status=418, code=1, retry_after="3")
    assert await sent(settings) == verdict.outcome("local", "HTTP 418, code 1", 3_000)
    fake.script(Fault.REFUSE, status=400, code=77)
    assert await sent(settings) == verdict.outcome("local", "HTTP 400, code 77")
    fake.script(Fault.REFUSE, status=200, code=77)
    assert await sent(settings) == verdict.outcome("local", "HTTP 200, code 77"), "a refusal in a 200"
    assert fake.messages == []


async def test_a_code_of_a_5xx_says_nothing_unless_the_status_does(fake: HttpSmsFake) -> None:
    """Whatever the body says: it may have been queued. A provider that promises otherwise can be believed."""
    fake.script(Fault.REFUSE, status=503, code=77, times=2)
    settings = described(fake, ("[outcomes.code]", '[outcomes.code]\n77 = "refused"'))
    assert isinstance(await sent(settings), Unknown)
    busy = described(fake, ("[outcomes.code]", '[outcomes.status]\n503 = "busy"\n\n[outcomes.code]'))
    assert isinstance(await sent(busy), RetryAt)


async def test_a_2xx_without_an_id_or_with_a_code_that_nobody_knows_is_unknown(fake: HttpSmsFake) -> None:
    for status in (200, 202):
        fake.script(Fault.REFUSE, status=status, code=9)
        assert await sent(described(fake)) == Unknown("local", Reason.NO_ANSWER, "accepted without an id")


async def test_who_can_not_be_asked(fake: HttpSmsFake) -> None:
    text = DESCRIPTION.format(url=fake.url).split("[query]")[0]
    assert isinstance(await sent(read_description(text, TOKEN)), Accepted)
    answer = await asked(read_description(text, TOKEN))
    assert answer == Unknown("local", Reason.NO_ANSWER, "it can't be asked")


async def test_a_query_may_answer_with_one_message_or_404(fake: HttpSmsFake) -> None:
    single = described(
        fake,
        ('items = "messages"', ""),
        ('reference = "reference"', 'reference = "messages.0.reference"'),
        ('id = "id"', 'id = "messages.0.id"'),
    )
    assert await asked(single) == NotFound("local")
    await sent(single)
    assert await asked(single) == Accepted("local", fake.messages[0]["sid"])
    fake.script(Fault.HTML, method="GET", status=404)
    assert await asked(single) == NotFound("local")


async def test_a_wrong_token_pauses_the_account(fake: HttpSmsFake) -> None:
    settings = read_description(DESCRIPTION.format(url=fake.url), Secret("wrong"))
    outcome = await sent(settings)
    assert isinstance(outcome, RetryAt)
    assert (outcome.reason, outcome.pause_channel) == (Reason.ACCOUNT, True)
    assert "wrong" not in repr(settings) + outcome.detail


async def test_an_answer_without_end_is_not_kept(fake: HttpSmsFake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("senders.http_sms.LARGEST", 10)
    assert isinstance(await sent(described(fake)), Unknown)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name = ", "no TOML"),
        ("name = 3", "name: expected a text"),
        (SEND + BODY, "name: needed"),
        ('name = "a b"' + SEND + BODY, "name: letters, digits"),
        ('name = "twilio"' + SEND + BODY, "name: twilio is the other one"),
        ('name = "other"\nsend = 3', "send: expected a table"),
        ('name = "other"' + BODY, "send.url: needed"),
        (LEAST.replace("http:", "ftp:"), "send.url: not a plain http"),
        (LEAST.replace("127.0.0.1:1", "a:b@127.0.0.1"), "send.url: not a plain http"),
        (LEAST.replace('id = "id"', ""), "send.id: needed"),
        (LEAST.replace("\nid =", '\nformat = "xml"\nid ='), "send.format: expected json or form, got 'xml'"),
        (
            LEAST.replace("\nid =", "\nper_second = -1\nid ="),
            "send.per_second: expected a number of 0 or more",
        ),
        (LEAST.replace("{text}", "text"), "send.body: nothing in it has {text}"),
        (LEAST.replace("{to}", "to"), "send.body: nothing in it has {to}"),
        (LEAST.replace("\nid =", "\nmethod = 'PUT'\nid ="), "send.method: there is no such key"),
        (LEAST + "more = [1]", None),
        (LEAST.replace("\nid =", "\nformat = 'form'\nid =") + "more = [1]", "a form has no tables and lists"),
        (LEAST + "[outcomes.status]\n99 = 'busy'", "outcomes.status.99: expected an HTTP status"),
        (
            LEAST + "[outcomes.code]\nE1 = 'maybe'",
            "outcomes: E1 = 'maybe': expected one of invalid_recipient",
        ),
        (LEAST + "[query]\nurl = 'http://127.0.0.1/'\nreference = 'r'\nid = 'i'", r"query.url: needs \{id\}"),
        (LEAST + "[query]\nurl = 'http://127.0.0.1/{id}'\nid = 'i'", "query.reference: needed"),
        (
            LEAST.replace('ref = "{id}"', "")
            + "[query]\nurl = 'http://127.0.0.1/{id}'\nreference = 'r'\nid = 'i'",
            r"query: nobody can be asked for an id",
        ),
        (LEAST + "[send.auth]\nuser = 'x'", None),
        (LEAST + RECEIPTS, r"receipts: they are posted to \{status_url\} in send.body: one needs the other"),
        (LEAST + CALLBACK, r"receipts: they are posted to \{status_url\} in send.body: one needs the other"),
        (LEAST + CALLBACK + RECEIPTS, None),
        (
            LEAST + CALLBACK + RECEIPTS.replace("'delivered'", "'arrived'"),
            "receipts.statuses: DELIVRD = 'arrived'",
        ),
        (LEAST + CALLBACK + RECEIPTS.replace("'delivered'", "'stop'"), "receipts.statuses: DELIVRD = 'stop'"),
        (LEAST + CALLBACK + RECEIPTS.split("[receipts.s", maxsplit=1)[0], "receipts.statuses: needed"),
        (
            LEAST + CALLBACK + RECEIPTS.replace("'no'", "'md5'"),
            "receipts.signed: expected one of hmac-sha256",
        ),
        (LEAST + CALLBACK + RECEIPTS.replace("'no'", "'secret'"), "receipts.header: needed"),
        (LEAST + CALLBACK + RECEIPTS.replace("signed = 'no'", ""), "receipts.signed: needed"),
        (LEAST + CALLBACK + RECEIPTS.replace("id =", "path ="), "receipts.id: needed"),
    ],
)
def test_what_is_wrong_with_a_description(text: str, says: str | None) -> None:
    if says is None:
        token = TOKEN if "[send.auth]" in text else Secret("")
        assert read_description(text, token).name == "other"
        return
    with pytest.raises(DescriptionError, match=says):
        read_description(text, Secret(""))


def test_a_token_that_is_missing_or_not_used_is_found() -> None:
    with pytest.raises(DescriptionError, match="http_sms_token: needed"):
        read_description(LEAST + "[send.auth]\nuser = 'x'", Secret(""))
    with pytest.raises(DescriptionError, match="http_sms_token: needed"):
        read_description(LEAST + "[send.headers]\nX-Key = '{token}'", Secret(""))
    with pytest.raises(DescriptionError, match="the token is used nowhere"):
        read_description(LEAST, TOKEN)


# --- from settings to senders


async def test_both_accounts_are_built_the_preferred_one_first(fake: HttpSmsFake, tmp_path: Path) -> None:
    file = tmp_path / "provider.toml"
    file.write_text(DESCRIPTION.format(url=fake.url))
    environ = {"TWILIO": "x", "OTHER": "local-token"}
    own = {"http_sms": str(file), "http_sms_token": "env:OTHER", "sms_timeout": "900", "sms_in_flight": "7"}
    both = read_settings(environ, own | {"sms_account": "AC1", "sms_token": "env:TWILIO"})
    accounts = build_senders(sender_settings(both), SystemClock())[Channel.SMS]
    assert [account.name for account in accounts] == ["twilio", "local"]
    made = sender_settings(both).http_sms
    assert made is not None
    assert (made.answer_timeout, made.connections) == (0.9, 7)
    [only] = build_senders(sender_settings(read_settings(environ, own)), SystemClock())[Channel.SMS]
    assert only.name == "local"
    for sender in (*accounts, only):
        await sender.close()


def test_a_description_that_can_not_be_used_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "provider.toml"
    file.write_text("name = 3")
    assert preflight(read_settings({}, {"http_sms": str(file)})) == [
        f"a provider account: {file}: name: expected a text"
    ]
    [problem] = preflight(read_settings({}, {"http_sms": str(tmp_path / "none")}))
    assert problem.startswith("a provider account: ")


def test_rejected_and_accepted_are_what_they_are_called() -> None:
    kinds = {name: type(verdict.outcome("p", "")) for name, verdict in NAMED_VERDICTS.items()}
    assert {name for name, kind in kinds.items() if kind is Rejected} == {
        "invalid_recipient",
        "not_reachable",
        "opted_out",
        "no_sender",
        "content",
        "refused",
    }
    assert {name for name, kind in kinds.items() if kind is RetryAt} == {"throttled", "account", "busy"}
    assert {name for name, kind in kinds.items() if kind is Unknown} == {"unknown"}
