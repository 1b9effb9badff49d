"""A local SMS provider with an API of its own, such as many have, and the faults of the other one.

``POST /v2/messages`` (JSON or form: to, from, text, reference, ttl) answers ``{"message": {"id": ...}}``;
``GET /v2/messages?reference=...`` answers ``{"messages": [...]}``. ``DESCRIPTION`` is what a worker is told
of it. Faults, ``/``, ``/_messages`` and ``/_control`` are those of ``deploy.fakes.sms``.
"""

from __future__ import annotations

import hmac
import json
import secrets
from base64 import b64encode
from collections.abc import Mapping

from aiohttp import web

from deploy.fakes.ledger import Entry
from deploy.fakes.sms import SmsFake

DESCRIPTION = """
name = "local"

[send]
url = "{url}/v2/messages"
id = "message.id"
code = "code"
sender = "Workshop"

[send.headers]
Authorization = "Bearer {{token}}"
Idempotency-Key = "{{id}}"

[send.body]
to = "{{to}}"
from = "{{from}}"
text = "{{text}}"
reference = "{{id}}"
ttl = "{{seconds}}"

[outcomes.code]
opted_out = "opted_out"
bad_number = "invalid_recipient"

[query]
url = "{url}/v2/messages?reference={{id}}"
items = "messages"
reference = "reference"
id = "id"
"""
"""To be formatted with ``url``, where the provider is."""

SIGNATURE = "X-Signature"
WITH_RECEIPTS = (
    DESCRIPTION.replace("ttl = ", 'callback = "{{status_url}}"\nttl = ')
    + """
[receipts]
id = "message.id"
status = "message.status"
code = "message.code"
to = "message.to"
signed = "hmac-sha256"
header = "X-Signature"
prefix = "sha256="

[receipts.statuses]
SENT = "sent"
DELIVRD = "delivered"
UNDELIV = "undelivered"
"""
)
"""The same of a provider that posts receipts to each message's ``callback``."""


class HttpSmsFake(SmsFake):
    """Same account and token; Basic or Bearer."""

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/v2/messages", self._take), web.get("/v2/messages", self._find)]

    async def _take(self, request: web.Request) -> web.StreamResponse:
        refusal = self._authorised(request)
        if refusal is not None:
            return refusal
        given = dict(await request.post()) or await request.json()
        fields = {name: str(value) for name, value in given.items()}
        behaviour = self._next(request.method, fields.get("to", ""))
        answer = await self._before(behaviour)
        if answer is None:
            answer = self._wrong(fields)
        if answer is not None:
            return answer
        callback = fields.get("callback", "")
        more = {"reference": fields.get("reference", ""), "ttl": given.get("ttl"), "callback": callback}
        key = request.headers.get("Idempotency-Key", "")
        entry = self.ledger.append(
            {**self._resource(fields["to"], fields["from"], fields["text"]), **more, "key": key}
        )
        return await self._after(behaviour, request, entry)

    async def _find(self, request: web.Request) -> web.StreamResponse:
        refusal = self._authorised(request)
        if refusal is not None:
            return refusal
        reference = request.query.get("reference", "")
        answer = await self._before(self._next(request.method, ""))
        if answer is not None:
            return answer
        found = [entry for entry in self.ledger.entries if entry["reference"] == reference]
        return web.json_response({"messages": [_shown(entry) for entry in found] if self.listed else []})

    def _authorised(self, request: web.Request) -> web.Response | None:
        self.requests += 1
        basic = "Basic " + b64encode(f"{self.account}:{self.token}".encode()).decode()
        given = request.headers.get("Authorization", "")
        if any(secrets.compare_digest(given, good) for good in (basic, f"Bearer {self.token}")):
            return None
        return web.json_response({"code": "unauthorized"}, status=401)

    def _wrong(self, fields: Mapping[str, str]) -> web.Response | None:
        to = fields.get("to", "")
        if to in self.opted_out:
            return web.json_response({"code": "opted_out", "message": f"{to} has opted out"}, status=422)
        if to in self.invalid or not (to and fields.get("from") and fields.get("text")):
            return web.json_response({"code": "bad_number", "message": f"{to} is no number"}, status=422)
        return None

    def _accepted(self, entry: Entry) -> web.Response:
        return web.json_response({"message": _shown(entry)}, status=202)


def receipt(entry: Entry, status: str, secret: str, code: str = "") -> tuple[bytes, dict[str, str]]:
    """Body and headers of what is posted to a message's ``callback``."""
    message = {"id": entry["sid"], "to": entry["to"], "status": status, "code": code or None}
    body = json.dumps({"message": message}).encode()
    signature = "sha256=" + hmac.digest(secret.encode(), body, "sha256").hex()
    return body, {SIGNATURE: signature, "Content-Type": "application/json"}


def _shown(entry: Entry) -> Entry:
    return {"id": entry["sid"], "reference": entry["reference"], "to": entry["to"], "status": entry["status"]}


if __name__ == "__main__":
    # Run as a script this module is ``__main__``, so nothing above may depend on its name.
    from deploy.fakes.process import main

    main("http_sms", lambda folder, now: HttpSmsFake(folder=folder, now=now))
