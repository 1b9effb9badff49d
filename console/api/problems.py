"""Errors as ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from streams.domain.problems import Problem

MEDIA_TYPE = "application/problem+json"


class FieldError(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong. ``field`` is its path in the body, the query or the headers."""

    field: str
    code: str
    """For programs: invalid, missing, unknown, range, combination, access, taken."""
    message: str


class ProblemView(msgspec.Struct, frozen=True, kw_only=True):
    """``type`` is ``about:blank``: the status and the codes say it all."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: tuple[FieldError, ...] = ()


TITLES: Mapping[int, str] = {
    400: "The request can't be read",
    401: "Nobody is signed in",
    403: "Not allowed",
    404: "Not found",
    405: "No such method",
    408: "The request did not arrive",
    409: "In conflict with what is there",
    412: "Changed since it was read",
    413: "Too large",
    415: "Not JSON",
    422: "Some fields are wrong",
    428: "If-Match is needed",
    429: "Too many requests",
    500: "Something went wrong here",
    503: "Not now",
}


class ApiError(Exception):
    """Ends a request."""

    def __init__(
        self,
        status: int,
        detail: str,
        problems: Sequence[Problem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})
        self.view = ProblemView(
            title=TITLES.get(status, "Refused"), status=status, detail=detail, errors=field_errors(problems)
        )


def field_errors(problems: Sequence[Problem]) -> tuple[FieldError, ...]:
    return tuple(FieldError(field=one.field, code=one.code, message=one.message) for one in problems)
