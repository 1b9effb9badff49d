"""``carillon worker``: the process that does the work."""

from __future__ import annotations

import gc
import logging
from dataclasses import fields

import click

from console.log_lines import set_up
from console.options import given_settings, set_option
from streams.domain.secrets import EXPECTED
from streams.secret import Secret
from streams.settings import Settings, environment_name
from streams.state.errors import StoreError

log = logging.getLogger(__name__)


def _settings_help() -> str:
    """Every setting with its variable, default and meaning, for ``--help``."""
    lines = []
    for item in fields(Settings):
        default = "" if isinstance(item.default, Secret) else str(item.default)
        shown = f" [{default}]" if default else ""
        where = f" ({EXPECTED})" if isinstance(item.default, Secret) else ""
        lines.append(f"  {environment_name(item.name)}{shown}\n      {item.metadata['help']}{where}")
    return "\b\nSettings (environment variable, [default], meaning):\n" + "\n".join(lines)


def advice_on(settings: Settings) -> list[str]:
    """What works and is not safe."""
    if settings.hash_key.reveal() != Settings().hash_key.reveal():
        return []
    return ["hash_key is the default: whoever reads the delivery log can try numbers until a hash fits"]


EXAMPLES = """\b
Examples:
  carillon topics create              make the topics first
  carillon worker                     with the settings of the environment
  CARILLON_BROKER=kafka-1:9092,kafka-2:9092 CARILLON_SMTP_HOST=relay.example carillon worker
  carillon worker --set web_port=0 --set log_level=DEBUG

"""


@click.command(epilog=EXAMPLES + "\n" + _settings_help())
@set_option
def worker(overrides: tuple[str, ...]) -> None:
    """Run one worker: read changes, arm timers, send what is due.

    Start as many as you like with the same CARILLON_GROUP; partitions and their state are shared out. Each
    needs a folder of its own (CARILLON_DATA). SIGTERM ends it in order: what is at a provider is waited for.
    """
    settings = given_settings(overrides)
    set_up(settings.log_level)
    for advice in advice_on(settings):
        log.warning("%s", advice)

    import uvloop  # noqa: PLC0415 - only a worker needs it

    uvloop.install()

    gc.disable()  # modules are no garbage: the collector would look through them all again and again
    from agents.worker import run  # noqa: PLC0415 - imports Faust: `carillon --help` need not wait for it

    gc.freeze()
    gc.enable()

    try:
        run(settings)
    except BaseException as error:  # what ended the worker: also a group of errors, or a cancellation
        reason = store_error(error)
        if reason is None:
            raise
        raise click.ClickException(str(reason)) from None


def store_error(error: BaseException | None, seen: frozenset[int] = frozenset()) -> StoreError | None:
    """The store's error in ``error``, its group or what it came from: that one is for a person to read."""
    if error is None or id(error) in seen:
        return None
    if isinstance(error, StoreError):
        return error
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    causes = (store_error(one, seen | {id(error)}) for one in (*inner, error.__cause__, error.__context__))
    return next((cause for cause in causes if cause is not None), None)
