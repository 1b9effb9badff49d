"""Bounces of the usual servers, what is none, and what is only meant to break the reader."""

from __future__ import annotations

import base64
import quopri

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.records import EventStatus
from senders.dsn import LONGEST, read_bounce
from tests.senders import dsn_samples as samples

HARD, SOFT = EventStatus.HARD, EventStatus.SOFT
SAMPLES = {
    name: value for name, value in vars(samples).items() if name.isupper() and isinstance(value, str)
} | {"BOM": "\ufeff" + samples.POSTFIX}


@pytest.mark.parametrize(
    ("name", "verdict", "code", "at"),
    [
        ("POSTFIX", HARD, "5.1.1", 1775556003000),
        ("POSTFIX_HEADERS", HARD, "5.1.1", 1775556003000),
        ("POSTFIX_FULL", SOFT, "5.2.2", 1775556003000),
        ("POSTFIX_EXPIRED", SOFT, "4.4.1", 1775556003000),
        ("EXIM", HARD, "5.0.0", 1775556002000),
        ("EXIM_LETTER", HARD, "5.1.1", 1775556002000),
        ("EXCHANGE", HARD, "5.1.10", 1775556005000),
        ("GMAIL", HARD, "5.1.1", 1775556004000),
    ],
)
def test_bounces_of_the_usual_servers(name: str, verdict: EventStatus, code: str, at: int) -> None:
    bounce = read_bounce(samples.as_bytes(SAMPLES[name]))
    assert bounce is not None
    assert (bounce.verdict, bounce.code, bounce.at) == (verdict, code, at)
    assert bounce.recipient == "ann@mail.example"
    assert bounce.message_id == "<0123456789abcdef0123456789abcdef@carillon.example>"
    assert samples.LINK in bounce.returned
    assert "ann@" not in repr(bounce)
    if name != "EXIM_LETTER":  # there, the first From of the text is the returned message's too
        assert "it is ready" not in bounce.returned
    assert bounce.sender == "shop@acme.example"


@pytest.mark.parametrize("name", ["POSTFIX_DELAYED", "OUT_OF_OFFICE", "READ_RECEIPT", "RETURNED"])
def test_what_reports_no_failure(name: str) -> None:
    assert read_bounce(samples.as_bytes(SAMPLES[name])) is None


def test_returned_headers_may_be_encoded() -> None:
    parts = samples.POSTFIX_HEADERS.split(samples.RETURNED)
    head = "Content-Type: text/rfc822-headers\n"
    for name, body in (
        ("base64", base64.encodebytes(samples.RETURNED.encode()).decode()),
        ("quoted-printable", quopri.encodestring(samples.RETURNED.encode()).decode()),
    ):
        encoded = parts[0].replace(head, f"{head}Content-Transfer-Encoding: {name}\n") + body + parts[1]
        bounce = read_bounce(samples.as_bytes(encoded))
        assert bounce is not None
        assert bounce.message_id.startswith("<0123456789abcdef")
        assert samples.LINK in bounce.returned


@pytest.mark.parametrize("kind", ["message/rfc822-headers", "message/global-headers", "message/global"])
def test_other_ways_to_return_a_message(kind: str) -> None:
    bounce = read_bounce(samples.as_bytes(samples.POSTFIX.replace("message/rfc822", kind)))
    assert bounce is not None
    assert samples.LINK in bounce.returned


def several(*blocks: tuple[str, str]) -> bytes:
    fields = "\n\n".join(
        f"Final-Recipient: rfc822; {number}@mail.example\nAction: {action}\nStatus: {status}"
        for number, (action, status) in enumerate(blocks)
    )
    start, _, rest = samples.POSTFIX.partition("Final-Recipient: ")
    return samples.as_bytes(f"{start}{fields}\n\n--4ABCDE" + rest.partition("--4ABCDE")[2])


def test_a_list_is_bad_only_if_all_of_it_is() -> None:
    def verdict(*blocks: tuple[str, str]) -> EventStatus | None:
        bounce = read_bounce(several(*blocks))
        return bounce.verdict if bounce is not None else None

    assert verdict(("failed", "5.1.1")) is HARD
    assert verdict(("failed", "5.1.1"), ("failed", "5.1.1")) is HARD
    assert verdict(("failed", "5.1.1"), ("failed", "5.2.2")) is SOFT
    assert verdict(("failed", "5.1.1"), ("delivered", "2.0.0")) is SOFT
    assert verdict(("failed", "5.1.1"), ("delayed", "4.4.1")) is SOFT
    assert verdict(("relayed", "2.0.0")) is None
    assert verdict(("Failed (permanently)", "5.1.1 (no such user)")) is HARD


def test_a_report_without_what_was_returned_names_no_message() -> None:
    report = samples.POSTFIX.partition("--4ABCDE.1775556003/relay.acme.example\nContent-Description: Undel")[
        0
    ]
    bounce = read_bounce(samples.as_bytes(report + "--4ABCDE.1775556003/relay.acme.example--\n"))
    assert bounce is not None
    assert (bounce.verdict, bounce.message_id) == (HARD, "")


def test_strange_dates_are_no_dates() -> None:
    for date in ("yesterday", "Tue, 99 Apr 2026 10:00:03 +0000", ""):
        sample = samples.POSTFIX.replace("Date: Tue,  7 Apr 2026 10:00:03 +0000 (UTC)", f"Date: {date}", 1)
        bounce = read_bounce(samples.as_bytes(sample))
        assert bounce is not None
        assert bounce.at is None


def test_a_huge_mail_is_read_as_far_as_it_matters() -> None:
    bounce = read_bounce(samples.as_bytes(samples.POSTFIX) + b"x" * (LONGEST + 1))
    assert bounce is not None
    assert bounce.verdict is HARD


def test_nested_without_end_is_not_followed() -> None:
    deep = "".join(
        f'Content-Type: multipart/mixed; boundary="b{depth}"\n\n--b{depth}\n' for depth in range(3000)
    )
    assert read_bounce(samples.as_bytes(deep)) is None


_LINES = sorted({line for sample in SAMPLES.values() for line in sample.splitlines()})


@settings(max_examples=150)
@given(st.lists(st.sampled_from(_LINES) | st.text(max_size=30) | st.just(""), max_size=60))
def test_shuffled_reports_break_nothing(lines: list[str]) -> None:
    read_bounce("\r\n".join(lines).encode("utf-8", "surrogatepass"))


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_damaged_reports_break_nothing(name: str, data: st.DataObject) -> None:
    raw = bytearray(samples.as_bytes(SAMPLES[name]))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=8))
    read_bounce(bytes(raw))


@settings(max_examples=100)
@given(st.binary(max_size=400))
def test_any_bytes_break_nothing(raw: bytes) -> None:
    assert read_bounce(raw) is None
