"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from streams.settings import Settings, from_process

F = TypeVar("F", bound=Callable[..., Any])


def given_settings(overrides: Iterable[str]) -> Settings:
    """The settings of the environment, with ``NAME=VALUE`` pairs that win. SettingsError, or click's
    BadParameter for what is no pair."""
    given = {}
    for pair in overrides:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.BadParameter(f"expected NAME=VALUE, got {pair!r}", param_hint="--set")
        given[name] = value
    return from_process(given)


def set_option(function: F) -> F:
    """``--set NAME=VALUE``; the command gets ``overrides``, to be given to ``given_settings``."""
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="NAME=VALUE",
        help="A setting that wins over the environment (--set broker=localhost:9092); may be repeated.",
    )(function)


def json_option(function: F) -> F:
    return click.option(
        "--json", "as_json", is_flag=True, help="One JSON object a line, for scripts, instead of a table."
    )(function)


def yes_option(function: F) -> F:
    return click.option(
        "--yes", "-y", is_flag=True, help="Don't ask. Without a terminal nothing is asked either."
    )(function)


def as_option(function: F) -> F:
    """``--as USER``; the command gets ``user``, None where nobody is named."""
    return click.option(
        "--as",
        "user",
        metavar="USER",
        help="Who makes the change: it stands in the audit, and decides which mailboxes may be chosen.",
    )(function)
