"""What the local providers have accepted, read from the files that they keep (``deploy.fakes``)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
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
    """Both providers: every message so far, in the order in which it was accepted."""

    def __init__(self, sms: Path, mail: Path) -> None:
        self._files = (Ledger(sms / "sms.jsonl", Channel.SMS), Ledger(mail / "mail.jsonl", Channel.EMAIL))
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
    return Message(
        Channel.EMAIL, str(parsed["Message-ID"]).strip(), entry["to"][0], str(parsed["Subject"]), text
    )
