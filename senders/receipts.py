"""What an SMS provider reports of a message that it took."""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.records import EventStatus


class HookError(ValueError):
    """What was posted has not what the provider sends. The message names the field and repeats no value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a message that we sent."""

    provider: str
    provider_id: str
    status: EventStatus
    code: str
    """The provider's error code, empty: none."""
    segments: int | None = None
    price: str = ""
    currency: str = ""
    to: str = field(repr=False)
    """E.164; empty: not said."""
    suppress: str
    """Reason code for which the number must not be written to again; empty: none."""
