"""A mailbox at a local Gmail: mail server, token endpoint and search."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from deploy.fakes.google import CLIENT_ID, CLIENT_SECRET, GoogleFake
from deploy.fakes.mail import MailFake
from schemas.records import Mailbox
from senders.mailbox_secrets import LocalSecrets
from senders.mailboxes import Mailboxes
from senders.settings import GmailSettings, Tls
from senders.smtp_email import SmtpEmail
from streams.domain.messages import Accepted, Outcome, service_address_note
from streams.secret import Secret
from tests.senders.samples import EMAIL, NOW, email, smtp_settings

BOX = Mailbox(id="box", company="acme", address="ann@gmail.com", secret_ref="env:BOX", version=1)
ACCEPTED = Accepted("gmail", EMAIL.message_id)


class MovedClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.moment = NOW

    def now(self) -> int:
        return self.moment

    def pass_(self, *, hours: float = 0, minutes: float = 0, seconds: float = 0) -> None:
        self.moment += int(((hours * 60 + minutes) * 60 + seconds) * 1000)


@dataclass
class World:
    clock: MovedClock
    google: GoogleFake
    gmail: MailFake
    relay: MailFake
    environ: dict[str, str]
    settings: GmailSettings
    sender: SmtpEmail

    def connect(self, mailbox: Mailbox, refresh_token: str, **more: Any) -> Mailbox:
        """The company allows it: Google knows the token, and the worker's environment has it."""
        self.google.accounts[refresh_token] = mailbox.address
        content = {"company": mailbox.company, "refresh_token": refresh_token} | more
        self.environ[mailbox.secret_ref.removeprefix("env:")] = json.dumps(content)
        return mailbox

    async def send(self, mailbox: Mailbox = BOX, **changes: Any) -> Outcome:
        return await self.sender.send(email(mailbox=mailbox, **changes))

    async def anew(self, **changes: Any) -> None:
        """Another worker, with other settings."""
        await self.sender.close()
        self.settings = replace(self.settings, **changes)
        self.sender = SmtpEmail(
            smtp_settings(self.relay),
            self.clock,
            mailboxes=Mailboxes(self.settings, self.clock, LocalSecrets(self.environ)),
        )

    @property
    def tried(self) -> int:
        """Transactions at Gmail."""
        return self.gmail.commands.count("MAIL")


@asynccontextmanager
async def opened(**changes: Any) -> AsyncIterator[World]:
    clock = MovedClock()
    google = GoogleFake(now=clock.now)
    gmail = MailFake(now=clock.now, bearer=google.accepts)
    google.sent = lambda: gmail.messages
    relay = MailFake(now=clock.now)
    for fake in (google, gmail, relay):
        await fake.start()
    settings = GmailSettings(
        client_id=CLIENT_ID,
        client_secret=Secret(CLIENT_SECRET),
        host="127.0.0.1",
        port=gmail.port,
        tls=Tls.NONE,
        token_url=google.url + "/token",
        api_url=google.url,
        local_name="test.example.org",
        per_second=1000,
        **changes,
    )
    world = World(clock, google, gmail, relay, {}, settings, SmtpEmail(smtp_settings(relay), clock))
    await world.anew()
    world.connect(BOX, "refresh-1")
    try:
        yield world
    finally:
        if google.hold is not None:
            google.hold.set()
        await world.sender.close()
        for fake in (google, gmail, relay):
            await fake.stop()


def instead(why: str) -> Accepted:
    """What a send gives that left from the service's address."""
    note = service_address_note("box", why)
    return Accepted("smtp", EMAIL.message_id, sender="shop@example.org", note=note)


def newer(mailbox: Mailbox = BOX, **changes: Any) -> Mailbox:
    return msgspec.structs.replace(mailbox, version=mailbox.version + 1, **changes)
