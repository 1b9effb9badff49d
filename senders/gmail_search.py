"""Asks Gmail whether a mailbox has sent a message: the search of its API, by Message-ID.

https://developers.google.com/workspace/gmail/api/reference/rest/v1/users.messages/list
"""

from __future__ import annotations

import aiohttp

from senders.settings import GmailSettings
from streams.domain.messages import Accepted, Inquiry, NotFound, Unknown
from streams.domain.reasons import Reason
from streams.secret import Secret

PROVIDER = "gmail"


class GmailSearch:
    """One HTTP session, opened on first use (it belongs to the running loop)."""

    def __init__(self, settings: GmailSettings) -> None:
        self._url = settings.api_url.rstrip("/") + "/gmail/v1/users/me/messages"
        self._timeout = aiohttp.ClientTimeout(total=settings.token_timeout)
        self._session: aiohttp.ClientSession | None = None

    async def find(self, message_id: str, token: Secret) -> Inquiry:
        """``Accepted`` where the mailbox has it among what it sent. Never raises."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=True
            )
        wanted = {"q": f"in:sent rfc822msgid:{message_id.strip('<>')}", "maxResults": "1"}
        headers = {"Authorization": f"Bearer {token.reveal()}"}
        try:
            async with self._session.get(
                self._url, params=wanted, headers=headers, allow_redirects=False
            ) as answer:
                if answer.status != 200:
                    return Unknown(PROVIDER, Reason.NO_ANSWER, f"the search says HTTP {answer.status}")
                found = await answer.json(content_type=None)
        except Exception as error:  # noqa: BLE001 - a question without an answer is no reason to stop
            return Unknown(PROVIDER, Reason.NO_ANSWER, f"search: {type(error).__name__}")
        if not isinstance(found, dict):
            return Unknown(PROVIDER, Reason.NO_ANSWER, "the search's answer is none")
        return Accepted(PROVIDER, message_id) if found.get("messages") else NotFound(PROVIDER)

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()
