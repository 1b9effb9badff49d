"""Secrets in HashiCorp Vault: one field, or all of them, of a secret of a key/value engine of version 2.

``vault:MOUNT/PATH#FIELD`` says which; without ``#FIELD`` it is the whole secret as a JSON object. No error
says a secret or the token, and no redirect is followed with them.

https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2#read-secret-version,
https://developer.hashicorp.com/vault/api-docs#http-status-codes
"""

from __future__ import annotations

import http.client
import os
import ssl
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

import msgspec

from streams.domain.secrets import vault_place
from streams.secret import Secret

WITHIN = 5.0
"""Seconds for each of: the connection, and each piece of an answer."""
LARGEST = 1024 * 1024
"""Bytes of an answer; Vault's own limit of a secret is half a megabyte."""


class VaultError(Exception):
    """The secret can't be had, now or later, until somebody mends something. The message says what."""


class VaultAwayError(OSError):
    """Vault gives out nothing just now: not there, sealed, busy, or our token has ended."""


@dataclass(frozen=True, slots=True)
class VaultSettings:
    url: str
    """Scheme, host and port: https, or http on this machine (an agent of Vault's)."""
    token: str
    """``env:NAME``, or ``file:PATH``, which is read for each request: somebody else renews it."""
    namespace: str = ""
    ca_file: str = ""
    """Trust this authority instead of the system's."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        plain = not (parts.username or parts.query or parts.fragment)
        safe = parts.scheme == "https" or (parts.scheme == "http" and _is_here(parts.hostname or ""))
        if not (parts.hostname and plain and safe):
            raise ValueError(
                "vault: expected an https URL without user and query (http on this machine only)"
            )
        if not self.token.startswith(("env:", "file:")):
            raise ValueError("vault_token: expected env:NAME or file:PATH, not the token itself")


class _Data(msgspec.Struct):
    data: dict[str, Any] | None


class _Answer(msgspec.Struct):
    data: _Data


_decode = msgspec.json.Decoder(_Answer).decode


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """The token goes nowhere else."""


class Vault:
    """Every call asks Vault and blocks meanwhile; from any thread."""

    def __init__(self, settings: VaultSettings, environ: Mapping[str, str] = os.environ) -> None:
        """Raises OSError for a file of authorities that can't be read."""
        self._settings = settings
        self._environ = environ
        context = ssl.create_default_context(cafile=settings.ca_file or None)
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context), _Stay()
        )

    def read(self, reference: str) -> Secret:
        """Raises VaultError and VaultAwayError."""
        place = vault_place(reference)
        if place is None:
            raise VaultError("expected vault:MOUNT/PATH#FIELD")
        mount, path, field = place
        shown = f"{mount}/{path}"
        status, body = self._get(f"{mount}/data/{path}")
        if status == 403:
            raise self._refused(shown, f"{mount}/data/{path}")
        if status == 404:
            raise VaultError(f"Vault has no {shown} in a key/value engine of version 2, or it was deleted")
        if status != 200:
            raise VaultAwayError(_AWAY.get(status, f"Vault answers HTTP {status}"))
        try:
            found = _decode(body).data.data
        except (msgspec.MsgspecError, UnicodeError):
            raise VaultAwayError("what answers is not Vault") from None  # the library's words may quote it
        if found is None:
            raise VaultError(f"{shown} was deleted in Vault")
        if not field:
            return Secret(msgspec.json.encode(found).decode())
        value = found.get(field)
        if not isinstance(value, str):
            raise VaultError(f"{shown} has no text {field} in Vault")
        return Secret(value.strip())  # as of a file: what a shell has put there may end in a newline

    def _refused(self, shown: str, path: str) -> Exception:
        """Vault says the same of a secret that is not ours to read and of a token that has ended."""
        status, _ = self._get("auth/token/lookup-self")
        if status == 200:
            return VaultError(f"our token may not read {shown} in Vault: its policy needs read on {path}")
        return VaultAwayError("Vault does not take our token (vault_token): has it ended?")

    def _get(self, path: str) -> tuple[int, bytes]:
        """Status and body. Raises VaultAwayError."""
        # Vault Agent may ask for this header, which nobody can send by accident.
        headers = {"X-Vault-Token": self._token(), "X-Vault-Request": "true"}
        if self._settings.namespace:
            headers["X-Vault-Namespace"] = self._settings.namespace
        request = urllib.request.Request(  # noqa: S310 - the scheme is checked with the settings
            f"{self._settings.url.rstrip('/')}/v1/{path}", headers=headers
        )
        try:
            with self._opener.open(request, timeout=WITHIN) as answer:
                return answer.status, answer.read(LARGEST)
        except HTTPError as error:
            error.close()
            return error.code, b""
        except URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise VaultAwayError(
                    "Vault's certificate is of no authority that we trust (vault_ca), or of another host"
                ) from None
            raise VaultAwayError(f"Vault can't be reached ({type(error.reason).__name__})") from None
        except (OSError, http.client.HTTPException) as error:
            raise VaultAwayError(f"Vault does not answer ({type(error).__name__})") from None

    def _token(self) -> str:
        scheme, _, rest = self._settings.token.partition(":")
        try:
            token = self._environ.get(rest, "") if scheme == "env" else Path(rest).read_text("utf-8")
        except (OSError, ValueError):
            raise VaultAwayError("the file with Vault's token (vault_token) can't be read") from None
        token = token.strip()
        if not (token and token.isascii() and token.isprintable()):
            raise VaultAwayError("there is no token for Vault (vault_token)")
        return token


_AWAY: Mapping[int, str] = {
    301: "Vault sends us elsewhere: set vault to the address that it names",
    307: "a standby of Vault sends us elsewhere: set vault to the cluster's address",
    400: "Vault does not understand us: is vault_namespace right?",
    429: "Vault asks us to come later",
    472: "this Vault is a replica that has no secrets: set vault to the cluster's address",
    473: "this Vault is a standby: set vault to the cluster's address",
    503: "Vault is sealed or under maintenance",
}
"""What statuses other than 200, 403 and 404 mean."""


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
