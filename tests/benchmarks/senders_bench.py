"""Messages per second of our senders and of the client libraries' plain use, in one run against the same
local servers, each in a process of its own. Not collected: ``python -m tests.benchmarks.senders_bench``.

Compare the ratios; absolute numbers belong to the machine.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from email.headerregistry import Address
from email.message import EmailMessage as LibraryMessage
from pathlib import Path
from typing import Any

import aiosmtplib
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client

from deploy.fakes.sms import ACCOUNT, TOKEN
from senders.settings import SmtpSettings, Tls, TwilioSettings
from senders.smtp_email import SmtpEmail
from senders.twilio_sms import TwilioSms
from streams.domain.messages import Accepted
from streams.secret import Secret
from tests.senders.samples import EMAIL, SMS, StillClock

MESSAGES = 1500
AT_ONCE = 32

Send = Callable[[], Awaitable[object]]


async def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        sms, sms_at = await _serve("sms", Path(name))
        mail, mail_at = await _serve("mail", Path(name))
        try:
            for label, run in (("SMS", _sms(sms_at)), ("e-mail", _email(mail_at))):
                rates = await run
                each = (f"{who} {rate:,.0f}/s ({cpu:.0f} us CPU)" for who, rate, cpu in rates)
                ratio = rates[0][1] / rates[1][1]
                sys.stdout.write(f"{label}: {', '.join(each)}; ours is {ratio:.1f} times the plain use\n")
        finally:
            for process in (sms, mail):
                process.terminate()
                await process.wait()


async def _sms(at: dict[str, Any]) -> list[tuple[str, float, float]]:
    url = f"http://{at['host']}:{at['port']}"
    sender = TwilioSms(TwilioSettings(account_sid=ACCOUNT, token=Secret(TOKEN), api_base=url), StillClock())
    plain = AsyncTwilioHttpClient()
    client = Client(ACCOUNT, TOKEN, http_client=plain)
    client.api.base_url = url

    async def ours() -> None:
        assert isinstance(await sender.send(SMS), Accepted)

    async def theirs() -> None:
        assert (await client.messages.create_async(to=SMS.to, from_=SMS.sender, body=SMS.text)).sid

    rates = [await _rate("ours", ours), await _rate("plain twilio", theirs)]
    await sender.close()
    await plain.close()
    return rates


async def _email(at: dict[str, Any]) -> list[tuple[str, float, float]]:
    sender = SmtpEmail(SmtpSettings(host=at["host"], port=at["port"], tls=Tls.NONE), StillClock())

    async def ours() -> None:
        assert isinstance(await sender.send(EMAIL), Accepted)

    async def theirs() -> None:
        message = LibraryMessage()
        message["From"] = Address(EMAIL.from_name, addr_spec=EMAIL.from_address)
        message["To"] = Address(EMAIL.to_name, addr_spec=EMAIL.to_address)
        message["Subject"] = EMAIL.subject
        message["Message-ID"] = EMAIL.message_id
        message.set_content(EMAIL.text)
        message.add_alternative(EMAIL.html, subtype="html")
        await aiosmtplib.send(message, hostname=at["host"], port=at["port"], start_tls=False)

    rates = [await _rate("ours", ours), await _rate("plain aiosmtplib", theirs)]
    await sender.close()
    return rates


async def _rate(label: str, send: Send) -> tuple[str, float, float]:
    """Messages per second and microseconds of this process's CPU for each."""
    left = iter(range(MESSAGES))

    async def worker() -> None:
        for _ in left:
            await send()

    await send()
    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    spent = time.process_time() - cpu
    return label, MESSAGES / (time.perf_counter() - wall), spent / MESSAGES * 1e6


async def _serve(name: str, folder: Path) -> tuple[asyncio.subprocess.Process, dict[str, Any]]:
    ready = folder / f"{name}.ready"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"deploy.fakes.{name}",
        "--ready-file",
        str(ready),
        cwd=Path(__file__).parents[2],
    )
    async with asyncio.timeout(30):
        while not ready.exists():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.02)
    facts: dict[str, Any] = json.loads(ready.read_text())
    return process, facts


if __name__ == "__main__":
    asyncio.run(main())
