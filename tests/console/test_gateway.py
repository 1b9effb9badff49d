"""The command line of the gateway, as far as it goes without brokers."""

from __future__ import annotations

import os

import pytest
from click.testing import CliRunner, Result

from console.cli import main

SET = ["--set", "public_url=https://hooks.example", "--set", "link_key=env:HOOKS_KEY"]


def run(*arguments: str, mail: bytes = b"", **variables: str) -> Result:
    return CliRunner().invoke(main, ["gateway", *arguments], input=mail, env=variables)


def test_wrong_settings_stop_the_server_in_words() -> None:
    done = run(HOOKS_KEY="")
    assert (done.exit_code, "public_url: needed by the gateway" in done.output) == (1, True)
    done = run(*SET[:2])
    assert (done.exit_code, "link_key: needed with public_url" in done.output) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [["bounce"], ["bounce", *SET], [*SET, "bounce"], ["--set", "no_such=1", "bounce"]],
    ids=["no address", "no key", "before the subcommand", "unknown"],
)
def test_a_mail_is_kept_while_the_settings_are_wrong(arguments: list[str]) -> None:
    """A mail server takes any other code for a refusal, and sends a bounce of the bounce."""
    done = run(*arguments, mail=b"From: x\n\n")
    assert done.exit_code == os.EX_TEMPFAIL
    assert "try again later: the settings are wrong" in done.output


def test_what_the_settings_are_told_before_the_subcommand_counts() -> None:
    done = run(*SET, "bounce")
    assert "HOOKS_KEY" in done.output
