"""Moments and lengths of time as people type them: ``24h`` (so long ago), ``2026-04-07T13:00``."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import click

_UNITS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_LENGTH = re.compile(r"(\d+)\s*([smhd])")


def length_of(option: str, text: str) -> int:
    """Milliseconds of ``90m``, ``36h``, ``10d``. Raises click's BadParameter."""
    match = _LENGTH.fullmatch(text.strip())
    if match is None:
        raise click.BadParameter(f"{text!r} is no length of time: 90m, 36h or 10d", param_hint=option)
    return int(match[1]) * _UNITS[match[2]]


def moment_of(option: str, text: str, now: int) -> int:
    """Milliseconds since the epoch: a length of time before ``now``, or a date with or without a time, in UTC
    unless it says otherwise. Raises click's BadParameter."""
    if _LENGTH.fullmatch(text.strip()):
        return now - length_of(option, text)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is neither a length of time (24h, 10d) nor a moment (2026-04-07, 2026-04-07T13:00, "
            "2026-04-07T13:00+02:00)",
            param_hint=option,
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)
