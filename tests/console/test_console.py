"""``carillon console`` as a process, and the users that its commands make."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from console.cli import main
from console.connection import Connection
from schemas.records import User
from streams.settings import Settings
from tests.console.api.conftest import DEADLINE, both_companies, publication
from tests.console.conftest import Carillon
from tests.support.shop import C


@pytest.mark.embedded
def test_users_and_tokens_are_made_listed_and_ended(own_topics: Settings, carillon: Carillon) -> None:
    made = carillon("console", "user", "add", "maria", "--role", f"{C}=editor", "--role", "*=viewer")
    assert made.output == "maria: *=viewer, acme=editor\n"
    assert carillon("console", "user", "add", "maria", "--role", "*=none").output == "maria: acme=editor\n"
    token = carillon(
        "console", "token", "create", "maria", "--name", "the CRM", "--days", "30"
    ).output.strip()
    assert token.startswith("carillon_")
    (line,) = carillon("console", "user", "list", "--json").output.splitlines()
    assert token not in line
    told = json.loads(line)
    assert (told["roles"], told["tokens"][0]["hash"], told["password"]) == ({C: "editor"}, "", "")
    id_ = told["tokens"][0]["id"]
    assert "the CRM" in carillon("console", "token", "list", "maria").output
    assert carillon("console", "token", "revoke", "maria", id_).output == f"revoked {id_}\n"
    assert carillon("console", "token", "revoke", "maria", id_).exit_code == 1
    assert carillon("console", "user", "remove", "maria").exit_code == 0
    assert carillon("console", "token", "create", "maria").exit_code == 1
    # Nothing of the token itself was ever written.
    for record in Connection(own_topics).records("users"):
        assert token.encode() not in record.value


@pytest.mark.embedded
def test_a_password_is_asked_for_and_only_its_hash_is_kept(own_topics: Settings) -> None:
    def add(password: str) -> int:
        arguments = ["console", "user", "add", "maria", "--password"]
        return CliRunner().invoke(main, arguments, input=password + "\n").exit_code

    assert add("short") == 1
    assert add("a pass phrase of some length") == 0
    connection = Connection(own_topics)
    (record,) = connection.records("users")
    user = connection.decode("users", User, record)
    assert user is not None
    assert user.password.startswith("scrypt$")
    assert b"pass phrase" not in record.value
    assert "scrypt" not in repr(user)


@pytest.mark.parametrize("role", ["acme", "=editor", "acme=boss"])
def test_a_wrong_role_is_told(carillon: Carillon, role: str) -> None:
    found = carillon("console", "user", "add", "maria", "--role", role)
    assert found.exit_code == 2
    assert "expected COMPANY=viewer" in found.output


@pytest.mark.embedded
def test_it_is_served_until_it_is_told_to_stop(
    own_topics: Settings, carillon: Carillon, tmp_path: Path
) -> None:
    Connection(own_topics).publish([publication(record) for record in both_companies()])
    carillon("console", "user", "add", "crm", "--role", f"{C}=viewer")
    token = carillon("console", "token", "create", "crm").output.strip()
    environment = {**os.environ, "CARILLON_DATA": str(tmp_path)}
    environment |= {"CARILLON_CONSOLE_PORT": "0", "CARILLON_WEB_PORT": "0"}
    command = [sys.executable, "-m", "console", "console"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        try:
            where = json.loads(_waited_for(tmp_path / "console.json"))
            ready = f"http://127.0.0.1:{where['web_port']}/ready"
            _until_answered(urllib.request.Request(ready))
            request = urllib.request.Request(f"http://127.0.0.1:{where['port']}/api/v1/companies/{C}/rules")
            request.add_header("Authorization", f"Bearer {token}")
            assert [each["id"] for each in json.loads(_until_answered(request))["items"]] == ["born", "rem"]
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0


@pytest.mark.embedded
def test_missing_topics_are_told_with_what_to_do(command_broker: str, carillon: Carillon) -> None:
    found = carillon(
        "console",
        "--set",
        f"broker={command_broker}",
        "--set",
        "topic_prefix=none-",
        "--set",
        "console_port=0",
    )
    assert found.exit_code == 1
    assert "none-users: the topic does not exist: carillon topics create" in found.output


def _waited_for(path: Path) -> str:
    pause = threading.Event()
    for _ in range(int(DEADLINE / 0.05)):
        if path.exists():
            return path.read_text()
        pause.wait(0.05)
    raise AssertionError(f"{path} did not appear")


def _until_answered(request: urllib.request.Request) -> bytes:
    """With 200."""
    pause = threading.Event()
    for _ in range(int(DEADLINE / 0.05)):
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
                body: bytes = answer.read()
                return body
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
            pause.wait(0.05)
    raise AssertionError("it did not become ready")
