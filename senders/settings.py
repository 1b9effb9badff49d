"""Settings of the senders, one frozen record for each provider account."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from streams.secret import Secret

LONGEST_VALIDITY = 36_000
"""Seconds. https://www.twilio.com/docs/messaging/api/message-resource: ValidityPeriod is 1 to 36,000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioSettings:
    """A Twilio account. Times are seconds."""

    account_sid: str
    token: Secret
    """The auth token, or the secret of ``api_key``."""
    api_key: str = ""
    """``SK...``: authenticate with an API key; empty: with the account's own token."""
    api_base: str = "https://api.twilio.com"
    """Scheme and host; a regional host or a local server."""
    status_callback: str = ""
    """Where receipts are posted; ``delivery_id`` and ``company`` are added to its query. Empty: none."""
    connect_timeout: float = 5.0
    """Until a connection stands, waiting for a free one included: not sent, tried again."""
    answer_timeout: float = 15.0
    """From then to the whole answer: unknown. Twilio answers within 10 s or says 504."""
    connections: int = 64
    per_second: float = 0.0
    """0: not paced."""
    burst: int = 1

    def __post_init__(self) -> None:
        _web_address("api_base", self.api_base)
        if self.status_callback:
            _web_address("status_callback", self.status_callback)
        if not self.account_sid or not self.token:
            raise ValueError("account_sid and token are needed")
        _positive(self.connect_timeout, self.answer_timeout, self.connections)


class Tls(StrEnum):
    STARTTLS = "starttls"
    """Begins in clear and must change to TLS (port 587); a server that doesn't offer it gets nothing."""
    TLS = "tls"
    """TLS from the first byte (port 465)."""
    NONE = "none"
    """In clear: for a relay on this machine or in a closed network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpSettings:
    """An SMTP account. Times are seconds. Certificates are always checked against the host's name."""

    host: str
    port: int
    tls: Tls = Tls.STARTTLS
    ca_file: str = ""
    """Trust this authority instead of the system's."""
    username: str = ""
    password: Secret | None = None
    local_name: str = ""
    """What we call ourselves in EHLO; empty: this machine's name."""
    envelope_from: str = ""
    """Where bounces go; empty: the message's own from address."""
    unsubscribe_url: str = ""
    """https; ``delivery_id`` and ``company`` are added to its query (RFC 8058 one-click); empty: none."""
    connections: int = 8
    idle_seconds: float = 30.0
    """A pooled connection unused for so long is closed. Servers close theirs after 30 s to 5 min."""
    connect_timeout: float = 10.0
    """Each of: a free connection, the TCP connection, the greeting."""
    command_timeout: float = 30.0
    """Each answer before the final dot, and TLS and AUTH steps."""
    final_timeout: float = 120.0
    """The answer to the final dot. RFC 5321 4.5.3.2.6 allows a server 10 minutes, but nobody takes them,
    and every time-out here is an unknown."""
    per_second: float = 0.0
    burst: int = 1

    def __post_init__(self) -> None:
        if not self.host or not 0 < self.port < 65536:
            raise ValueError("host and a port from 1 to 65535 are needed")
        if self.username and self.tls is Tls.NONE and not _is_loopback(self.host):
            raise ValueError("a password is not sent in clear: set tls to starttls or tls")
        if self.unsubscribe_url:
            _web_address("unsubscribe_url", self.unsubscribe_url, schemes=("https",))
        _positive(
            self.connections,
            self.idle_seconds,
            self.connect_timeout,
            self.command_timeout,
            self.final_timeout,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderSettings:
    """What is None is not sent by this process."""

    sms: TwilioSettings | None = None
    email: SmtpSettings | None = None


def _web_address(name: str, value: str, schemes: tuple[str, ...] = ("http", "https")) -> None:
    parts = urlsplit(value)
    if parts.scheme not in schemes or not parts.hostname or parts.username or parts.fragment:
        raise ValueError(f"{name}: not a plain {' or '.join(schemes)} address")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _positive(*values: float) -> None:
    if any(value <= 0 for value in values):
        raise ValueError("time-outs and connection limits are positive")
