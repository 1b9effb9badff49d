"""A bearer token from a file, for SASL/OAUTHBEARER (RFC 7628): somebody beside the program renews the file,
as Kubernetes does with a projected token, or an agent of the identity provider."""

from __future__ import annotations

import base64
import binascii
import json
import logging
import math
import time
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

_OPAQUE_FOR = 60.0
"""Seconds after which a token that does not say when it ends is read again."""
_AGAIN = 10.0
"""Seconds after which the file is looked at again when it holds nothing better than an expired token."""


class TokenFile:
    """Reads the file whenever a client asks. A file that can't be read later leaves the last token in use, so
    that a moment's absence while it is renewed ends no connection."""

    def __init__(self, path: str) -> None:
        """Raises OSError when the file can't be read, ValueError when it is empty."""
        self._path = Path(path)
        self._last = self._read()

    def __repr__(self) -> str:
        return f"TokenFile({str(self._path)!r})"

    def token(self) -> str:
        """The newest token that could be read."""
        try:
            self._last = self._read()
        except (OSError, ValueError) as error:
            # No traceback: its lines could show what was read.
            log.warning("oauth_token_file %s: %s; going on with the token before it", self._path, error)
        return self._last

    def librdkafka_callback(self, _config: str) -> tuple[str, float]:
        """The token and when librdkafka has to ask for the next, in seconds of Unix time; it asks when four
        fifths of the time until then are over. An exception here would cost the client its connection."""
        token = self.token()
        now = time.time()
        ends = _expiry(token)
        return token, now + _OPAQUE_FOR if ends is None else max(ends, now + _AGAIN)

    def _read(self) -> str:
        token = self._path.read_text("utf-8").strip()
        if not token:
            raise ValueError("it is empty")
        return token


def _expiry(token: str) -> float | None:
    """The claim ``exp`` of a JWT (RFC 7519, 4.1.4); None where there is none. Nothing is verified: that is
    for the brokers."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        claims: Any = json.loads(base64.urlsafe_b64decode(padded))
        ends = float(claims["exp"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        return None
    return ends if math.isfinite(ends) else None
