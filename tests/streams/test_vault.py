"""Vault's client at the socket, against a local server that speaks its API."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from deploy.fakes.vault import VaultFake
from streams import vault as module
from streams.settings import SettingsError, read_settings
from streams.vault import Vault, VaultAwayError, VaultError, VaultSettings
from tests.support.certificates import Authority, loopback

TOKEN = "hvs.our-token"
KEPT = "1//a-secret"


@asynccontextmanager
async def started(**changes: object) -> AsyncIterator[VaultFake]:
    fake = VaultFake(
        secrets={
            "secret/carillon/box": {"refresh_token": KEPT, "daily_limit": "500", "n": 7},
            "secret/old": None,
        },
        tokens={TOKEN: ("secret/",)},
        **changes,  # type: ignore[arg-type]  # the tests' own
    )
    await fake.start()
    try:
        yield fake
    finally:
        if fake.hold is not None:
            fake.hold.set()
        await fake.stop()


@pytest.fixture
async def fake() -> AsyncIterator[VaultFake]:
    async with started() as made:
        yield made


def client(fake: VaultFake, token: str = TOKEN, **changes: str) -> Vault:
    return Vault(VaultSettings(fake.url, "env:TOKEN", **changes), {"TOKEN": token})


async def read(vault: Vault, reference: str) -> str:
    return (await asyncio.to_thread(vault.read, reference)).reveal()


async def test_a_field_and_a_whole_secret(fake: VaultFake) -> None:
    vault = client(fake)
    assert await read(vault, "vault:secret/carillon/box#refresh_token") == KEPT
    assert await read(vault, "vault:secret/carillon/box") == (
        '{"refresh_token":"1//a-secret","daily_limit":"500","n":7}'
    )
    assert fake.asked == ["/v1/secret/data/carillon/box"] * 2
    assert fake.headers[0]["X-Vault-Request"] == "true"
    assert "X-Vault-Namespace" not in fake.headers[0]


async def test_what_a_shell_put_there_ends_before_the_newline(fake: VaultFake) -> None:
    fake.secrets["secret/key"] = {"pem": "-----BEGIN\nEND-----\n"}
    assert await read(client(fake), "vault:secret/key#pem") == "-----BEGIN\nEND-----"


async def test_a_namespace(fake: VaultFake) -> None:
    fake.namespace = "team/mail"
    assert await read(client(fake, namespace="team/mail"), "vault:secret/carillon/box#refresh_token") == KEPT
    with pytest.raises(VaultError):
        await read(client(fake), "vault:secret/carillon/box#refresh_token")


async def test_a_token_s_file_is_read_each_time(fake: VaultFake, tmp_path: Path) -> None:
    file = tmp_path / "token"
    vault = Vault(VaultSettings(fake.url, f"file:{file}"))
    with pytest.raises(VaultAwayError, match=r"^the file with Vault's token \(vault_token\) can't be read$"):
        await read(vault, "vault:secret/carillon/box")
    file.write_text(TOKEN + "\n")
    await read(vault, "vault:secret/carillon/box")
    fake.tokens = {"hvs.renewed": ("secret/",)}
    with pytest.raises(VaultAwayError):
        await read(vault, "vault:secret/carillon/box")
    file.write_text("hvs.renewed")
    await read(vault, "vault:secret/carillon/box")


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        (
            "vault:secret/nothing",
            "Vault has no secret/nothing in a key/value engine of version 2, or it was deleted",
        ),
        ("vault:secret/old", "Vault has no secret/old in a key/value engine of version 2, or it was deleted"),
        ("vault:secret/carillon/box#token", "secret/carillon/box has no text token in Vault"),
        ("vault:secret/carillon/box#n", "secret/carillon/box has no text n in Vault"),
        (
            "vault:other/box",
            "our token may not read other/box in Vault: its policy needs read on other/data/box",
        ),
        ("vault:secret/../sys/raw", "expected vault:MOUNT/PATH#FIELD"),
    ],
)
async def test_what_can_t_be_had(fake: VaultFake, reference: str, why: str) -> None:
    with pytest.raises(VaultError) as caught:
        await read(client(fake), reference)
    assert str(caught.value) == why


@pytest.mark.parametrize("token", ["hvs.ended", "", "hvs.new\nline", "hvs.ż"])
async def test_a_token_that_is_none(fake: VaultFake, token: str) -> None:
    """It says nothing of the secret, which may still be had once the token is another."""
    with pytest.raises(VaultAwayError) as caught:
        await read(client(fake, token), "vault:secret/carillon/box")
    assert "vault_token" in str(caught.value)
    assert (
        "hvs"
        not in f"{caught.value!r}{caught.value.__context__ if not caught.value.__suppress_context__ else ''}"
    )


@pytest.mark.parametrize(
    ("status", "headers", "text", "why"),
    [
        (503, {}, '{"errors": ["Vault is sealed"]}', "Vault is sealed or under maintenance"),
        (429, {}, "", "Vault asks us to come later"),
        (473, {}, "", "this Vault is a standby: set vault to the cluster's address"),
        (502, {}, "<html>bad gateway</html>", "Vault answers HTTP 502"),
        (200, {}, "<html>a proxy</html>", "what answers is not Vault"),
        (200, {}, '{"data": ["1//a-secret"]}', "what answers is not Vault"),
        (200, {}, '{"data": {"data": {"refresh_token": "1//a-sec', "what answers is not Vault"),
    ],
)
async def test_what_passes(
    fake: VaultFake, status: int, headers: dict[str, str], text: str, why: str
) -> None:
    vault = client(fake)
    fake.answers = [(status, headers, text)]
    with pytest.raises(VaultAwayError) as caught:
        await read(vault, "vault:secret/carillon/box#refresh_token")
    assert str(caught.value) == why
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert await read(vault, "vault:secret/carillon/box#refresh_token") == KEPT


async def test_a_deleted_version_that_answers_well(fake: VaultFake) -> None:
    fake.answers = [(200, {}, '{"data": {"data": null}}')]
    with pytest.raises(VaultError, match=r"^secret/carillon/box was deleted in Vault$"):
        await read(client(fake), "vault:secret/carillon/box")


async def test_the_token_follows_no_redirect(fake: VaultFake) -> None:
    async with started() as other:
        fake.answers = [(307, {"Location": f"{other.url}/v1/secret/data/carillon/box"}, "")]
        with pytest.raises(VaultAwayError, match="sends us elsewhere: set vault to the cluster's address"):
            await read(client(fake), "vault:secret/carillon/box")
        assert other.asked == []


async def test_nobody_there_and_nobody_answering(fake: VaultFake, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = client(fake)
    monkeypatch.setattr(module, "WITHIN", 0.2)
    fake.hold = asyncio.Event()
    with pytest.raises(VaultAwayError, match=r"^Vault (does not answer|can't be reached) \(Timeout"):
        await read(vault, "vault:secret/carillon/box")
    fake.hold.set()
    await fake.stop()
    with pytest.raises(VaultAwayError, match=r"^Vault can't be reached \(ConnectionRefusedError\)$"):
        await read(vault, "vault:secret/carillon/box")


async def test_it_hangs_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        vault = Vault(VaultSettings(f"http://127.0.0.1:{server.getsockname()[1]}", "env:T"), {"T": TOKEN})
        asked = asyncio.create_task(read(vault, "vault:secret/carillon/box"))
        connection, _ = await asyncio.to_thread(server.accept)
        await asyncio.to_thread(connection.recv, 4096)
        connection.sendall(b"no HTTP at all\r\n\r\n")
        connection.close()
        with pytest.raises(VaultAwayError, match=r"^Vault does not answer"):
            await asked


async def test_certificates_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(ours.issue("vault", loopback()))
    async with started(tls=context) as fake:
        good = client(fake, ca_file=str(ours.ca))
        assert await read(good, "vault:secret/carillon/box#refresh_token") == KEPT
        before = len(fake.asked)
        for ca_file in (str(theirs.ca), ""):
            with pytest.raises(VaultAwayError, match=r"no authority that we trust \(vault_ca\)"):
                await read(client(fake, ca_file=ca_file), "vault:secret/carillon/box")
        assert len(fake.asked) == before
    with pytest.raises(OSError, match="No such file"):
        Vault(VaultSettings("https://vault.example", "env:T", ca_file=str(tmp_path / "none")))


@pytest.mark.parametrize(
    "url",
    ["", "vault.example", "http://vault.example:8200", "https://me@vault.example", "https://v.example/?x=1"],
)
def test_an_address_that_is_not_safe(url: str) -> None:
    with pytest.raises(ValueError, match=r"^vault: expected an https URL"):
        VaultSettings(url, "env:T")
    assert VaultSettings("http://localhost:8200", "env:T").namespace == ""


async def test_settings_may_be_there(fake: VaultFake, caplog: pytest.LogCaptureFixture) -> None:
    environ = {
        "T": TOKEN,
        "CARILLON_VAULT": fake.url,
        "CARILLON_VAULT_TOKEN": "env:T",
        "CARILLON_SMTP_PASSWORD": "vault:secret/carillon/box#refresh_token",
    }
    caplog.set_level(logging.DEBUG)
    found = await asyncio.to_thread(read_settings, environ)
    assert found.smtp_password.reveal() == KEPT
    assert KEPT not in f"{found!r}{caplog.text}"
    assert TOKEN not in f"{found!r}{caplog.text}"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"CARILLON_SMTP_PASSWORD": "vault:secret/x"},
            "CARILLON_SMTP_PASSWORD: expected vault:MOUNT/PATH#FIELD",
        ),
        ({"CARILLON_SMTP_PASSWORD": "vault:secret/x#y"}, "CARILLON_SMTP_PASSWORD: Vault has no secret/x"),
        (
            {"CARILLON_VAULT": ""},
            "CARILLON_SMTP_PASSWORD: it is in Vault, so vault and vault_token are needed",
        ),
        (
            {"CARILLON_VAULT_TOKEN": TOKEN},
            "vault_token: expected env:NAME or file:PATH, not the token itself",
        ),
        ({"CARILLON_VAULT_TOKEN": "env:OTHER"}, "there is no token for Vault"),
        ({"CARILLON_VAULT_CA": "/none/at/all"}, "CARILLON_SMTP_PASSWORD: .*No such file"),
    ],
)
async def test_settings_that_can_t_be_had(fake: VaultFake, changes: dict[str, str], why: str) -> None:
    environ = {
        "T": TOKEN,
        "CARILLON_VAULT": fake.url,
        "CARILLON_VAULT_TOKEN": "env:T",
        "CARILLON_SMTP_PASSWORD": "vault:secret/carillon/box#refresh_token",
    }
    with pytest.raises(SettingsError, match=why) as caught:
        await asyncio.to_thread(read_settings, environ | changes)
    assert TOKEN not in str(caught.value)


def test_vault_without_a_secret_in_it() -> None:
    """Nobody is asked, and what is wrong is said at start."""
    with pytest.raises(SettingsError, match="vault_token: env:NAME or file:PATH is needed with vault"):
        read_settings({"CARILLON_VAULT": "https://vault.example"})
    with pytest.raises(SettingsError, match=r"vault: expected an http\(s\) URL"):
        read_settings({"CARILLON_VAULT": "vault.example", "CARILLON_VAULT_TOKEN": "env:T"})
