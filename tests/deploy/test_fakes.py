"""The local providers as processes: ready file, ledger that outlives a kill, control."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import aiosmtplib
import pytest

from deploy.fakes.google import CLIENT_ID, CLIENT_SECRET
from deploy.fakes.ledger import Ledger
from deploy.fakes.sms import ACCOUNT, TOKEN, segments_of
from senders.settings import TwilioSettings
from senders.twilio_sms import TwilioSms
from streams.clock import FileClock
from streams.domain.messages import Accepted, RetryAt
from streams.secret import Secret
from tests.senders.samples import NOW, SMS, StillClock, sms


async def started(name: str, folder: Path, *more: str) -> tuple[asyncio.subprocess.Process, dict[str, Any]]:
    ready = folder / f"{name}.ready"
    ready.unlink(missing_ok=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"deploy.fakes.{name}",
        "--ready-file", str(ready), "--ledger", str(folder / "ledger"), *more,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    async with asyncio.timeout(30):
        while not ready.exists():
            assert process.returncode is None, "it ended before it was ready"
            await asyncio.sleep(0.02)
    facts: dict[str, Any] = json.loads(ready.read_text())
    assert facts["pid"] == process.pid
    return process, facts


async def ended(process: asyncio.subprocess.Process, number: int) -> int:
    os.kill(process.pid, number)
    async with asyncio.timeout(10):
        return await process.wait()


async def test_sms_keeps_what_it_accepted_through_a_kill(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    FileClock(clock, start=NOW)
    process, facts = await started("sms", tmp_path, "--clock", str(clock))
    url = f"http://{facts['host']}:{facts['port']}"
    sender = TwilioSms(TwilioSettings(account_sid=ACCOUNT, token=Secret(TOKEN), api_base=url), StillClock())
    assert isinstance(await sender.send(sms()), Accepted)
    async with aiohttp.ClientSession() as session:
        control = {"behaviours": [{"fault": "refuse", "status": 429, "code": 20429, "retry_after": "3"}]}
        async with session.post(f"{url}/_control", json=control) as answer:
            assert await answer.json() == {"behaviours": 1, "held": 0}
        async with session.post(f"{url}/_control", json={"behaviours": [{"fault": "??"}]}) as answer:
            assert answer.status == 400
    refused = await sender.send(sms())
    assert isinstance(refused, RetryAt)
    assert refused.after == 3000
    assert await ended(process, signal.SIGKILL) == -signal.SIGKILL
    await sender.close()

    process, facts = await started("sms", tmp_path)
    url = f"http://{facts['host']}:{facts['port']}"
    sender = TwilioSms(TwilioSettings(account_sid=ACCOUNT, token=Secret(TOKEN), api_base=url), StillClock())
    assert isinstance(await sender.inquire(sms(), NOW, NOW), Accepted), "kept, at the demo clock's time"
    await sender.send(sms(text="<b>bold</b>"))
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}/_messages") as answer:
            assert [one["body"] for one in await answer.json()] == [SMS.text, "<b>bold</b>"]
        async with session.get(url) as answer:
            assert "&lt;b&gt;bold" in await answer.text()
    await sender.close()
    assert await ended(process, signal.SIGTERM) == 0


async def test_mail_keeps_what_it_accepted(tmp_path: Path) -> None:
    process, facts = await started("mail", tmp_path)
    await aiosmtplib.send(
        "Subject: x\n\nhello\n",
        sender="a@x.example",
        recipients=["b@y.example"],
        hostname=facts["host"],
        port=facts["port"],
    )
    assert await ended(process, signal.SIGTERM) == 0
    folder = tmp_path / "ledger"
    assert (folder / "000001.eml").read_bytes() == b"Subject: x\r\n\r\nhello\r\n"
    [line] = (folder / "mail.jsonl").read_text().splitlines()
    assert json.loads(line)["to"] == ["b@y.example"]


async def test_gmail_takes_tokens_until_they_are_revoked(tmp_path: Path) -> None:
    process, facts = await started("gmail", tmp_path)
    url = f"http://{facts['host']}:{facts['web_port']}"
    form = {
        "grant_type": "refresh_token",
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "refresh_token": "r1",
    }

    async def log_in(token: str) -> int:
        client = aiosmtplib.SMTP(hostname=facts["host"], port=facts["port"], start_tls=False)
        await client.connect()
        try:
            return (await client.auth_xoauth2("ann@gmail.example", token)).code
        except aiosmtplib.SMTPAuthenticationError as error:
            return error.code
        finally:
            client.close()

    async with aiohttp.ClientSession() as session:

        async def post(path: str, **more: Any) -> tuple[int, Any]:
            async with session.post(url + path, **more) as answer:
                return answer.status, await answer.json()

        assert (await post("/token", data=form))[1]["error"] == "invalid_grant"
        cut = {"behaviours": [{"at": "kept", "fault": "close"}]}
        wish = {"accounts": {"r1": "ann@gmail.example"}, "mail": cut}
        assert await post("/_control", json=wish) == (200, {"accounts": 1})
        assert (await post("/_control", json={"mail": {"behaviours": [{"at": "nowhere"}]}}))[0] == 400
        token = (await post("/token", data=form))[1]["access_token"]
        assert await log_in(token) == 235
        assert await post("/_control", json={"revoke": ["r1"]}) == (200, {"accounts": 0})
        assert await log_in(token) == 535
        assert (await post("/token", data=form))[1]["error"] == "invalid_grant"
    assert await ended(process, signal.SIGTERM) == 0


async def test_what_is_held_is_served_when_it_is_released(tmp_path: Path) -> None:
    mails, facts = await started("mail", tmp_path)
    control = aiosmtplib.SMTP(hostname=facts["host"], port=facts["port"])
    await control.connect()

    async def wish(text: bytes) -> tuple[int, str]:
        reply = await control.execute_command(b"XCONTROL", text)
        return reply.code, reply.message

    assert await wish(b'{"behaviours": [{"at": "rcpt", "fault": "hold"}]}') == (
        250,
        '{"behaviours": 1, "held": 0}',
    )
    assert (await wish(b'{"behaviours": [{"at": "nowhere", "fault": "hold"}]}'))[0] == 501
    mail = asyncio.create_task(
        aiosmtplib.send(
            "Subject: x\n\nhello\n",
            sender="a@x.example",
            recipients=["b@y.example"],
            hostname=facts["host"],
            port=facts["port"],
        )
    )
    async with asyncio.timeout(30):
        while '"held": 1' not in (await wish(b"{}"))[1]:
            assert not mail.done()
            await asyncio.sleep(0.01)
    assert not (tmp_path / "ledger" / "000001.eml").exists()
    await wish(b'{"release": true}')
    await mail
    assert (tmp_path / "ledger" / "000001.eml").exists()
    control.close()
    assert await ended(mails, signal.SIGTERM) == 0

    texts, facts = await started("sms", tmp_path)
    url = f"http://{facts['host']}:{facts['port']}"
    sender = TwilioSms(TwilioSettings(account_sid=ACCOUNT, token=Secret(TOKEN), api_base=url), StillClock())

    async with aiohttp.ClientSession() as session:

        async def held(**more: object) -> int:
            async with session.post(f"{url}/_control", json=more) as answer:
                return int((await answer.json())["held"])

        await held(behaviours=[{"fault": "hold"}])
        text = asyncio.create_task(sender.send(sms()))
        async with asyncio.timeout(30):
            while await held() < 1:
                assert not text.done()
                await asyncio.sleep(0.01)
        await held(release=True)
        assert isinstance(await text, Accepted)
    await sender.close()
    assert await ended(texts, signal.SIGTERM) == 0


async def test_a_line_cut_off_by_a_crash_is_taken_back(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(b'{"n": 1}\n{"n": 2')
    ledger = Ledger(file)
    ledger.append({"n": 3})
    ledger.close()
    assert [json.loads(line) for line in file.read_text().splitlines()] == [{"n": 1}, {"n": 3}]


@pytest.mark.parametrize(
    ("text", "segments"),
    [("", 1), ("a" * 160, 1), ("a" * 161, 2), ("€" * 80, 1), ("€" * 81, 2), ("ж" * 70, 1), ("ж" * 71, 2)],
)
def test_segments(text: str, segments: int) -> None:
    assert segments_of(text) == segments
