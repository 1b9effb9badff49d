"""Messages per second of our senders, of the client libraries' plain use and of the servers' own limits, in
one run against the same local servers, each in a process of its own. Not collected:
``python -m tests.benchmarks.senders_bench`` (``--messages 3000 --rounds 5``).

Texts go to the local SMS provider, which answers after 50 ms; e-mails to postfix's ``smtp-sink`` where it is
installed, else to the local mail server, which is slower than any of the senders. Compare the ratios: wall
time belongs to the machine and to whoever else uses it, CPU time is this process's alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.headerregistry import Address
from email.message import EmailMessage as LibraryMessage
from pathlib import Path
from typing import Any

import aiosmtplib
import uvloop
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client

from deploy.fakes.sms import ACCOUNT, TOKEN
from senders.mime import build
from senders.settings import DkimKey, SmtpSettings, Tls, TwilioSettings
from senders.smtp_email import SmtpEmail
from senders.twilio_sms import TwilioSms
from streams.domain.messages import Accepted
from streams.secret import Secret
from tests.benchmarks import ending
from tests.benchmarks.measure import Spread, Table, machine, save
from tests.senders.samples import NOW, StillClock, email, sms
from tests.support.mail_sink import mail_sink, mail_sink_there, source_limit

AT_ONCE = 64
CONNECTIONS = 8
LATENCY = 0.05
"""Seconds, of the SMS provider."""

TEXT = "Your order B-1042 is ready.\nWe are open until six.\n.. and on Saturdays until one.\n" * 6
EMAIL = email(text=TEXT, html="".join(f"<p>{line}</p>\n" for line in TEXT.splitlines()))

Send = Callable[[int, int], Awaitable[object]]
"""Of (worker, number of the message)."""


@dataclass(slots=True)
class Row:
    label: str
    at_once: int
    send: Send
    rates: list[float] = field(default_factory=list)
    """Messages a second by the clock on the wall."""
    costs: list[float] = field(default_factory=list)
    """Microseconds of this process's CPU for one message."""


async def compare(messages: int, rounds: int) -> Table:
    made = Table(
        "senders",
        "Senders, rendering and log apart",
        ("", "messages/s", "us of CPU each", "of the first, by wall", "of the first, by CPU"),
    )
    with tempfile.TemporaryDirectory() as name:
        async with serve("sms", Path(name)) as port, sms_rows(port) as rows:
            say(f"SMS, {AT_ONCE} at once, {LATENCY * 1000:.0f} ms until an answer")
            await measure(rows, messages, rounds)
            table(rows)
            add(made, "SMS", rows)
        async with mail_server(Path(name)) as port, email_rows(port) as rows:
            size = len(build(EMAIL, NOW).data)
            say(
                f"e-mail of {size} bytes, {CONNECTIONS} connections"
                + ("" if mail_sink_there() else " (no smtp-sink)")
            )
            await measure(rows, messages, rounds)
            table(rows)
            add(made, "e-mail", rows)
            if mail_sink_there():
                limits = [source_limit(port, messages * 4, size, CONNECTIONS) for _ in range(rounds)]
                say(f"  {'smtp-source, in C: the limit of the sink':<44} {statistics.median(limits):8,.0f}/s")
                made.rows.append(("e-mail: smtp-source, in C", str(Spread.of(limits)), "", "", ""))
    made.notes = [
        f"SMS: {AT_ONCE} at once, {LATENCY * 1000:.0f} ms until an answer; e-mail: {CONNECTIONS} connections"
        + ("" if mail_sink_there() else ", no smtp-sink here: the local mail server is the limit"),
    ]
    return made


def add(made: Table, what: str, rows: Sequence[Row]) -> None:
    first = rows[0]
    for row in rows:
        by_wall = Spread.of(own / its for own, its in zip(row.rates, first.rates, strict=True))
        by_cpu = Spread.of(its / own for own, its in zip(row.costs, first.costs, strict=True))
        rates, costs = Spread.of(row.rates), Spread.of(row.costs)
        made.rows.append((f"{what}: {row.label}", str(rates), str(costs), str(by_wall), str(by_cpu)))
        made.values[f"{what} {row.label}"] = costs.middle


# --- texts


@asynccontextmanager
async def sms_rows(port: int) -> AsyncIterator[list[Row]]:
    url = f"http://127.0.0.1:{port}"
    slow = {"clear": True, "behaviours": [{"fault": "delay", "seconds": LATENCY, "times": 0}]}
    body, kind = json.dumps(slow).encode(), {"Content-Type": "application/json"}
    await asyncio.to_thread(urllib.request.urlopen, urllib.request.Request(f"{url}/_control", body, kind))
    sender = TwilioSms(TwilioSettings(account_sid=ACCOUNT, token=Secret(TOKEN), api_base=url), StillClock())
    plain = AsyncTwilioHttpClient()
    client = Client(ACCOUNT, TOKEN, http_client=plain)
    client.api.base_url = url
    sample = sms()

    async def theirs(_: int, number: int) -> None:
        text = f"{sample.text} {number}"
        assert (await client.messages.create_async(to=sample.to, from_=sample.sender, body=text)).sid

    async def ours(_: int, number: int) -> None:
        assert isinstance(await sender.send(sms(text=f"{sample.text} {number}")), Accepted)

    yield [Row("twilio client, plain use", AT_ONCE, theirs), Row("ours", AT_ONCE, ours)]
    await sender.close()
    await plain.close()


