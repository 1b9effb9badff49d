"""The frame of the command line."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from console.cli import COMMANDS, LazyGroup, main
from streams.settings import SettingsError


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, arguments)
    return result.exit_code, result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_line_of_the_table_is_a_command_whose_help_teaches(name: str) -> None:
    code, text = run(name, "--help")
    assert code == 0
    assert "Example" in text


def test_help_lists_every_command_and_imports_none() -> None:
    code, text = run("--help")
    assert code == 0
    for name, entry in COMMANDS.items():
        assert name in text
        assert entry.sentence.split()[0] in text
    loaded = (
        "import sys, console.cli; print([m for m in sys.modules if m.startswith(('console.demo', 'faust'))])"
    )
    shown = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_an_unknown_command_is_told_what_there_is() -> None:
    code, text = run("dmeo")
    assert code == 2
    assert "no command 'dmeo'" in text
    assert "demo" in text


def test_wrong_settings_are_one_line_each() -> None:
    @click.group(cls=LazyGroup, invoke_without_command=True)
    def group() -> None:
        raise SettingsError(["CARILLON_PARTITIONS: expected at least 1, got 0"])

    result = CliRunner().invoke(group, [])
    assert result.exit_code == 1
    assert "CARILLON_PARTITIONS: expected at least 1, got 0" in result.output
    assert "Traceback" not in result.output


def test_no_time_is_a_length() -> None:
    code, text = run("demo", "--for", "soon")
    assert code == 2
    assert "'soon' is no length of time: 90m, 36h or 10d" in text


def test_the_version() -> None:
    assert run("--version")[1].startswith("carillon ")
