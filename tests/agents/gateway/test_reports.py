"""Reports that somebody has made up: nothing breaks, and nothing is blocked but what a link of ours names."""

from __future__ import annotations

import base64
import quopri

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from agents.gateway.directory import Directory, GatewayCatalog
from agents.gateway.events import Happening, of_report
from senders.dsn import LONGEST, read_bounce
from streams.domain.links import Links
from tests.agents.gateway.conftest import ACME, LINKS, PUBLIC, REF
from tests.senders import dsn_samples as samples

OURS = LINKS.unsubscribe(REF)
FORGED = Links(PUBLIC, [b"guessed"]).unsubscribe(REF)
RECEIPT = LINKS.receipts(REF).replace("/v1/sms/status/", "/v1/unsubscribe/")
"""A token of ours, for something else."""

CATALOG = GatewayCatalog()
CATALOG.apply(ACME)
DIRECTORY = Directory(CATALOG)


def happenings(mail: bytes) -> list[Happening]:
    bounce = read_bounce(mail)
    return of_report(bounce, LINKS, DIRECTORY, "carillon.example", 1_775_600_000_000) if bounce else []


# --- mails as trees of parts

_CHARSETS = ("utf-8", "us-ascii", "utf-16", "utf-7", "x-none", "idna", "zlib", "base64", "\xff", "iso-8859-1")
_CODINGS = ("", "7bit", "8bit", "base64", "quoted-printable", "x-uuencode", "gzip")
_STATUSES = (
    "Reporting-MTA: dns; mx\n\nFinal-Recipient: rfc822; ann@mail.example\nAction: failed\nStatus: 5.1.1\n",
    "Action: failed\nStatus: 5.1.1\n\n" * 3,
    "Status: 5.0.0\nAction: failed\nDiagnostic-Code: smtp; 550 no such user\n",
    "Action: delayed\nStatus: 4.4.1\n",
    "Final-Recipient: rfc822; " + "<" * 50 + "\nAction: failed\n",
)


def _encoded(text: str, coding: str) -> str:
    raw = text.encode("utf-8", "surrogatepass")
    match coding:
        case "base64":
            return base64.encodebytes(raw).decode()
        case "quoted-printable":
            return quopri.encodestring(raw).decode()
    return text


_RETURNING = ("text/rfc822-headers", "message/rfc822-headers", "message/rfc822", "message/global")
_CONTAINERS = (
    "multipart/report; report-type=delivery-status",
    "multipart/mixed",
    "message/rfc822",
    "nonsense",
)


def _leaves(link: str) -> st.SearchStrategy[tuple[str, str]]:
    """(content type, body) of a part without parts."""
    returned = samples.RETURNED.replace(samples.LINK, link) + "\nit is ready\n"
    letter = f"550 5.1.1 no such user\n\n{returned}"
    return st.one_of(
        st.tuples(st.just("message/delivery-status"), st.sampled_from(_STATUSES)),
        st.tuples(st.sampled_from(_RETURNING), st.just(returned)),
        st.tuples(
            st.sampled_from(("text/plain", "text/html", "image/png")), st.just(letter) | st.text(max_size=30)
        ),
    )


@st.composite
def part(draw: st.DrawFn, link: str, depth: int = 0) -> str:
    """A part with its header. Now and then a boundary is that of the part around it, or never ends."""
    coding = draw(st.sampled_from(_CODINGS))
    charset = draw(st.sampled_from(("utf-8", *_CHARSETS)))
    if (depth < 3 and draw(st.booleans())) or depth == 0:
        kind = draw(st.sampled_from(_CONTAINERS))
        boundary = draw(st.sampled_from((f"b{depth}", f"b{depth}", "b0", "")))
        inner = draw(st.lists(part(link, depth + 1), min_size=1, max_size=4))
        body = "".join(f"--{boundary}\n{one}\n" for one in inner)
        body += draw(st.sampled_from((f"--{boundary}--\n", "")))
        return f'Content-Type: {kind}; boundary="{boundary}"\n\n{body}'
    kind, body = draw(_leaves(link))
    head = f'Content-Type: {kind}; charset="{charset}"\n'
    if coding:
        head += f"Content-Transfer-Encoding: {coding}\n"
    return f"{head}\n{_encoded(body, coding)}"


