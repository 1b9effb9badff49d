"""Fields of a page's form or query as the forms of the API."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from console.api.forms import Form
from console.api.reading import problem_of
from console.service.errors import RefusedError

F = TypeVar("F", bound=Form)


def read(kind: type[F], given: object) -> F:
    """Numbers and so on may be text, as browsers send them. Raises RefusedError."""
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise RefusedError([problem_of(error, kind)]) from None
