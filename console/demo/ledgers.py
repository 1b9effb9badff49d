"""What the local providers have accepted, read from the files that they keep (``deploy.fakes``)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from email import message_from_string, policy
from pathlib import Path
from typing import Any

from schemas.records import Channel


@dataclass(frozen=True, slots=True)
class Message:
    """One message that a provider has taken responsibility for."""

    channel: Channel
    provider_id: str
    """SID, or Message-ID with its angle brackets."""
    to: str
    subject: str
    text: str
    head: str = field(default="", repr=False, compare=False)
    """Of an e-mail: its header as it arrived."""


class Ledger:
    """One file of JSON lines that grows; each ``read`` returns what is new."""

    def __init__(self, file: Path, channel: Channel) -> None:
        self._file = file
        self._channel = channel
        self._at = 0

    def read(self) -> list[Message]:
        try:
            with self._file.open("rb") as file:
                file.seek(self._at)
                data = file.read()
        except FileNotFoundError:  # nothing was accepted so far
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._at += len(whole)
        build = _sms if self._channel is Channel.SMS else _mail
        return [build(json.loads(line)) for line in whole.splitlines()]


class Ledgers:
    """All providers: every message so far, in the order in which each accepted them. ``texts``, ``mails``:
    the folders of each, which need not be there."""

    def __init__(self, texts: Iterable[Path], mails: Iterable[Path]) -> None:
        self._files = (
            *(Ledger(folder / "sms.jsonl", Channel.SMS) for folder in texts),
            *(Ledger(folder / "mail.jsonl", Channel.EMAIL) for folder in mails),
        )
        self.messages: list[Message] = []
        self.by_id: dict[str, Message] = {}

    def read(self) -> int:
        """Takes in what is new; how many messages there are now."""
        for file in self._files:
            for message in file.read():
                self.messages.append(message)
                self.by_id.setdefault(message.provider_id, message)
        return len(self.messages)


def _sms(entry: Mapping[str, Any]) -> Message:
    return Message(Channel.SMS, entry["sid"], entry["to"], "", entry["body"])


def _mail(entry: Mapping[str, Any]) -> Message:
    parsed = message_from_string(entry["data"], policy=policy.default)
    body = parsed.get_body(("plain", "html"))
    text = body.get_content().strip() if body is not None else ""
    head = entry["data"].partition("\r\n\r\n")[0] + "\r\n\r\n"
    message_id, subject = str(parsed["Message-ID"]).strip(), str(parsed["Subject"])
    return Message(Channel.EMAIL, message_id, entry["to"][0], subject, text, head)