_HEADS = (
    "From: MAILER-DAEMON\nMIME-Version: 1.0\n",
    "From: MAILER-DAEMON\nX-Failed-Recipients: ann@mail.example\n",
    "Date: \n",
    "\ufeffFrom: x\n",
)


@st.composite
def mail(draw: st.DrawFn, link: str) -> bytes:
    whole = draw(st.sampled_from(_HEADS)) + draw(part(link))
    whole = whole.replace("\n", draw(st.sampled_from(("\r\n", "\n", "\r"))))
    raw = whole.encode(draw(st.sampled_from(("utf-8", "latin-1", "utf-16"))), "replace")
    return raw[: draw(st.integers(0, len(raw)))] if draw(st.integers(0, 3)) == 0 else raw


SLOW = settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow], deadline=None)


def test_the_mails_made_up_below_are_often_reports() -> None:
    """Else the two tests after this one would hold for nothing."""
    tries = settings(SLOW, max_examples=500, phases=[Phase.generate], database=None)
    assert find(mail(OURS), lambda raw: any(one.block for one in happenings(raw)), settings=tries)
    assert find(mail(FORGED), lambda raw: bool(happenings(raw)), settings=tries)


@SLOW
@given(st.one_of(mail(FORGED), mail(RECEIPT), mail("https://news.example/v1/unsubscribe/x")))
def test_nothing_is_blocked_without_a_link_of_ours(raw: bytes) -> None:
    assert not any(one.block or one.free for one in happenings(raw))


@SLOW
@given(mail(OURS))
def test_nobody_is_blocked_but_whom_the_link_names(raw: bytes) -> None:
    for one in happenings(raw):
        assert not one.free
        assert not one.block or (one.event.company, one.event.address) == ("acme", "ann@mail.example")


@pytest.mark.parametrize("name", ["POSTFIX", "POSTFIX_HEADERS", "EXIM", "EXIM_LETTER", "EXCHANGE", "GMAIL"])
def test_the_same_reports_block_with_the_link_and_do_not_without(name: str) -> None:
    (with_link,) = happenings(samples.as_bytes(getattr(samples, name), OURS))
    assert with_link.block == "bounce"
    for link in (FORGED, RECEIPT):
        (without,) = happenings(samples.as_bytes(getattr(samples, name), link))
        assert without.block == ""


def _wrapped(raw: bytes, times: int) -> bytes:
    """A report that is itself returned, and so on: two servers that bounce each other's bounces."""
    for _ in range(times):
        raw = b"From: MAILER-DAEMON\r\nContent-Type: message/rfc822\r\n\r\n" + raw
    return raw


def test_ten_megabytes_and_loops() -> None:
    report = samples.as_bytes(samples.POSTFIX, OURS)
    status = b"Content-Type: message/delivery-status\r\n\r\n"
    for hostile in (
        b"Subject: " + b"x" * 10_000_000,
        b"X: y\r\n" * 1_500_000,
        b"Subject: x\r\n" + b" y\r\n" * 2_500_000,
        status + b"Action: failed\r\n\r\n" * 500_000,
        status + b"Diagnostic-Code: smtp; " + b"550 " * 2_500_000,
        b'Content-Type: multipart/report; boundary="a"\r\n\r\n' + b"--a\r\n\r\nx\r\n" * 1_000_000,
        b"X-Failed-Recipients: " + b"ann@mail.example," * 600_000 + b"\r\n\r\n" + b"unknown user " * 100,
        _wrapped(report, 5_000),
        report.replace(b"it is ready", OURS.encode() * 50_000),
    ):
        assert len(hostile) > LONGEST // 5
        for one in happenings(hostile):
            assert one.block in ("", "bounce")
            assert not one.block or one.event.address == "ann@mail.example"


def test_a_bounce_of_a_bounce_is_none_of_ours() -> None:
    """It returns a report, not our mail: the link lies too deep to be believed."""
    assert happenings(_wrapped(samples.as_bytes(samples.POSTFIX, OURS), 1)) == []
