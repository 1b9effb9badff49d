"""The world around the workers in the scene of the providers: ``carillon gateway`` and a local Gmail as
processes of their own, and the hands of customers and mail servers (``console.demo.acts``)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from email import message_from_string
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from console.demo.acts import Act, GmailTakesAndHangsUp, OneClick, ReportBounce, RevokeMailbox, TextBack
from console.demo.cast import Person, Shop
from console.demo.ledgers import Ledgers
from console.demo.narrator import utc
from console.demo.processes import DemoError, Processes, read_ready, wait_until_ready
from deploy.fakes.google import CLIENT_ID, CLIENT_SECRET
from deploy.fakes.http_sms import DESCRIPTION
from schemas.records import Channel
from streams.clock import FileClock

PUBLIC = "https://hooks.spokeandwheel.example"
"""What the world calls the gateway. Its reverse proxy is played by whoever posts here."""
OUTSIDE = ("gmail", "http_sms")
"""The local providers that are started besides the usual."""
REFRESH_TOKEN = "demo-refresh"  # noqa: S105 - of a local Gmail

_SECRETS = {"DEMO_LINK_KEY": "a key for the links of the demo", "DEMO_GMAIL_SECRET": CLIENT_SECRET}
_READY_WITHIN = 60.0
_PIPE_WITHIN = 90.0

_REPORT = """\
From: Mail Delivery Subsystem <mailer-daemon@mx.example.com>
To: bounces@spokeandwheel.example
Subject: Undelivered Mail Returned to Sender
Date: {date}
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="=_report"

--=_report

Your message to {address} could not be delivered.
--=_report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.com

Final-Recipient: rfc822; {address}
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 No such user here

--=_report
Content-Type: text/rfc822-headers

