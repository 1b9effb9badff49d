"""A local Gmail as one process: the mail server that takes XOAUTH2 tokens, and beside it the token endpoint,
the search and ``/_control`` (``deploy.fakes.google``), whose port the ready file names ``web_port``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.fakes.google import GoogleFake
from deploy.fakes.mail import MailFake


@dataclass(slots=True, kw_only=True)
class GmailFake:
    now: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    folder: Path | None = None
    google: GoogleFake = field(init=False)
    mail: MailFake = field(init=False)

    def __post_init__(self) -> None:
        self.google = GoogleFake(now=self.now)
        self.mail = MailFake(now=self.now, folder=self.folder, bearer=self.google.accepts)
        self.google.mail, self.google.sent = self.mail, lambda: self.mail.messages

    @property
    def host(self) -> str:
        return self.mail.host

    @property
    def port(self) -> int:
        return self.mail.port

    @property
    def ports(self) -> Mapping[str, int]:
        return {"web_port": self.google.port}

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """``port`` is the mail server's; the other is chosen by the system."""
        await self.mail.start(host, port)
        await self.google.start(host)

    async def stop(self) -> None:
        await self.google.stop()
        await self.mail.stop()


if __name__ == "__main__":
    from deploy.fakes.process import main

    with contextlib.suppress(KeyboardInterrupt):
        main("gmail", lambda folder, now: GmailFake(folder=folder, now=now))
