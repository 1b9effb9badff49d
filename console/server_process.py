"""Commands that serve until they are ended."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import click


def run_server(serving: Coroutine[None, None, int]) -> None:
    """Raises ClickException where it can't start, or can write nothing more."""
    from agents.connections import BrokerError  # noqa: PLC0415 - `carillon --help` need not wait for it
    from schemas.errors import RegistryError  # noqa: PLC0415 - likewise

    try:
        code = asyncio.run(serving)
    except (BrokerError, RegistryError) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"can't start: {error.strerror or error}") from None
    if code:
        raise click.ClickException("the brokers refuse this process's records for good; start it again")
