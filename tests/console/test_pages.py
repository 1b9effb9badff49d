"""The pages of settings and commands are what the code says."""

from __future__ import annotations

from dataclasses import fields

import pytest

from console.cli import COMMANDS
from console.pages import DOCS, PAGES
from streams.settings import Settings, environment_name


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text("utf-8") == PAGES[name](), "run: python -m console.pages"


def test_every_setting_and_every_command_is_there() -> None:
    settings, commands = PAGES["settings.md"](), PAGES["commands.md"]()
    for item in fields(Settings):
        assert f"| `{item.name}` | `{environment_name(item.name)}` |" in settings
        assert item.metadata["help"] in settings
    for command, entry in COMMANDS.items():
        assert f"| `carillon {command}` | {entry.sentence} |" in commands
