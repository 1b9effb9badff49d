"""The steps for operators: each command, setting, file and name on the page is one that there is."""

from __future__ import annotations

import asyncio
import re
import shlex
from dataclasses import fields
from pathlib import Path

import click
import pytest
from prometheus_client import generate_latest

from agents.gateway.metrics import GatewayMetrics
from console.cli import COMMANDS, main
from console.demo.story import SCENES
from console.shopfile import ShopFile, load
from schemas.records import Mailbox
from senders.http_sms_settings import PLACEHOLDERS, read_description
from senders.mailbox_secrets import LocalSecrets, connection_of
from senders.outcomes import NAMED_VERDICTS, TWILIO_CODES
from streams.domain.links import Purpose
from streams.secret import Secret
from streams.settings import Settings, environment_name, read_settings

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "integrations.md").read_text("utf-8")
_FENCED = re.findall(r"^( *)```(\w*)\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)
BLOCKS = [(kind, re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)) for indent, kind, text in _FENCED]
SHELL = "\n".join(text.replace("\\\n", " ") for kind, text in BLOCKS if not kind)
CALLS = sorted(
    {" ".join(call.split()) for call in re.findall(r"`(carillon [^`]+)`", PAGE)}
    | {" ".join(call.split()) for call in re.findall(r"^(?:exec )?(carillon .*)$", SHELL, re.MULTILINE)}
)


@pytest.mark.parametrize("call", CALLS)
def test_each_command_takes_what_it_is_given(call: str) -> None:
    words = shlex.split(call)[1:]
    assert words[0] in COMMANDS
    found: click.Command | None = main
    context = click.Context(main)
    while isinstance(found, click.Group) and words and not words[0].startswith("-"):
        found = found.get_command(context, words.pop(0))
    assert found is not None
    options = {option for parameter in found.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options
    if "--scene" in words:
        assert words[words.index("--scene") + 1] in SCENES


def test_all_settings_of_the_page_are_taken_together(tmp_path: Path) -> None:
    lines = re.findall(r"^export (.*)$", SHELL, re.MULTILINE)
    pairs = [word.partition("=") for line in lines for word in shlex.split(line, comments=True)]
    environment = {name: value.replace("/run/secrets", str(tmp_path)) for name, _, value in pairs}
    for value in environment.values():
        if value.startswith("file:"):
            Path(value.removeprefix("file:")).write_text("secret")
    settings = read_settings(environment)
    assert settings.smtp_tls == "starttls"
    assert settings.public_url == "https://hooks.example"
    names = {environment_name(item.name) for item in fields(Settings)}
    assert set(re.findall(r"CARILLON_[A-Z_]+", PAGE)) <= names


def test_the_parts_of_shop_files_are_read(tmp_path: Path) -> None:
    parts = [text for kind, text in BLOCKS if kind == "yaml"]
    companies = [part for part in parts if part.startswith("company:")]
    (mailboxes,) = (part for part in parts if part.startswith("mailboxes:"))
    assert len(parts) == len(companies) + 1 == 3
    for company in companies:
        file = tmp_path / "shop.yaml"
        file.write_text(company + "  language: en\n  zone: Europe/Warsaw\n  currency: EUR\n" + mailboxes)
        shop = load(file)
        assert isinstance(shop, ShopFile), shop
        assert shop.company.id == "acme"
        assert [mailbox.users for mailbox in shop.mailboxes] == [("maria@acme.example",)]


def test_the_secret_of_a_mailbox_is_one() -> None:
    (text,) = (text for kind, text in BLOCKS if kind == "json")
    mailbox = Mailbox(
        id="workshop", company="acme", address="workshop@gmail.com", secret_ref="env:X", version=1
    )
    connection = asyncio.run(connection_of(mailbox, LocalSecrets({"X": text})))
    assert connection.daily_limit == 500
    assert connection.refresh_token.reveal() == "1//0g..."


def test_paths_codes_and_metrics_are_real() -> None:
    assert Purpose.UNSUBSCRIBE.startswith("/v1/")
    assert set(re.findall(r"/v1/[\w/]+", PAGE)) == {"/v1/sms/incoming"}
    assert {int(code) for code in re.findall(r"`(2\d{4})`", PAGE)} <= set(TWILIO_CODES)
    known = set(
        re.findall(r"^# HELP (carillon_\w+)", generate_latest(GatewayMetrics().registry).decode(), re.M)
    )
    assert set(re.findall(r"carillon_\w+(?=[{`])", PAGE)) <= known


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", PAGE):
        name, _, anchor = target.partition("#")
        text = (DOCS / name).read_text("utf-8") if name else PAGE
        headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        assert not anchor or anchor in {
            re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings
        }


def test_the_description_of_a_second_provider_is_one() -> None:
    [text] = [text for kind, text in BLOCKS if kind == "toml"]
    made = read_description(text, Secret("token"))
    assert made.name == "acmesms"
    assert made.query is not None
    section = PAGE.split("## A second SMS provider")[1].split("\n## ")[0]
    told = [
        name
        for line in section.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    ]
    assert told == list(NAMED_VERDICTS)
    assert set(re.findall(r"\{(\w+)\}", text)) == {*PLACEHOLDERS, "token"}