{returned}
--=_report--
"""


class Outside:
    """``ask_sms`` posts a wish to the SMS provider and returns its answer."""

    def __init__(
        self,
        shop: Shop,
        scratch: Path,
        processes: Processes,
        clock: FileClock,
        ledgers: Ledgers,
        ask_sms: Callable[[Mapping[str, object]], Mapping[str, Any]],
    ) -> None:
        self._shop = shop
        self._scratch = scratch
        self._processes = processes
        self._clock = clock
        self._ledgers = ledgers
        self._ask_sms = ask_sms
        self._gmail_url = ""
        self._gateway_url = ""
        self._environment: Mapping[str, str | None] = {}

    def settings(self, gmail: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, str]:
        """What workers and gateway need to know besides the usual. ``gmail``, ``second``: their ready files,
        in the order of ``OUTSIDE``."""
        mailbox = self._shop.mailbox
        self._gmail_url = f"http://{gmail['host']}:{gmail['web_port']}"
        _post_json(f"{self._gmail_url}/_control", {"accounts": {REFRESH_TOKEN: mailbox.address}})
        secret = {"company": self._shop.company.id, "refresh_token": REFRESH_TOKEN}
        description = self._scratch / "second-sms.toml"
        description.write_text(DESCRIPTION.format(url=f"http://{second['host']}:{second['port']}"))
        return {
            **_SECRETS,
            "CARILLON_HTTP_SMS": str(description),
            "CARILLON_HTTP_SMS_TOKEN": "env:DEMO_SMS_TOKEN",
            mailbox.secret_ref.removeprefix("env:"): json.dumps(secret),
            "CARILLON_PUBLIC_URL": PUBLIC,
            "CARILLON_LINK_KEY": "env:DEMO_LINK_KEY",
            "CARILLON_GATEWAY_PORT": "0",
            "CARILLON_GMAIL_CLIENT": CLIENT_ID,
            "CARILLON_GMAIL_CLIENT_SECRET": "env:DEMO_GMAIL_SECRET",
            "CARILLON_GMAIL_HOST": str(gmail["host"]),
            "CARILLON_GMAIL_PORT": str(gmail["port"]),
            "CARILLON_GMAIL_TLS": "none",
            "CARILLON_GMAIL_TOKEN_URL": f"{self._gmail_url}/token",
            "CARILLON_GMAIL_API": self._gmail_url,
        }

    def start_gateway(self, environment: Mapping[str, str | None]) -> None:
        """Returns when it is ready. Raises DemoError."""
        data = self._scratch / "gateway"
        self._environment = {**environment, "CARILLON_DATA": str(data)}
        child = self._processes.start("gateway", ["-m", "console", "gateway"], self._environment)
        where = read_ready(data / "gateway.json", child, deadline=_READY_WITHIN)
        self._gateway_url = f"http://{where['host']}:{where['port']}"
        ready = f"http://{where['host']}:{where['web_port']}/ready"
        wait_until_ready(ready, child, deadline=_READY_WITHIN)
        self.lead_sms_to_gateway()

    def lead_sms_to_gateway(self) -> None:
        """A provider that was started again has forgotten it. It posts receipts from now on."""
        where = {"public": PUBLIC, "local": self._gateway_url}
        self._ask_sms({"gateway": where, "receipts": ["sent", "delivered"]})

    def act(self, act: Act) -> None:
        """Raises DemoError where what was meant to be taken is not."""
        match act:
            case TextBack(person, words):
                self._text(person, words)
            case OneClick(person):
                self._one_click(person)
            case ReportBounce(person):
                self._report(person)
            case GmailTakesAndHangsUp():
                cut = {"behaviours": [{"at": "kept", "fault": "close"}]}
                _post_json(f"{self._gmail_url}/_control", {"mail": cut})
            case RevokeMailbox():
                _post_json(f"{self._gmail_url}/_control", {"revoke": [REFRESH_TOKEN]})

    def _text(self, person: Person, words: str) -> None:
        text = {
            "url": f"{PUBLIC}/v1/sms/incoming",
            "sender": person.customer.phone,
            "to": self._shop.company.sms_sender,
            "body": words,
        }
        answer = self._ask_sms({"text": text})
        if answer.get("status") != 200:
            raise DemoError(f"the gateway did not take a text: {answer.get('status')}")

    def _one_click(self, person: Person) -> None:
        mail = message_from_string(self._newest(person))
        if mail["List-Unsubscribe-Post"] != "List-Unsubscribe=One-Click":
            raise DemoError("an e-mail has no List-Unsubscribe-Post")
        # Long headers are folded, an address has no blanks in it.
        link = "".join(str(mail["List-Unsubscribe"]).split()).strip("<>")
        body = urlencode({"List-Unsubscribe": "One-Click"}).encode()
        _post(self._gateway_url + link.removeprefix(PUBLIC), body, "application/x-www-form-urlencoded")

    def _report(self, person: Person) -> None:
        head = self._newest(person).replace("\r\n", "\n").strip()
        report = bounce_of(head, person.customer.email, self._clock.now())
        environment = {**os.environ, **self._environment}
        done = subprocess.run(
            [sys.executable, "-m", "console", "gateway", "bounce"],
            input=report,
            env={key: value for key, value in environment.items() if value is not None},
            capture_output=True,
            timeout=_PIPE_WITHIN,
            check=False,
        )
        if done.returncode or b"addresses blocked: 1" not in done.stderr:
            raise DemoError(f"the mail pipe did not take a bounce: {done.stderr.decode()}")

    def _newest(self, person: Person) -> str:
        """The header of their newest e-mail."""
        self._ledgers.read()
        for message in reversed(self._ledgers.messages):
            if message.channel is Channel.EMAIL and message.to == person.customer.email:
                return message.head
        raise DemoError(f"{person.name} has got no e-mail")


def bounce_of(returned: str, address: str, now: int) -> bytes:
    """A report as RFC 3464 has it, with the header of what is returned."""
    date = format_datetime(utc(now))
    return _REPORT.format(address=address, date=date, returned=returned).replace("\n", "\r\n").encode()


def _post_json(url: str, wish: Mapping[str, object]) -> None:
    _post(url, json.dumps(wish).encode(), "application/json")


def _post(url: str, body: bytes, kind: str) -> None:
    request = urllib.request.Request(url, body, {"Content-Type": kind})  # noqa: S310 - ours, on loopback
    try:
        urllib.request.urlopen(request, timeout=30).close()  # noqa: S310 - likewise
    except OSError as error:
        raise DemoError(f"not taken: {error}") from None
