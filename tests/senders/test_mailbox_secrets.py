from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from deploy.fakes.vault import VaultFake
from senders.mailbox_secrets import (
    FRESH,
    KEPT,
    LocalSecrets,
    SecretError,
    VaultSecrets,
    connection_of,
    usual_limit,
)
from streams.vault import Vault, VaultSettings
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


# --- in Vault


class Passing:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.moment = 1_000_000

    def now(self) -> int:
        return self.moment


IN_VAULT = msgspec.structs.replace(BOX, secret_ref="vault:secret/acme/box")


@pytest.fixture
async def vault() -> AsyncIterator[VaultFake]:
    fake = VaultFake(secrets={"secret/acme/box": GOOD}, tokens={"hvs.t": ("secret/acme/",)})
    await fake.start()
    yield fake
    await fake.stop()


def secrets_in(vault: VaultFake, clock: Passing) -> VaultSecrets:
    client = Vault(VaultSettings(vault.url, "env:T"), {"T": "hvs.t"})
    return VaultSecrets(client, clock, LocalSecrets({"BOX": json.dumps(GOOD)}))


async def test_the_fields_of_a_secret_in_vault(vault: VaultFake) -> None:
    store = secrets_in(vault, Passing())
    found = await connection_of(IN_VAULT, store)
    assert (found.refresh_token.reveal(), found.daily_limit) == ("1//secret", 500)
    # A shell writes numbers as texts.
    vault.secrets["secret/acme/two"] = GOOD | {"daily_limit": "100"}
    two = msgspec.structs.replace(BOX, secret_ref="vault:secret/acme/two")
    assert (await connection_of(two, store)).daily_limit == 100
    vault.secrets["secret/acme/json"] = {"box": json.dumps(GOOD)}
    one = msgspec.structs.replace(BOX, secret_ref="vault:secret/acme/json#box")
    assert (await connection_of(one, store)).refresh_token.reveal() == "1//secret"
    assert (await connection_of(BOX, store)).refresh_token.reveal() == "1//secret", (
        "others are where they were"
    )


async def test_another_company_s_secret_in_vault_is_none(vault: VaultFake) -> None:
    best = msgspec.structs.replace(IN_VAULT, company="best")
    with pytest.raises(SecretError, match="belongs to another company"):
        await connection_of(best, secrets_in(vault, Passing()))


async def test_vault_is_asked_again_after_some_seconds(vault: VaultFake) -> None:
    clock = Passing()
    store = secrets_in(vault, clock)
    await store.read(IN_VAULT.secret_ref)
    vault.secrets["secret/acme/box"] = GOOD | {"refresh_token": "1//renewed"}
    clock.moment += FRESH - 1
    assert "renewed" not in (await store.read(IN_VAULT.secret_ref)).reveal()
    assert len(vault.asked) == 1
    clock.moment += 1
    assert "renewed" in (await store.read(IN_VAULT.secret_ref)).reveal()
    assert len(vault.asked) == 2


async def test_while_vault_is_away_the_last_one_holds(
    vault: VaultFake, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Passing()
    store = secrets_in(vault, clock)
    await store.read(IN_VAULT.secret_ref)
    vault.answers = [(503, {}, "sealed")] * 3
    clock.moment += KEPT
    assert "1//secret" in (await store.read(IN_VAULT.secret_ref)).reveal()
    assert caplog.messages == ["vault:secret/acme/box: Vault is sealed or under maintenance"]
    clock.moment += 1
    for _ in range(2):
        with pytest.raises(OSError, match="sealed"):
            await store.read(IN_VAULT.secret_ref)
    assert "1//" not in caplog.text


async def test_what_is_taken_away_is_not_used_any_more(vault: VaultFake) -> None:
    clock = Passing()
    store = secrets_in(vault, clock)
    await store.read(IN_VAULT.secret_ref)
    vault.secrets["secret/acme/box"] = None
    clock.moment += FRESH
    with pytest.raises(SecretError, match="it was deleted"):
        await store.read(IN_VAULT.secret_ref)
    vault.answers = [(503, {}, "")]
    with pytest.raises(OSError, match="sealed"):
        await store.read(IN_VAULT.secret_ref)


async def test_a_worker_without_vault_says_so() -> None:
    with pytest.raises(SecretError, match="CARILLON_VAULT"):
        await connection_of(IN_VAULT, LocalSecrets({}))
