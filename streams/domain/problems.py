"""What is wrong with something that a person wrote: named by field, with what to do about it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """``field`` is the path of the value as the person wrote it (``rules[2].status``, ``texts.en.sms``)."""

    field: str
    message: str
    code: str = dataclasses.field(default="invalid", compare=False)
    """For programs: ``invalid``, ``missing``, ``unknown`` (the company has no such thing), ``range``,
    ``combination`` (not together with another field), ``access``, ``taken``."""

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def quoted(value: str) -> str:
    """What a person wrote, in a message: quoted, and cut where it is longer than a line would hold."""
    return repr(value[:60])
