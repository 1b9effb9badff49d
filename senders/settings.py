"""Settings of the senders, one frozen record for each provider account."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from senders.http_sms_settings import HttpSmsSettings
from streams.secret import Secret
from streams.vault import VaultSettings

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
    connections: int = 8
    idle_seconds: float = 30.0
    """A pooled connection unused for so long is closed. Servers close theirs after 30 s to 5 min."""
    connect_timeout: float = 10.0
    """Each of: a free connection, the TCP connection, the greeting."""
    command_timeout: float = 30.0
    """Each answer before the final dot, and TLS and AUTH steps."""
    send_timeout: float = 60.0
    """All that comes before the final dot, by whichever way: after it nobody is still about to send, and an
    intent that another worker left may be looked into (``Options.inherited_after``)."""
    final_timeout: float = 120.0
    """The answer to the final dot. RFC 5321 4.5.3.2.6 allows a server 10 minutes, but nobody takes them,
    and every time-out here is an unknown."""
    per_second: float = 0.0
    burst: int = 1

    def __post_init__(self) -> None:
        if not self.host or not 0 < self.port < 65536:
            raise ValueError("host and a port from 1 to 65535 are needed")
        if self.username and self.tls is Tls.NONE and not is_loopback(self.host):
            raise ValueError("a password is not sent in clear: set tls to starttls or tls")
        _positive(
            self.connections,
            self.idle_seconds,
            self.connect_timeout,
            self.command_timeout,
            self.send_timeout,
            self.final_timeout,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DkimKey:
    """One that signs what leaves by the service's own mail server."""

    domain: str
    selector: str
    """The public key is the TXT record ``SELECTOR._domainkey.DOMAIN``."""
    private_key: Secret
    """PEM, unencrypted: RSA or Ed25519."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GmailSettings:
    """The service's OAuth client, by which companies let it write from their own mailboxes, and how a
    mailbox is used. Times are seconds.

    https://developers.google.com/identity/protocols/oauth2/web-server,
    https://developers.google.com/workspace/gmail/imap/xoauth2-protocol
    """

    client_id: str
    client_secret: Secret
    host: str = "smtp.gmail.com"
    port: int = 465
    tls: Tls = Tls.TLS
    ca_file: str = ""
    auth_url: str = "https://accounts.google.com/o/oauth2/v2/auth"
    token_url: str = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address, no token
    api_url: str = "https://gmail.googleapis.com"
    local_name: str = ""
    connections: int = 2
    """For each mailbox."""
    open_mailboxes: int = 32
    """So many keep idle connections; the one unused for longest closes its own first."""
    per_second: float = 1.0
    """For each mailbox, after ``burst`` at once. Gmail publishes no rate but refuses bursts (421 4.7.0)."""
    burst: int = 20
    probe_seconds: float = 900.0
    """A mailbox that refused us is tried again after so long; until then its messages go by the service."""
    connect_timeout: float = 10.0
    command_timeout: float = 30.0
    final_timeout: float = 120.0
    token_timeout: float = 15.0
    """For an access token, or an answer of the API."""
    vault: VaultSettings | None = None
    """Where mailboxes' secrets may be; None: only in the environment and in files."""

    def __post_init__(self) -> None:
        if not self.client_id or not self.client_secret:
            raise ValueError("client_id and client_secret are needed")
        if self.tls is Tls.NONE and not is_loopback(self.host):
            raise ValueError("a token is not sent in clear: set tls to starttls or tls")
        addresses = {"auth_url": self.auth_url, "token_url": self.token_url, "api_url": self.api_url}
        for name, url in addresses.items():
            here = is_loopback(urlsplit(url).hostname or "")
            _web_address(name, url, schemes=("http", "https") if here else ("https",))
        _positive(self.open_mailboxes, self.per_second, self.burst, self.probe_seconds, self.token_timeout)

    def smtp(self) -> SmtpSettings:
        """Of the connections of one mailbox. The login is not among them: it changes every hour."""
        return SmtpSettings(
            host=self.host,
            port=self.port,
            tls=self.tls,
            ca_file=self.ca_file,
            local_name=self.local_name,
            connections=self.connections,
            connect_timeout=self.connect_timeout,
            command_timeout=self.command_timeout,
            final_timeout=self.final_timeout,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderSettings:
    """What is None is not sent by this process."""

    sms: TwilioSettings | None = None
    http_sms: HttpSmsSettings | None = None
    """Steps in for ``sms``, or is the only one."""
    email: SmtpSettings | None = None
    dkim: tuple[DkimKey, ...] = ()
    """What leaves by ``email`` is signed with each."""
    gmail: GmailSettings | None = None
    """None: no mailbox can be used, and their messages leave by ``email`` from the service's address."""


def _web_address(name: str, value: str, schemes: tuple[str, ...] = ("http", "https")) -> None:
    parts = urlsplit(value)
    if parts.scheme not in schemes or not parts.hostname or parts.username or parts.fragment:
        raise ValueError(f"{name}: not a plain {' or '.join(schemes)} address")


def is_loopback(host: str) -> bool:
    """Nobody but programs of this machine is behind it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _positive(*values: float) -> None:
    if any(value <= 0 for value in values):
        raise ValueError("time-outs and connection limits are positive")
