"""Secrets of mailboxes as files, written where they are connected and read by the workers."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

import msgspec

from streams.secret import Secret


def write_secret(folder: Path, company: str, mailbox_id: str, refresh_token: Secret) -> str:
    """The reference. The file is its owner's alone, and there whole or not at all; its name tells nobody
    anything, and can't lead out of ``folder``. Raises OSError."""
    folder = folder.resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    named = f"{len(company)}:{company}{mailbox_id}"
    name = hashlib.sha256(named.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    path = folder / f"{name}.json"
    partial = folder / f".{name}.{secrets.token_hex(8)}"
    content = msgspec.json.encode({"company": company, "refresh_token": refresh_token.reveal()})
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return f"file:{path}"
