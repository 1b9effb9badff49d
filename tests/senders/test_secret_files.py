"""Secrets of mailboxes as files: their owner's alone, whole or not at all, and read by the workers."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from schemas.records import Mailbox
from senders.mailbox_secrets import LocalSecrets, SecretError, connection_of
from senders.secret_files import write_secret
from streams.secret import Secret


async def test_what_is_written_is_what_a_worker_reads_of_the_same_company_alone(tmp_path: Path) -> None:
    folder = tmp_path / "mailboxes"
    for token in ("first", "second"):
        reference = write_secret(folder, "acme", "../../box", Secret(token))
        box = Mailbox(id="box", company="acme", address="a@gmail.com", secret_ref=reference, version=1)
        found = await connection_of(box, LocalSecrets({}))
        assert found.refresh_token.reveal() == token
    other = Mailbox(id="box", company="zenith", address="a@gmail.com", secret_ref=reference, version=1)
    with pytest.raises(SecretError, match="another company"):
        await connection_of(other, LocalSecrets({}))
    (only,) = folder.iterdir()
    assert reference == f"file:{only}"
    assert stat.S_IMODE(only.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert write_secret(folder, "acm", "e../../box", Secret("x")) != reference


def test_what_can_t_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        write_secret(tmp_path / "file", "acme", "box", Secret("token"))
    assert (tmp_path / "file").read_text() == ""
