"""The bounces that lie in a connected mailbox: what left by it and could not be delivered comes back to it.

By Gmail's API, with the access that sending needs anyway. Only what mail servers wrote in the last days is
read, and each mail once: then it has a label of ours.
https://developers.google.com/workspace/gmail/api/reference/rest/v1/users.messages
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any

import aiohttp

from senders.settings import GmailSettings
from streams.secret import Secret

LABEL = "carillon-taken"
DAYS = 14
"""Mail servers give up after five days."""
WANTED = f"from:(mailer-daemon OR postmaster) newer_than:{DAYS}d -label:{LABEL}"
PAGE = 100
MOST = 10_000
"""Mails of one mailbox in one run; the next one goes on."""


class MailboxReadError(Exception):
    """The mailbox can't be read. The message repeats nothing of it."""


class GmailBounces:
    """One mailbox, as long as its access token is good. For ``async with``."""

    def __init__(self, settings: GmailSettings, token: Secret) -> None:
        self._url = settings.api_url.rstrip("/") + "/gmail/v1/users/me/"
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=settings.token_timeout),
            headers={"Authorization": f"Bearer {token.reveal()}"},
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=True,
        )

    async def __aenter__(self) -> GmailBounces:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def mails(self) -> AsyncIterator[bytes]:
        """Whoever asks for the next mail has taken the one before: that gets the label. Raises
        MailboxReadError."""
        label = await self._label()
        for id_ in await self._found():
            raw = (await self._call("GET", f"messages/{id_}", {"format": "raw"})).get("raw")
            try:
                mail = urlsafe_b64decode(str(raw) + "==")
            except (binascii.Error, ValueError):
                raise MailboxReadError("a message of the API's is none") from None
            yield mail
            await self._call("POST", f"messages/{id_}/modify", {}, {"addLabelIds": [label]})

    async def _found(self) -> list[str]:
        """All at once: what gets the label would move the pages."""
        found: list[str] = []
        query = {"q": WANTED, "maxResults": str(PAGE)}
        while len(found) < MOST:
            answer = await self._call("GET", "messages", query)
            found += _ids(answer.get("messages"))
            after = answer.get("nextPageToken")
            if not isinstance(after, str):
                break
            query["pageToken"] = after
        return found

    async def _label(self) -> str:
        """Its id; made where the mailbox has none."""
        labels = (await self._call("GET", "labels", {})).get("labels")
        named = [one for one in labels if isinstance(one, dict)] if isinstance(labels, list) else []
        ids = [*_ids([one for one in named if one.get("name") == LABEL])]
        if not ids:
            new = {"name": LABEL, "labelListVisibility": "labelHide", "messageListVisibility": "hide"}
            ids = _ids([await self._call("POST", "labels", {}, new)])
        if not ids:
            raise MailboxReadError("a label of the API's is none")
        return ids[0]

    async def _call(
        self, method: str, path: str, query: Mapping[str, str], body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        try:
            async with self._session.request(
                method, self._url + path, params=query, json=body, allow_redirects=False
            ) as answer:
                if answer.status != 200:
                    raise MailboxReadError(f"Gmail's API says HTTP {answer.status}")
                found = await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise MailboxReadError(f"Gmail's API: {type(error).__name__}") from None
        if not isinstance(found, dict):
            raise MailboxReadError("the API's answer is none")
        return found


def _ids(items: object) -> list[str]:
    """Those of ``[{"id": ...}, ...]`` that can stand in a path."""
    given = [one.get("id") for one in items if isinstance(one, dict)] if isinstance(items, list) else []
    return [id_ for id_ in given if isinstance(id_, str) and id_.replace("_", "").isalnum() and id_.isascii()]
