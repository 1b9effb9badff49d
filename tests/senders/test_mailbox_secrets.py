from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from senders.mailbox_secrets import LocalSecrets, SecretError, connection_of, usual_limit
from tests.senders.gmail import BOX

GOOD = {"company": "acme", "refresh_token": "1//secret"}


async def test_from_the_environment_and_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "box.json"
    file.write_text(json.dumps(GOOD | {"daily_limit": 100}) + "\n")
    store = LocalSecrets({"BOX": json.dumps(GOOD)})
    found = await connection_of(BOX, store)
    assert (found.refresh_token.reveal(), found.daily_limit) == ("1//secret", 500)
    found = await connection_of(msgspec.structs.replace(BOX, secret_ref=f"file:{file}"), store)
    assert found.daily_limit == 100
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "1//secret",
        "[]",
        json.dumps({"company": "acme"}),
        json.dumps({"refresh_token": "1//secret"}),
        json.dumps(GOOD | {"company": "best"}),
        json.dumps(GOOD | {"refresh_token": ""}),
        json.dumps(GOOD | {"daily_limit": -1}),
        json.dumps(GOOD | {"daily_limit": "1//secret"}),
        json.dumps(GOOD)[:-5],
        "\udc80",
    ],
)
async def test_what_is_no_secret_of_this_company_s(content: str) -> None:
    with pytest.raises(SecretError) as caught:
        await connection_of(BOX, LocalSecrets({"BOX": content}))
    assert "1//" not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize(
    "reference", ["", "env:", "file:", "env:OTHER", "BOX", "vault:x", "file:.", "file:\0"]
)
async def test_what_is_not_there(reference: str) -> None:
    with pytest.raises(SecretError):
        await LocalSecrets({"BOX": "x"}).read(reference)


async def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\xfe")
    with pytest.raises(SecretError):
        await LocalSecrets({}).read(f"file:{tmp_path / 'x'}")


def test_google_s_limits() -> None:
    assert usual_limit("ann@Gmail.com") == usual_limit("a@googlemail.com") == 500
    assert usual_limit("ann@gmail.com.example") == usual_limit("shop@acme.example") == 2000
