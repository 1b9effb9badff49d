"""Requests as what the handlers are given. Each refusal names the field."""

from __future__ import annotations

import asyncio
import re
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from aiohttp import web

from console.api.forms import Form
from console.api.problems import ApiError
from console.service.edits import ANY
from schemas.checks import refusal
from schemas.records import User
from streams.domain.problems import Problem

F = TypeVar("F", bound=Form)

_BODY_WITHIN = 10.0
"""Seconds for a body to arrive."""
_LONGEST_KEY = 200
_TAG = re.compile(r'"(\d{1,18})"', re.ASCII)
_UNKNOWN = re.compile(r"unknown field `([^`]*)`")


async def read_body(request: web.Request, wanted: bool) -> bytes:
    """Empty where none is wanted. 408, 413, 415."""
    if not wanted:
        return b""
    # Also against forms of other sites: a browser sends none of them as JSON without asking us first.
    if request.content_type != "application/json":
        raise ApiError(415, "Content-Type must be application/json.")
    try:
        async with asyncio.timeout(_BODY_WITHIN):
            return await request.read()
    except TimeoutError:
        raise ApiError(408, "The body did not arrive in time.") from None


def decode_body(raw: bytes, kind: type[F]) -> F:
    """400 for what is no JSON, 422 for what is no such form."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        raise ApiError(422, "Some fields are wrong; errors names them.", [problem_of(error, kind)]) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ApiError(400, "The body is no JSON.") from None
    except RecursionError:
        raise ApiError(400, "The body is nested too deeply.") from None


def read_query(request: web.Request, kind: type[F]) -> F:
    """422 for what is not known, twice there, or not of its kind."""
    given: dict[str, Any] = {}
    try:
        for name, value in request.query.items():
            if name in given:
                raise ApiError(422, "The query is wrong.", [Problem(name[:60], "is there twice", "taken")])
            value.encode()  # bytes that are no UTF-8 arrive as surrogates
            given[name] = _boolean(value) if _is_boolean(kind, name) else value
        return msgspec.convert(given, kind, strict=False)
    except UnicodeEncodeError:
        raise ApiError(400, "The query is no UTF-8.") from None
    except msgspec.ValidationError as error:
        raise ApiError(422, "The query is wrong.", [problem_of(error, kind)]) from None


def read_version(request: web.Request, *, required: bool) -> int:
    """Of ``If-Match: "7"``; ANY for ``*``, or where none is needed. 428 where it is missing, 400 where it is
    no ETag of ours, 412 where it is a weak one (RFC 9110 section 13.1.1: they never match)."""
    if not required:
        return ANY
    text = request.headers.get("If-Match", "").strip()
    if text == "*":
        return ANY
    if not text:
        raise ApiError(428, "Send If-Match with the ETag that was read, or *.")
    if text.startswith("W/"):
        raise ApiError(412, "A weak ETag never matches.")
    match = _TAG.fullmatch(text)
    if match is None:
        problem = Problem("If-Match", 'is one ETag as it was given out, such as "7", or *')
        raise ApiError(400, "If-Match can't be read.", [problem])
    return int(match[1])


def read_key(request: web.Request, who: User | None, company: str) -> str:
    """Idempotency-Key, made this user's and company's own. 400."""
    key = request.headers.get("Idempotency-Key", "")
    if not key:
        return ""
    if len(key) > _LONGEST_KEY or not key.isprintable() or not key.isascii():
        problem = Problem("Idempotency-Key", f"has 1 to {_LONGEST_KEY} printable ASCII characters")
        raise ApiError(400, "Idempotency-Key can't be read.", [problem])
    return "\0".join((who.id if who is not None else "", company, key))


def problem_of(error: msgspec.ValidationError, kind: type[Any]) -> Problem:
    unknown = _UNKNOWN.search(str(error))
    refused = refusal(error, kind)
    if unknown is not None:
        field = f"{refused.field}.{unknown[1][:60]}".lstrip(".")
        return Problem(field, "is no field that is known here", "unknown")
    code = "invalid"
    if refused.detail == "the field is missing":
        code = "missing"
    elif any(sign in refused.detail for sign in ("<=", ">=", "length")):
        code = "range"
    return Problem(refused.field, refused.detail, code)


def _is_boolean(kind: type[Form], name: str) -> bool:
    hint = get_type_hints(kind).get(name)
    return hint is bool or (get_origin(hint) is not None and bool in get_args(hint)) or hint == bool | None


def _boolean(text: str) -> object:
    """msgspec reads 1 and 0, but not these."""
    return {"true": True, "false": False}.get(text, text)
