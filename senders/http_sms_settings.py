"""A provider that is described by a file: where texts are posted, what is in them, and what answers mean.

TOML; ``docs/integrations.md`` explains each line. The password or token is not in it: it is a secret setting
of its own.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from schemas.records import EventStatus
from senders.description import DescriptionError, Table
from senders.outcomes import NAMED_VERDICTS, Verdict
from streams.secret import Secret

PLACEHOLDERS = ("to", "from", "text", "id", "seconds", "status_url")
"""What a text's parts are called in the file: recipient, sender, text, our own id of the delivery, the
seconds for which it is of use, and where receipts are to be posted."""

TOKEN = "{token}"  # noqa: S105 - where the secret goes

_ABOUT = frozenset({"to", "from", "text"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """How the provider is asked whether it has a message."""

    url: str
    """``{id}`` in it becomes the delivery id."""
    items: str
    """Path to the list of messages in the answer; empty: the answer is the one message."""
    reference: str
    """Path within a message to our id: one that does not have it there is not ours, whatever its text."""
    id: str
    """Path within a message to the provider's id."""


RECEIPT_STATUSES = (
    EventStatus.QUEUED,
    EventStatus.SENT,
    EventStatus.DELIVERED,
    EventStatus.UNDELIVERED,
    EventStatus.FAILED,
)
"""What the description of a provider may call what became of a message."""

SIGNED = ("hmac-sha256", "hmac-sha1", "hmac-sha512", "secret", "no")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptSettings:
    """What is posted to a message's ``{status_url}``. Paths as in ``HttpSmsSettings``, into the posted JSON;
    names of fields of a form."""

    format: Literal["json", "form"]
    id: str
    """To the provider's id of the message."""
    status: str
    statuses: Mapping[str, EventStatus]
    """By what stands there; the others are passed over."""
    code: str = ""
    """To an error code, which the table of the outcomes explains; empty: there is none."""
    to: str = ""
    """To the recipient's number, so that one that is bad for good is blocked; empty: none is."""
    signed: str = "no"
    """One of ``SIGNED``: an HMAC of the body by the secret, the secret itself, or nothing."""
    header: str = ""
    """Where the signature or the secret is."""
    prefix: str = ""
    """What stands before it there."""
    encoding: Literal["hex", "base64"] = "hex"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSmsSettings:
    """Times are seconds. A path is names and list positions, full stops between them: ``messages.0.id``."""

    name: str
    url: str
    format: Literal["json", "form"]
    body: Mapping[str, Any]
    """Its texts have the placeholders; flat for a form."""
    headers: Mapping[str, str]
    """With ``{token}`` and ``{id}`` (an idempotency key)."""
    id: str
    """Path in the answer to the provider's id of the message."""
    code: str = ""
    """Path in the answer to an error code; empty: there is none."""
    sender: str = ""
    """Stands in for a messaging service of Twilio's (``MG...``), which is nobody else's sender."""
    user: str = ""
    """With ``token`` as password (basic authentication); empty: the headers have ``{token}``."""
    statuses: Mapping[int, Verdict] = field(default_factory=dict)
    """By HTTP status; what is not here is decided as everywhere (``HTTP_STATUSES``, ``HTTP_CLASSES``)."""
    codes: Mapping[str, Verdict] = field(default_factory=dict)
    """By error code; it goes before the status, also in an answer of 2xx."""
    query: Query | None = None
    """None: it can't be asked, and what became unknown stays so."""
    receipts: ReceiptSettings | None = None
    """None: it posts none."""
    token: Secret = Secret("")
    connect_timeout: float = 5.0
    answer_timeout: float = 15.0
    connections: int = 64
    per_second: float = 0.0
    """0: not paced."""
    burst: int = 1


