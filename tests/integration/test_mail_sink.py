"""Thousands of e-mails into the test sink of a real mail server (postfix's ``smtp-sink``)."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter

import pytest

from senders.settings import SmtpSettings, Tls
from senders.smtp_email import SmtpEmail
from streams.domain.messages import Accepted, Outcome, Rejected, RetryAt, Unknown
from streams.domain.reasons import Reason
from tests.senders.samples import StillClock, email
from tests.support.mail_sink import mail_sink, need_mail_sink

MESSAGES = 4000
AT_ONCE = 64


@pytest.fixture(autouse=True)
def _sink_there() -> None:
    need_mail_sink()


async def send(port: int, count: int, **changes: str) -> list[Outcome]:
    """``count`` messages, as many at once as a worker would, in no particular order."""
    sender = SmtpEmail(SmtpSettings(host="127.0.0.1", port=port, tls=Tls.NONE), StillClock())
    numbers = iter(range(count))
    outcomes: list[Outcome] = []

    async def worker() -> None:
        for number in numbers:
            message_id = f"<{number:032x}@carillon.example>"
            outcomes.append(await sender.send(email(message_id=message_id, **changes)))

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    await sender.close()
    return outcomes


async def test_each_of_thousands_arrives_once() -> None:
    with mail_sink() as sink:
        outcomes = await send(sink.port, MESSAGES, text=".dots\n..at the\n.beginning of lines\n")
        accepted = {outcome.provider_id for outcome in outcomes if isinstance(outcome, Accepted)}
        arrived = Counter(sink.message_ids())
        assert len(accepted) == len(outcomes) == MESSAGES
        assert arrived == Counter(accepted)
        source = sink.source().replace(b"\r\n", b"\n")
        assert source.count(b"\n\n.dots\n..at the\n.beginning of lines\n") == MESSAGES
        assert source.count(b"\nX-Mail-Args: <shop@example.org>\n") == MESSAGES


async def test_nothing_grows_with_what_was_sent() -> None:
    """Neither objects nor connections: what is left after a thousand is left after three thousand more."""
    with mail_sink(keep=False) as sink:
        settings = SmtpSettings(host="127.0.0.1", port=sink.port, tls=Tls.NONE, connections=4)
        sender = SmtpEmail(settings, StillClock())

        async def objects_after(count: int) -> int:
            for begin in range(0, count, AT_ONCE):
                messages = (email(subject=f"Order {number}") for number in range(begin, begin + AT_ONCE))
                outcomes = await asyncio.gather(*map(sender.send, messages))
                assert all(isinstance(outcome, Accepted) for outcome in outcomes)
            del outcomes
            gc.collect()
            return len(gc.get_objects())

        before = await objects_after(1000)
        after = await objects_after(3000)
        await sender.close()
        assert after - before < 500


@pytest.mark.parametrize(
    ("option", "words", "kind", "reason"),
    [
        ("-q", "mail", RetryAt, Reason.UNREACHABLE),
        ("-q", "rcpt", RetryAt, Reason.UNREACHABLE),
        ("-q", "data", RetryAt, Reason.UNREACHABLE),
        ("-q", ".", Unknown, Reason.NO_ANSWER),
        ("-r", "rcpt", RetryAt, Reason.PROVIDER_BUSY),
        ("-r", ".", RetryAt, Reason.PROVIDER_BUSY),
        ("-f", "rcpt", Rejected, Reason.REFUSED),
        ("-f", ".", Rejected, Reason.REFUSED),
    ],
)
async def test_what_it_does_not_take_is_not_called_sent(
    option: str, words: str, kind: type[Outcome], reason: Reason
) -> None:
    """-q hangs up after the command, -r refuses it for now, -f for good."""
    with mail_sink(option, words) as sink:
        outcomes = await send(sink.port, 40)
        found = {(type(outcome), getattr(outcome, "reason", None)) for outcome in outcomes}
        assert (len(outcomes), found) == (40, {(kind, reason)})
