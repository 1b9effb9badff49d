"""How Faust's consumer logs in, from the settings. Apart from ``security``: commands do without Faust."""

from __future__ import annotations

import asyncio
import ssl

from aiokafka.abc import AbstractTokenProvider
from faust.auth import OAuthCredentials, SASLCredentials
from faust.types.auth import CredentialsT

from streams.kafka.security import token_file
from streams.kafka.tokens import TokenFile
from streams.settings import Settings


class TokenProvider(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka has no types
    """aiokafka asks at each new connection."""

    def __init__(self, tokens: TokenFile) -> None:
        self._tokens = tokens

    async def token(self) -> str:
        return await asyncio.to_thread(self._tokens.token)


def broker_credentials(settings: Settings, context: ssl.SSLContext | None) -> CredentialsT | None:
    """None where nobody logs in. ``context``: of ``security.ssl_context``; Faust would take its absence for
    a wish to log in without encryption.

    Raises SettingsError when the token file can't be read.
    """
    if settings.security_protocol != "SASL_SSL":
        return None
    if settings.sasl_mechanism == "OAUTHBEARER":
        return OAuthCredentials(oauth_cb=TokenProvider(token_file(settings)), ssl_context=context)
    return SASLCredentials(
        username=settings.sasl_user,
        password=settings.sasl_password.reveal(),
        mechanism=settings.sasl_mechanism,
        ssl_context=context,
    )
