"""``docs/settings.md`` and ``docs/commands.md``, made of the settings and of the table of commands:

    python -m console.pages

A test fails when the pages in ``docs`` are not what this writes.
"""

from __future__ import annotations

from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import click

from console.cli import COMMANDS, main
from streams.secret import Secret
from streams.settings import Settings, environment_name

DOCS = Path(__file__).parents[1] / "docs"


def settings_page() -> str:
    """Every setting: variable, default, what is expected, meaning."""
    rows = []
    for item in fields(Settings):
        default = item.default
        shown = "" if isinstance(default, Secret) or default == "" else f"`{default}`"
        rows.append(
            f"| `{item.name}` | `{environment_name(item.name)}` | {shown} | {_expected(item)} "
            f"| {item.metadata['help']} |"
        )
    return "\n".join(
        (
            "# Settings",
            "",
            "Read once at start from the environment; `--set NAME=VALUE` of a command wins. Durations are in "
            "milliseconds. A wrong or unknown setting stops the start with its name and what is expected.",
            "",
            "A secret is never given in clear: its setting names where it is, `env:NAME` (another variable) "
            "or `file:PATH`.",
            "",
            "| setting | variable | default | expected | meaning |",
            "| --- | --- | --- | --- | --- |",
            *rows,
            "",
            "This page is made by `python -m console.pages`.",
            "",
        )
    )


def commands_page() -> str:
    """Every command and its subcommands, a sentence each."""
    rows = []
    context = click.Context(main)
    for name, entry in COMMANDS.items():
        rows.append(f"| `carillon {name}` | {entry.sentence} |")
        command = main.get_command(context, name)
        if isinstance(command, click.Group):
            rows += [
                f"| `carillon {name} {each}` | {sub.get_short_help_str(200)} |"
                for each, sub in sorted(command.commands.items())
            ]
    return "\n".join(
        (
            "# Commands",
            "",
            "`carillon COMMAND --help` has the options and examples. Settings come from the environment or "
            "`--set NAME=VALUE` ([settings](settings.md)). Commands that show data print a table, or with "
            "`--json` one object a line.",
            "",
            "| command | what it does |",
            "| --- | --- |",
            *rows,
            "",
            "Exit codes: 0 done; 1 refused, failed, or something was found wrong (the message says what to "
            "do); 2 wrong usage. Ctrl-C and a no to a question leave with 1, and nothing is written.",
            "",
            "This page is made by `python -m console.pages`.",
            "",
        )
    )


PAGES = {"settings.md": settings_page, "commands.md": commands_page}


def _expected(item: Field[Any]) -> str:
    choices, low = item.metadata["choices"], item.metadata["low"]
    if choices:
        return ", ".join(f"`{choice}`" if choice else "nothing" for choice in choices)
    if item.type == "int":
        return "a whole number" if low is None else f"a whole number from {low} on"
    return {"Secret": "`env:NAME` or `file:PATH`", "Path": "a folder"}.get(str(item.type), "a text")


if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), "utf-8")
