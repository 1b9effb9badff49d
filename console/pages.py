"""The pages of ``docs`` that are made of code: settings, commands, and the states of a delivery.

    python -m console.pages

A test fails when the pages in ``docs`` are not what this writes.
"""

from __future__ import annotations

from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import click

from console.cli import COMMANDS, main
from schemas.records import DeliveryState
from streams.domain.life import AT_PROVIDER, FRESH, GONE, NOT_SENT, REASONS, RECEIPTS, STEPS, WAITING
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
            "A secret is never given in clear: its setting names where it is, `env:NAME` (another variable), "
            "`file:PATH`, or `vault:MOUNT/PATH#FIELD` ([Vault](integrations.md#secrets-in-vault)).",
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


def states_page() -> str:
    """The states of a delivery: the picture, its arrows as a table, and the reasons of each state."""
    reasons = [
        f"| `{state}` | {', '.join(f'`{reason}`' for reason in REASONS[state] if reason) or 'none'} |"
        for state in DeliveryState
    ]
    return "\n".join(
        (
            "# A delivery's life",
            "",
            "The states that one message to one customer goes through, as they follow each other in the "
            "[delivery log](delivery-log.md). After a state comes nothing but what an arrow shows: all tests "
            "of the topology and all simulated days are held against the table that this page is made of "
            "(`streams/domain/life.py`), and each arrow has a test that goes along it "
            "(`tests/topology/test_life.py`).",
            "",
            "```mermaid",
            *picture(),
            "```",
            "",
            "An arrow from a frame holds for every state in it, one to a frame leads to each of them. What "
            "went out, or may have, never goes again. What was not sent may be planned anew, when for "
            "instance an appointment is moved away and back. Receipts are notes on a final state.",
            "",
            "| from | to | when |",
            "| --- | --- | --- |",
            *(f"| {_words(step.sources)} | {_words(step.targets)} | {step.when} |" for step in STEPS),
            "",
            "## Reasons",
            "",
            "What `reason` may say in each state; the codes are explained in the "
            "[delivery log](delivery-log.md#reasons).",
            "",
            "| state | reasons |",
            "| --- | --- |",
            *reasons,
            "",
            "This page is made by `python -m console.pages`.",
            "",
        )
    )


_FRAMES = {
    "waiting": WAITING,
    "with the provider": AT_PROVIDER,
    "out, or may be": GONE,
    "not sent": NOT_SENT,
    "receipts": RECEIPTS,
}


def picture() -> list[str]:
    """The lines of a Mermaid flow chart: a frame for each group of states, arrows for each step."""
    lines = ["flowchart TB", "    new((new))"]
    for title, states in _FRAMES.items():
        lines.append(f'    subgraph {_frame(states)}["{title}"]')
        lines += [f"        {state}" for state in states]
        lines.append("    end")
    for step in STEPS:
        lines += [
            f'    {source} -->|"{step.when}"| {target}'
            for source in _ends(step.sources, step.targets)
            for target in _ends(step.targets, step.sources)
        ]
    lines.append(f'    {_frame(NOT_SENT)} -->|"planned anew"| new')
    return lines


_States = tuple[DeliveryState | None, ...]


def _ends(states: _States, others: _States) -> list[str]:
    """The frame, where the states are all of it and the arrow leaves it (Mermaid draws none from a frame to
    what is in it); else each state."""
    if states == FRESH:
        return ["new"]
    frame = _frame(states)
    return [frame] if frame and not set(states) & set(others) else [str(state) for state in states]


def _frame(states: _States) -> str:
    titles = [title for title, members in _FRAMES.items() if members == states]
    return titles[0].replace(",", "").replace(" ", "_") if titles else ""


def _words(states: _States) -> str:
    return ", ".join(f"`{state}`" if state is not None else "(new)" for state in states)


PAGES = {"settings.md": settings_page, "commands.md": commands_page, "delivery-states.md": states_page}


def _expected(item: Field[Any]) -> str:
    choices, low = item.metadata["choices"], item.metadata["low"]
    if choices:
        return ", ".join(f"`{choice}`" if choice else "nothing" for choice in choices)
    if item.type == "int":
        return "a whole number" if low is None else f"a whole number from {low} on"
    return {"Secret": "`env:`, `file:` or `vault:`", "Path": "a folder"}.get(str(item.type), "a text")


if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), "utf-8")
