"""Where the secret of a connected mailbox is. The topic holds a reference; the secret stays where the
operator put it, and is read again for every new access token, so that a renewed one needs no restart."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from schemas.records import Mailbox
from streams.secret import Secret

LARGEST = 16 * 1024


class SecretError(Exception):
    """The secret can't be used. The message says why and repeats nothing of it."""


class SecretStore(Protocol):
    """A vault of secrets. May do I/O; raises SecretError, or OSError where it can't be reached now."""

    async def read(self, reference: str) -> Secret: ...


class LocalSecrets:
    """``env:NAME`` of this process, ``file:PATH`` on this machine."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ

    async def read(self, reference: str) -> Secret:
        scheme, _, rest = reference.partition(":")
        if scheme == "env" and rest in self._environ:
            return Secret(self._environ[rest])
        if scheme == "file" and rest:
            return await asyncio.to_thread(_read_file, Path(rest))
        raise SecretError("there is no such secret in this worker")


def _read_file(path: Path) -> Secret:
    try:
        with path.open(encoding="utf-8") as file:
            return Secret(file.read(LARGEST))
    except (OSError, ValueError):
        raise SecretError("there is no such secret in this worker") from None


@dataclass(frozen=True, slots=True)
class Connection:
    """What a company allowed when it connected its mailbox."""

    refresh_token: Secret
    daily_limit: int


class _Content(msgspec.Struct):
    company: str
    refresh_token: str
    daily_limit: int = 0


_decoder = msgspec.json.Decoder(_Content)

CONSUMER_DOMAINS = frozenset({"gmail.com", "googlemail.com"})


async def connection_of(mailbox: Mailbox, store: SecretStore) -> Connection:
    """The mailbox's secret is JSON: ``{"company": ..., "refresh_token": ..., "daily_limit": ...}``.

    It names the company that it belongs to: references are written by whoever edits a company's mailboxes,
    and must not reach another company's account, nor any other file of this machine. Raises SecretError.
    """
    secret = await store.read(mailbox.secret_ref)
    try:
        content = _decoder.decode(secret.reveal())
    except (msgspec.MsgspecError, UnicodeError):
        # The library's words may quote the secret.
        raise SecretError('the secret is not {"company": ..., "refresh_token": ...}') from None
    if content.company != mailbox.company:
        raise SecretError("the secret belongs to another company")
    if not content.refresh_token or content.daily_limit < 0:
        raise SecretError("the secret has no refresh token, or a daily limit below 0")
    return Connection(Secret(content.refresh_token), content.daily_limit or usual_limit(mailbox.address))


def usual_limit(address: str) -> int:
    """https://support.google.com/mail/answer/22839, https://support.google.com/a/answer/166852."""
    return 500 if address.rpartition("@")[2].lower() in CONSUMER_DOMAINS else 2_000
