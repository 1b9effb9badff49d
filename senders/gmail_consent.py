"""A mailbox's owner lets the service write from it: the authorization code flow (RFC 6749 4.1) with PKCE
(RFC 7636). https://developers.google.com/identity/protocols/oauth2/web-server"""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp

from senders.settings import GmailSettings
from streams.secret import Secret

SCOPE = "https://mail.google.com/"
"""The only one that SMTP takes (https://developers.google.com/workspace/gmail/imap/xoauth2-protocol)."""

_LARGEST = 64 * 1024


class ConsentError(Exception):
    """There is no access. The message says why, and repeats nothing of codes and tokens."""


@dataclass(frozen=True, slots=True)
class Consent:
    address: str
    refresh_token: Secret


def consent_url(settings: GmailSettings, redirect: str, state: str, verifier: str) -> str:
    """Where the owner is sent. ``verifier``: 43 to 128 characters of chance, kept until ``redeemed``."""
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    asked = {
        "client_id": settings.client_id,
        "redirect_uri": redirect,
        "response_type": "code",
        "scope": SCOPE,
        "state": state,
        "code_challenge": urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
        # A refresh token is given for these two alone, also to somebody who has agreed before.
        "access_type": "offline",
        "prompt": "consent",
    }
    return f"{settings.auth_url}?{urlencode(asked)}"


async def redeemed(settings: GmailSettings, redirect: str, code: str, verifier: str) -> Consent:
    """The code's refresh token, and whose mailbox it is for. Raises ConsentError."""
    timeout = aiohttp.ClientTimeout(total=settings.token_timeout)
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect,
        "client_id": settings.client_id,
        "client_secret": settings.client_secret.reveal(),
        "code_verifier": verifier,
    }
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            async with session.post(settings.token_url, data=form, allow_redirects=False) as answer:
                given = await _object(answer)
            # Owners may untick what they are asked for.
            if SCOPE not in str(given.get("scope", "")).split():
                raise ConsentError("access to the mailbox was not granted")
            token, refresh = given.get("access_token"), given.get("refresh_token")
            if not isinstance(token, str) or not isinstance(refresh, str) or not refresh:
                raise ConsentError("no lasting access was given")
            profile = f"{settings.api_url}/gmail/v1/users/me/profile"
            headers = {"Authorization": f"Bearer {token}"}
            async with session.get(profile, headers=headers, allow_redirects=False) as answer:
                address = (await _object(answer)).get("emailAddress")
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ConsentError(f"no answer ({type(error).__name__})") from None
    if not isinstance(address, str) or not address:
        raise ConsentError("the mailbox has no address")
    return Consent(address, Secret(refresh))


async def _object(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    raw = await answer.content.read(_LARGEST)
    try:
        found = json.loads(raw)
    except ValueError:
        found = None
    if not isinstance(found, dict) or answer.status != 200:
        code = found.get("error") if isinstance(found, dict) else None
        shown = code if isinstance(code, str) and code.isidentifier() else f"status {answer.status}"
        raise ConsentError(f"refused ({shown})")
    return found
