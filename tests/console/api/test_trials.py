"""Test messages: to oneself alone, really sent, and nobody's message."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from email import message_from_string, policy
from pathlib import Path
from typing import Any

import pytest

from console.service.errors import TooManyError
from console.service.people import token_hash
from console.service.trial import MOST, WINDOW, Trials
from deploy.fakes.mail import At, Fault, MailFake
from deploy.fakes.sms import ACCOUNT, TOKEN, SmsFake
from schemas.records import Channel, Role, Suppression, Token, User
from streams.clock import SystemClock
from streams.secret import Secret
from streams.settings import Settings
from tests.console.api.conftest import NOW, TOKENS, Answer, Spot, both_companies, user
from tests.console.api.outside import running
from tests.support.shop import C

PATH = f"/companies/{C}/test-messages"
TEXT = {
    "sms": "{{ customer.first_name }}: {{ entity.number }}",
    "subject": "On {{ entity.number }}",
    "body": "Hi",
}


def person(name: str, **changes: Any) -> User:
    token = Token(id=name, hash=token_hash(f"carillon_{name}"), created_at=0)
    fields: dict[str, Any] = {"id": f"{name}@mail.example", "name": name.title(), "roles": {C: Role.EDITOR}}
    return User(**(fields | {"tokens": (token,), "version": 1} | changes))


@dataclass(frozen=True, slots=True)
class Place:
    spot: Spot
    sms: SmsFake
    mail: MailFake

    def send(self, name: str = "tess", **form: Any) -> Answer:
        sent = {"channel": "sms", "language": "en", "text": TEXT} | form
        headers = {"Authorization": f"Bearer carillon_{name}"}
        return self.spot.call("POST", PATH, sent, headers=headers)


@pytest.fixture(scope="module")
def place(
    make_settings: Callable[[Path], Settings], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    sms, mail = SmsFake(), MailFake()
    with running(sms, mail):
        settings = replace(
            make_settings(tmp_path_factory.mktemp("trials")),
            sms_account=ACCOUNT,
            sms_token=Secret(TOKEN),
            sms_api=f"http://{sms.host}:{sms.port}",
            smtp_host=mail.host,
            smtp_port=mail.port,
            smtp_tls="none",
        )
        spot = Spot(settings)
        block = Suppression(
            company=C, channel=Channel.SMS, address="+48600200300", reason="stop", since=NOW, version=1
        )
        people = [
            person("tess", phone="+48501999888"),
            person("bare", id="bare"),
            person("blocked", phone="+48600200300"),
            person("eager", phone="+48501999777"),
        ]
        spot.publish(*both_companies(), *map(user, TOKENS), *people, block)
        spot.start()
        yield Place(spot, sms, mail)
        spot.stop()


def test_it_goes_to_whoever_asks_filled_in_by_the_sample(place: Place) -> None:
    before = place.spot.get(f"/companies/{C}/deliveries").json
    answer = place.send()
    assert answer.json == {
        "accepted": True,
        "address": "+48501999888",
        "provider": "twilio",
        "reason": "",
        "detail": "",
    }
    sent = place.sms.ledger.entries[-1]
    assert (sent["to"], sent["from"], sent["body"]) == ("+48501999888", "+48500000000", "Anna: 10234")
    assert not sent.get("status_callback")  # nothing of it comes back

    answer = place.send(channel="email")
    assert (answer.json["accepted"], answer.json["address"]) == (True, "tess@mail.example")
    mail = message_from_string(place.mail.messages[-1]["data"], policy=policy.default)
    assert place.mail.messages[-1]["to"] == ["tess@mail.example"]
    assert (mail["Subject"], mail["To"]) == ("On 10234", "Tess <tess@mail.example>")

    # It is nobody's message; but it is known who sent it, and not where to.
    assert place.spot.get(f"/companies/{C}/deliveries").json == before
    (newest, other) = place.spot.get(f"/companies/{C}/audit?kind=test_message", who="editor").json["items"]
    assert (newest["user"], other["user"]) == ("tess@mail.example", "tess@mail.example")
    assert [one["new"] for one in other["fields"]] == ["sms", "+48 ••• ••• 888"]


def test_nobody_else_can_be_written_to(place: Place) -> None:
    counts = len(place.sms.ledger.entries), len(place.mail.messages)
    for name, form, fields in (
        ("bare", {}, [("channel", "missing")]),
        ("bare", {"channel": "email"}, [("channel", "missing")]),
        ("blocked", {}, [("channel", "access")]),
        ("tess", {"to": "+48501111222"}, [("to", "unknown")]),
        ("tess", {"text": {"sms": "{{ entity.nmber }}"}}, [("text", "invalid")]),
        ("tess", {"text": {"subject": "only"}}, [("text", "invalid")]),
        ("tess", {"channel": "email", "mailbox_id": "gm"}, [("mailbox_id", "access")]),
    ):
        answer = place.send(name, **form)
        assert (answer.status, answer.fields) == (422, fields), (name, form)
    assert (len(place.sms.ledger.entries), len(place.mail.messages)) == counts


def test_what_the_provider_refuses_is_said(place: Place) -> None:
    place.mail.script(At.RCPT, Fault.REPLY, "550 5.1.1 no such user")
    answer = place.send(channel="email")
    assert (answer.status, answer.json["accepted"]) == (200, False)
    assert answer.json["reason"] == "invalid_recipient"
    assert "no such user" in answer.json["detail"]


def test_some_an_hour(place: Place) -> None:
    answers = [place.send("eager").status for _ in range(MOST + 1)]
    assert answers == [200] * MOST + [429]
    assert place.send().status == 200


def test_outside_production_only_those_on_the_list() -> None:
    now = [0.0]
    far = Settings(smtp_host="relay.example", allowed_addresses="@mine.example")
    trials = Trials(far, SystemClock(), lambda: now[0])
    with pytest.raises(Exception, match="not on its list"):
        trials.check(Channel.EMAIL, "tess@mail.example")
    assert trials.check(Channel.EMAIL, "tess@mine.example").channel is Channel.EMAIL
    with pytest.raises(Exception, match="no provider"):
        trials.check(Channel.SMS, "+48501999888")


def test_the_hour_passes() -> None:
    now = [0.0]
    trials = Trials(Settings(), SystemClock(), lambda: now[0])
    for _ in range(MOST):
        trials.take("tess")
    with pytest.raises(TooManyError) as refused:
        trials.take("tess")
    trials.take("another")
    now[0] = refused.value.seconds
    assert refused.value.seconds <= WINDOW + 1
    trials.take("tess")