# --- e-mails


@asynccontextmanager
async def email_rows(port: int) -> AsyncIterator[list[Row]]:
    """The first is what the others are compared with."""
    clients = [
        aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False, use_tls=False)
        for _ in range(CONNECTIONS)
    ]
    for client in clients:
        await client.connect()
    data = build(EMAIL, NOW).data

    async def bytes_made_before(worker: int, _: int) -> None:
        await clients[worker].sendmail(EMAIL.from_address, [EMAIL.to_address], data)

    async def library_message(worker: int, number: int) -> None:
        message = LibraryMessage()
        message["From"] = Address(EMAIL.from_name, addr_spec=EMAIL.from_address)
        message["To"] = Address(EMAIL.to_name, addr_spec=EMAIL.to_address)
        message["Subject"] = EMAIL.subject
        message["Message-ID"] = f"<{number:032x}@carillon.example>"
        message.set_content(EMAIL.text)
        message.add_alternative(EMAIL.html, subtype="html")
        await clients[worker].send_message(message)

    senders = [_sender(port), _sender(port, _ed25519()), _sender(port, _rsa())]
    labels = ("ours: message made, sent", "ours, signed with Ed25519", "ours, signed with RSA 2048")
    yield [
        Row("aiosmtplib, bytes made before", CONNECTIONS, bytes_made_before),
        Row("aiosmtplib, a library's EmailMessage each", CONNECTIONS, library_message),
        *(Row(label, AT_ONCE, _by(sender)) for label, sender in zip(labels, senders, strict=True)),
    ]
    for sender in senders:
        await sender.close()
    for client in clients:
        client.close()


def _by(sender: SmtpEmail) -> Send:
    async def send(_: int, number: int) -> None:
        message = email(text=EMAIL.text, html=EMAIL.html, message_id=f"<{number:032x}@carillon.example>")
        assert isinstance(await sender.send(message), Accepted)

    return send


def _sender(port: int, *keys: bytes) -> SmtpEmail:
    settings = SmtpSettings(host="127.0.0.1", port=port, tls=Tls.NONE, connections=CONNECTIONS)
    dkim = tuple(
        DkimKey(domain="example.org", selector="a", private_key=Secret(key.decode())) for key in keys
    )
    return SmtpEmail(settings, StillClock(), dkim=dkim)


def _rsa() -> bytes:
    return _pem(rsa.generate_private_key(65537, 2048))


def _ed25519() -> bytes:
    return _pem(ed25519.Ed25519PrivateKey.generate())


def _pem(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


# --- measuring


async def measure(rows: Sequence[Row], messages: int, rounds: int) -> None:
    """Round by round, so that what else the machine does falls on all of them."""
    for row in rows:
        await _run(row, AT_ONCE)
    for _ in range(rounds):
        for row in rows:
            wall, cpu = time.perf_counter(), time.process_time()
            await _run(row, messages)
            row.costs.append((time.process_time() - cpu) / messages * 1e6)
            row.rates.append(messages / (time.perf_counter() - wall))


async def _run(row: Row, messages: int) -> None:
    numbers = iter(range(messages))

    async def worker(index: int) -> None:
        for number in numbers:
            await row.send(index, number)

    await asyncio.gather(*(worker(index) for index in range(row.at_once)))


def table(rows: Sequence[Row]) -> None:
    """Medians over the rounds; ratios to the first row, round by round: smallest, median, largest."""
    first = rows[0]
    for row in rows:
        rate, cost = statistics.median(row.rates), statistics.median(row.costs)
        told = f"  {row.label:<44} {rate:8,.0f}/s {cost:6.0f} us CPU"
        if row is not first:
            by_wall = [own / its for own, its in zip(row.rates, first.rates, strict=True)]
            by_cpu = [its / own for own, its in zip(row.costs, first.costs, strict=True)]
            told += f"   {_span(by_wall)} of the first by wall, {_span(by_cpu)} by CPU"
        say(told)


def _span(ratios: Sequence[float]) -> str:
    return f"{min(ratios):.2f} {statistics.median(ratios):.2f} {max(ratios):.2f}"


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


# --- servers


@asynccontextmanager
async def mail_server(folder: Path) -> AsyncIterator[int]:
    if mail_sink_there():
        with mail_sink(keep=False) as sink:
            yield sink.port
    else:
        async with serve("mail", folder) as port:
            yield port


@asynccontextmanager
async def serve(name: str, folder: Path) -> AsyncIterator[int]:
    """The local provider ``name`` as a process; its port."""
    ready = folder / f"{name}.ready"
    arguments = ["-m", f"deploy.fakes.{name}", "--ready-file", str(ready)]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=Path(__file__).parents[2])
    try:
        async with asyncio.timeout(30):
            while not ready.exists():  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.02)
        facts: dict[str, Any] = json.loads(ready.read_text())
        yield int(facts["port"])
    finally:
        process.terminate()
        await process.wait()


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m tests.benchmarks.senders_bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    options = parser.parse_args(given)
    save(options.out, [uvloop.run(compare(options.messages, options.rounds))], machine())


if __name__ == "__main__":
    sys.exit(ending.run(main))
