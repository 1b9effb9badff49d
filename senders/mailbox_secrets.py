"""Where the secret of a connected mailbox is. The topic holds a reference; the secret stays where the
operator put it, and is read again for every new access token, so that a renewed one needs no restart."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from schemas.records import Mailbox
from streams.clock import Clock
from streams.secret import Secret
from streams.vault import Vault, VaultAwayError, VaultError

log = logging.getLogger(__name__)

LARGEST = 16 * 1024

FRESH = 10_000
"""Milliseconds for which Vault is not asked again: many messages may wait for one token."""
KEPT = 12 * 3600 * 1000
"""For how long a secret is used that Vault gave out before it was away. It is asked for about once an
hour, so a shorter time would help nobody."""


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
        if scheme == "vault":
            raise SecretError("it is in Vault, and this worker has none (CARILLON_VAULT)")
        raise SecretError("there is no such secret in this worker")


class VaultSecrets:
    """``vault:MOUNT/PATH#FIELD``, or without ``#FIELD`` all fields as a JSON object; other references are
    ``others``'."""

    def __init__(self, vault: Vault, clock: Clock, others: SecretStore) -> None:
        self._vault = vault
        self._clock = clock
        self._others = others
        self._held: dict[str, tuple[int, Secret]] = {}

    async def read(self, reference: str) -> Secret:
        if not reference.startswith("vault:"):
            return await self._others.read(reference)
        now = self._clock.now()
        at, secret = self._held.get(reference, (0, None))
        if secret is not None and 0 <= now - at < FRESH:
            return secret
        try:
            found = await asyncio.to_thread(self._vault.read, reference)
        except VaultError as error:
            self._held.pop(reference, None)
            raise SecretError(str(error)) from None
        except VaultAwayError as error:
            log.warning("%s: %s", reference, error)
            if secret is None or now - at > KEPT:
                self._held.pop(reference, None)
                raise
            return secret
        self._held[reference] = (now, found)
        return found


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


_decoder = msgspec.json.Decoder(_Content, strict=False)
"""Not strict: the fields of a secret in Vault are texts, numbers too."""

CONSUMER_DOMAINS = frozenset({"gmail.com", "googlemail.com"})


async def connection_of(mailbox: Mailbox, store: SecretStore) -> Connection:
    """The mailbox's secret is JSON, ``{"company": ..., "refresh_token": ..., "daily_limit": ...}``, or a
    secret of Vault's with these fields.

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
