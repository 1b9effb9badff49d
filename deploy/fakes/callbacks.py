"""What an SMS provider posts back: receipts and incoming texts, signed and retried as Twilio does.

Sources: https://www.twilio.com/docs/usage/webhooks/webhooks-security (signature),
https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides (retries) and
https://www.twilio.com/docs/messaging/guides/track-outbound-message-status (fields).
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urldefrag

import aiohttp

TOTAL = 15.0
"""Seconds for an address, all tries together."""

_DEFAULT_TRIES = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """The last one, and after how many requests. ``status`` 0: nobody answered."""

    status: int
    body: str
    tries: int


@dataclass(slots=True, kw_only=True)
class Callbacks:
    """``public``: the beginning of addresses that in truth lead to ``local`` (the reverse proxy's part);
    signatures are made for the public address."""

    account: str
    token: str
    public: str = ""
    local: str = ""

    async def post(self, url: str, form: Mapping[str, str]) -> Answer:
        """Posts until it is taken, or as often as the address allows."""
        plain, fragment = urldefrag(url)
        wishes = parse_qs(fragment)
        tries = 1 + int(wishes["rc"][0]) if "rc" in wishes else 1 + _DEFAULT_TRIES
        policies = wishes.get("rp", ["ct"])[0].split(",")
        headers = {"X-Twilio-Signature": signature(self.token, plain, form)}
        where = self.local + plain.removeprefix(self.public) if plain.startswith(self.public) else plain
        answer = Answer(0, "", 0)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TOTAL)) as session:
            for number in range(1, tries + 1):
                try:
                    async with session.post(where, data=dict(form), headers=headers) as got:
                        answer = Answer(got.status, await got.text(), number)
                except (aiohttp.ClientError, TimeoutError):
                    answer = Answer(0, "", number)
                if not {"all", f"{answer.status // 100}xx" if answer.status else "ct"}.intersection(policies):
                    return answer
                if 200 <= answer.status < 300:
                    return answer
        return answer

    async def receipt(self, entry: Mapping[str, Any], status: str, **more: str) -> Answer:
        """Of an accepted message, to the address that came with it. ``more``: ErrorCode, NumSegments, ..."""
        form = {
            "SmsSid": entry["sid"],
            "SmsStatus": status,
            "MessageStatus": status,
            "To": entry["to"],
            "MessageSid": entry["sid"],
            "AccountSid": self.account,
            "From": entry["from"] or "+15005550006",
            "ApiVersion": "2010-04-01",
            **more,
        }
        if entry["messaging_service_sid"]:
            form["MessagingServiceSid"] = entry["messaging_service_sid"]
        return await self.post(entry["status_callback"], form)

    async def text(self, url: str, sid: str, sender: str, to: str, body: str, **more: str) -> Answer:
        """Somebody wrote to one of our numbers. ``url``: where texts are posted; the answer is TwiML."""
        form = {
            "ToCountry": "PL",
            "SmsMessageSid": sid,
            "NumMedia": "0",
            "SmsSid": sid,
            "SmsStatus": "received",
            "Body": body,
            "To": to,
            "NumSegments": "1",
            "MessageSid": sid,
            "AccountSid": self.account,
            "From": sender,
            "ApiVersion": "2010-04-01",
            **more,
        }
        return await self.post(url, form)


def signature(token: str, url: str, form: Mapping[str, str]) -> str:
    signed = url + "".join(name + form[name] for name in sorted(form))
    return b64encode(hmac.new(token.encode(), signed.encode(), hashlib.sha1).digest()).decode()
