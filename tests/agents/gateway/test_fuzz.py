"""Whatever is posted: an answer that is no mistake of ours, and nothing on the topics that nobody signed."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

from agents.gateway.server import LARGEST
from tests.agents.gateway.conftest import (
    ACME,
    ANN,
    LINKS,
    OUR_NUMBER,
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

FINE = {200, 204, 400, 403, 404, 405, 408, 413, 415, 429}
"""An answer of 5xx would be a mistake of ours, while brokers and companies are there."""

WRONG_TOKEN = LINKS.unsubscribe(REF).removeprefix(PUBLIC).replace("unsubscribe", "sms/status")
PATHS = st.sampled_from(
    [
        RECEIPT,
        TEXT,
        UNSUBSCRIBE,
        WRONG_TOKEN,
        RECEIPT + "?a=1&a=%00",
        TEXT + "?%ff",
        "/v1/sms/status/AQ",
        "/v1/",
        "/",
        "//",
        "/v1/sms/incoming/",
        UNSUBSCRIBE + "%2e%2e",
        "/v1/sms/status/" + "A" * 7000,
    ]
)
NAMES = (
    *("MessageSid", "SmsSid", "MessageStatus", "SmsStatus", "ErrorCode", "NumSegments", "Price", "PriceUnit"),
    *("From", "To", "Body", "OptOutType", "MessagingServiceSid", "confirm", "List-Unsubscribe", "", "\0"),
)
ODDITIES = (
    *(SID, ANN, OUR_NUMBER, "delivered", "failed", "page", "One-Click", "STOP", "start", "-1e999", "NaN", ""),
    *(
        "0" * 5000,
        "9" * 400,
        "30005",
        "\u202e",
        "+",
        "+0",
        "MG" + "0" * 32,
        "\ud7ff",
        "\u0663",
        "1\u0660\u0660",
    ),
)
GOOD = (
    (
        RECEIPT,
        {"MessageSid": SID, "MessageStatus": "failed", "To": ANN, "ErrorCode": "30005", "Price": "-0.01"},
    ),
    (TEXT, {"MessageSid": SID, "From": ANN, "To": OUR_NUMBER, "Body": "Stop"}),
)
FORMS = st.dictionaries(st.sampled_from(NAMES), st.text(max_size=30) | st.sampled_from(ODDITIES), max_size=8)
FORM = "application/x-www-form-urlencoded"
KINDS = st.sampled_from(
    [
        FORM,
        FORM + "; charset=utf-16",
        FORM + "; charset=no-such",
        "multipart/form-data; boundary=x",
        "text/plain",
        "multipart/form-data",
        "application/json",
        "",
        ";",
        "a/b/c",
        FORM + ";;=",
    ]
)
_PARTS = b'--x\r\nContent-Disposition: form-data; name="Body"\r\n\r\nSTOP\r\n--x--\r\n'
BODIES = (
    st.binary(max_size=300)
    | FORMS.map(lambda form: urlencode(form).encode())
    | st.just(_PARTS)
    | st.integers(0, len(_PARTS)).map(lambda end: _PARTS[:end])
    | st.sampled_from([b"a=" + b"x" * LARGEST, b"&" * 2000, b"%" * 300, b"a=%ff&b=%u0000"])
)
HEADERS = st.dictionaries(
    st.sampled_from(["X-Twilio-Signature", "X-Forwarded-For", "Accept-Language", "Authorization", "X-Odd"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60),
    max_size=3,
)
METHODS = st.sampled_from(["POST", "POST", "POST", "GET", "PUT", "DELETE", "HEAD", "OPTIONS"])


@dataclass(frozen=True, slots=True)
class Odd:
    method: str
    path: str
    headers: Mapping[str, str]
    kind: str
    body: bytes


ODD = st.builds(Odd, method=METHODS, path=PATHS, headers=HEADERS, kind=KINDS, body=BODIES)


async def drawn(count: int, *strategies: st.SearchStrategy[Any]) -> list[tuple[Any, ...]]:
    """Examples, drawn where no loop runs; shrinking says nothing of a server that many of them met."""
    examples: list[tuple[Any, ...]] = []

    @settings(max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.tuples(*strategies))
    def collect(example: tuple[Any, ...]) -> None:
        examples.append(example)

    await asyncio.to_thread(collect)
    return examples


async def ask(spot: Spot, odd: Odd) -> int:
    headers = {**odd.headers, **({"Content-Type": odd.kind} if odd.kind else {})}
    url = URL(spot.base + odd.path, encoded=True)
    async with spot.client.request(odd.method, url, data=odd.body, headers=headers) as answer:
        await answer.read()
        return answer.status


async def test_what_nobody_signed_changes_nothing(spot: Spot, caplog: pytest.LogCaptureFixture) -> None:
    """But for unsubscriptions: there the link itself is the signature."""
    caplog.set_level(logging.INFO)
    async with spot.open(ACME):
        for (odd,) in await drawn(150, ODD):
            if odd.path.startswith("/v1/unsubscribe/"):
                continue
            try:
                assert await ask(spot, odd) in FINE, odd
            except aiohttp.ServerDisconnectedError:
                assert len(odd.path) > 6000, odd  # aiohttp's own limit of a line
        assert await spot.events() == []
        assert await spot.records("suppressions") == []
    assert not [line for line in caplog.messages if "failed" in line or "Error handling" in line]


async def test_what_is_signed_is_answered_whatever_it_says(
    spot: Spot, caplog: pytest.LogCaptureFixture
) -> None:
    async with spot.open(ACME):
        fuzzed = await drawn(60, st.sampled_from([RECEIPT, TEXT, WRONG_TOKEN, UNSUBSCRIBE, "/v1/"]), FORMS)
        # Good but for one field: what is wrong from the start gets no further than its first check.
        nearly = [
            (path, {**good, name: value}) for path, good in GOOD for name in NAMES for value in ODDITIES
        ]
        for path, form in [*fuzzed, *nearly]:
            headers = {"X-Twilio-Signature": signature(path, form)}
            odd = Odd("POST", path, headers, FORM, urlencode(form).encode())
            assert await ask(spot, odd) in FINE, odd
        assert (await spot.twilio(RECEIPT, {"MessageSid": SID, "MessageStatus": "sent"}))[0] == 204
        for event in await spot.events():
            assert event.company == "acme"
        for record in await spot.records("suppressions"):
            assert record.key.startswith(b"acme/")
    assert not [line for line in caplog.messages if "failed" in line or "Error handling" in line]


STATUSES = st.sampled_from(["queued", "sent", "delivered", "undelivered", "failed"])


async def test_repeated_and_out_of_order_each_is_taken_once(spot: Spot) -> None:
    """In any order, as often as the provider likes, side by side: one event of each, none lost."""
    async with spot.open(ACME):
        wanted: Counter[str] = Counter()
        for number, (statuses,) in enumerate(await drawn(25, st.lists(STATUSES, max_size=12))):
            sid = f"SM{number:032x}"
            forms = [{"MessageSid": sid, "MessageStatus": status, "To": ANN} for status in statuses]
            answers = await asyncio.gather(*(spot.twilio(RECEIPT, form) for form in forms))
            assert {status for status, _ in answers} <= {204}
            wanted.update({f"twilio:{sid}:{status}": 1 for status in statuses})
        found = Counter(event.event_id for event in await spot.events())
        assert set(found) == set(wanted), "none is lost, none invented"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda sign: "",
        lambda sign: sign[:-2] + "==",
        lambda sign: sign.swapcase(),
        lambda sign: sign + "=",
        lambda sign: " " + sign[1:],
        lambda sign: "é" * 28,
        lambda sign: sign * 100,
    ],
)
async def test_a_signature_is_right_or_wrong(spot: Spot, spoil: Callable[[str], str]) -> None:
    async with spot.open(ACME):
        for path, form in (
            (RECEIPT, {"MessageSid": SID, "MessageStatus": "delivered"}),
            (TEXT, {"MessageSid": SID, "From": ANN, "To": OUR_NUMBER, "Body": "STOP"}),
        ):
            good = signature(path, form)
            assert (await spot.post(path, form, {"X-Twilio-Signature": spoil(good)}))[0] == 403
        assert await spot.events() == []
        assert await spot.records("suppressions") == []