def read_description(text: str, token: Secret) -> HttpSmsSettings:
    """Raises DescriptionError."""
    try:
        top = Table("", tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise DescriptionError(f"no TOML: {error}") from None
    send, outcomes, receipts = top.table("send"), top.table("outcomes"), top.table("receipts")
    auth, query = send.table("auth"), top.table("query")
    made = HttpSmsSettings(
        name=_name(top.text("name")),
        url=_url("send.url", send.text("url")),
        format=_format("send.format", send.text("format", "json")),
        body=_body(send.raw("body")),
        headers={name: str(value) for name, value in send.raw("headers").items()},
        id=send.text("id"),
        code=send.text("code", ""),
        sender=send.text("sender", ""),
        user=auth.text("user", ""),
        statuses={_status(key): _verdict(key, value) for key, value in outcomes.raw("status").items()},
        codes={key: _verdict(key, value) for key, value in outcomes.raw("code").items()},
        query=_query(query) if query.given else None,
        receipts=_receipts(receipts) if receipts.given else None,
        token=token,
        per_second=float(send.number("per_second", 0)),
        burst=int(send.number("burst", 1)),
    )
    for table in (top, send, outcomes, auth, query, receipts):
        table.nothing_else()
    _fits_together(made)
    return made


def _name(name: str) -> str:
    if not (name.isascii() and name.replace("-", "").replace("_", "").isalnum() and len(name) <= 40):
        raise DescriptionError(
            "name: letters, digits, - and _, at most 40; the delivery log has it as provider"
        )
    if name == "twilio":
        raise DescriptionError("name: twilio is the other one")
    return name


def _url(key: str, url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.fragment:
        raise DescriptionError(f"{key}: not a plain http or https address")
    return url


def _format(key: str, name: str) -> Literal["json", "form"]:
    if name not in ("json", "form"):
        raise DescriptionError(f"{key}: expected json or form, got {name!r}")
    return cast("Literal['json', 'form']", name)


def _body(given: dict[str, Any]) -> dict[str, Any]:
    said = _leaves(given)
    for name in _ABOUT:
        if not any(f"{{{name}}}" in leaf for leaf in said):
            raise DescriptionError(f"send.body: nothing in it has {{{name}}}")
    return given


def _leaves(value: object) -> list[str]:
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in _leaves(each)]
    if isinstance(value, list):
        return [leaf for each in value for leaf in _leaves(each)]
    return [value] if isinstance(value, str) else []


def _status(key: str) -> int:
    if not (key.isdecimal() and 200 <= int(key) <= 599):
        raise DescriptionError(f"outcomes.status.{key}: expected an HTTP status from 200 to 599")
    return int(key)


def _verdict(key: str, name: object) -> Verdict:
    if name not in NAMED_VERDICTS:
        raise DescriptionError(f"outcomes: {key} = {name!r}: expected one of {', '.join(NAMED_VERDICTS)}")
    return NAMED_VERDICTS[str(name)]


def _query(table: Table) -> Query:
    url = _url("query.url", table.text("url"))
    if "{id}" not in url:
        raise DescriptionError("query.url: needs {id}, our own id of the message")
    return Query(
        url=url, items=table.text("items", ""), reference=table.text("reference"), id=table.text("id")
    )


def _receipts(table: Table) -> ReceiptSettings:
    signed = table.text("signed")
    if signed not in SIGNED:
        raise DescriptionError(f"receipts.signed: expected one of {', '.join(SIGNED)}, got {signed!r}")
    encoding = table.text("encoding", "hex")
    if encoding not in ("hex", "base64"):
        raise DescriptionError(f"receipts.encoding: expected hex or base64, got {encoding!r}")
    header = table.text("header", "") if signed == "no" else table.text("header")
    return ReceiptSettings(
        format=_format("receipts.format", table.text("format", "json")),
        id=table.text("id"),
        status=table.text("status"),
        statuses={key: _receipt_status(key, value) for key, value in table.raw("statuses").items()},
        code=table.text("code", ""),
        to=table.text("to", ""),
        signed=signed,
        header=header,
        prefix=table.text("prefix", ""),
        encoding=cast("Literal['hex', 'base64']", encoding),
    )


def _receipt_status(key: str, name: object) -> EventStatus:
    if name not in RECEIPT_STATUSES:
        expected = ", ".join(RECEIPT_STATUSES)
        raise DescriptionError(f"receipts.statuses: {key} = {name!r}: expected one of {expected}")
    return EventStatus(str(name))


def _fits_together(made: HttpSmsSettings) -> None:
    if made.format == "form" and any(isinstance(value, dict | list) for value in made.body.values()):
        raise DescriptionError("send.body: a form has no tables and lists in it")
    used = bool(made.user) or any(TOKEN in value for value in made.headers.values())
    if used and not made.token:
        raise DescriptionError("http_sms_token: needed with send.auth.user or {token}")
    if made.token and not used:
        raise DescriptionError(
            "send: the token is used nowhere: set send.auth.user, or a header with {token}"
        )
    if made.query is not None and not any("{id}" in leaf for leaf in _leaves(dict(made.body))):
        raise DescriptionError("query: nobody can be asked for an id that send.body does not have: {id}")
    told = any("{status_url}" in leaf for leaf in _leaves(dict(made.body)))
    if told != (made.receipts is not None):
        raise DescriptionError("receipts: they are posted to {status_url} in send.body: one needs the other")
    if made.receipts is not None and not made.receipts.statuses:
        raise DescriptionError("receipts.statuses: needed")
