"""One settings object, read once at start from the environment (``CARILLON_...``) and ``--set`` options.

Every field is a line of ``docs/settings.md`` and of ``carillon worker --help``; a test holds the three
together. Secrets are never given in clear: they name where the secret is (``env:NAME``, ``file:PATH``, or
``vault:MOUNT/PATH#FIELD``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from streams.domain.secrets import EXPECTED
from streams.secret import Secret

PREFIX = "CARILLON_"


class SettingsError(ValueError):
    """Some settings are wrong. ``problems`` has a line for each, with its name and what is expected."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


def _at(default: Any, help_text: str, *, choices: tuple[str, ...] = (), low: int | None = None) -> Any:
    return field(default=default, metadata={"help": help_text, "choices": choices, "low": low})


_FORMATS = ("auto", "avro", "json")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a process of Carillon is told. Durations are in milliseconds unless the name says otherwise."""

    # Kafka
    broker: str = _at("127.0.0.1:9092", "Bootstrap servers, host:port[,host:port...].")
    group: str = _at("carillon", "Consumer group of the workers.")
    instance_id: str = _at("", "Stable name of this worker (static membership); empty: a dynamic member.")
    session_timeout: int = _at(
        20_000, "Time without a heartbeat after which the group gives partitions away.", low=1000
    )
    leader_delay: int = _at(
        0, "Time that the group's leader holds back its assignment: 100 with the embedded broker.", low=0
    )
    security_protocol: str = _at(
        "PLAINTEXT",
        "How to talk to the brokers.",
        choices=("PLAINTEXT", "SSL", "SASL_SSL"),
    )
    ssl_ca: str = _at("", "File with the certificate authorities of the brokers; empty: the system's.")
    ssl_cert: str = _at("", "File with the client's certificate, if the brokers ask for one.")
    ssl_key: str = _at("", "File with the client's key; empty: it is in the file of the certificate.")
    ssl_key_password: Secret = _at(Secret(""), "Where the key's password is.")
    sasl_mechanism: str = _at(
        "",
        "How to log in.",
        choices=("", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"),
    )
    sasl_user: str = _at("", "User name at the brokers.")
    sasl_password: Secret = _at(Secret(""), "Where the password is.")
    oauth_token_file: str = _at(
        "", "File with the token (JWT) for OAUTHBEARER; read again whenever a client needs a newer one."
    )
    partitions: int = _at(8, "Partitions of the internal topics (fixed when they are created).", low=1)
    replication: int = _at(1, "Copies of each partition when topics are created.", low=1)
    topic_prefix: str = _at("", "Put before the name of every topic.")
    order_format: str = _at(
        "auto",
        "Form of the records on orders: avro, json, or auto (each by its first byte).",
        choices=_FORMATS,
    )
    lead_format: str = _at(
        "auto",
        "Form of the records on leads: avro, json, or auto (each by its first byte).",
        choices=_FORMATS,
    )
    appointment_format: str = _at(
        "auto", "Form of the records on appointments.", choices=("auto", "debezium")
    )

    # Schema registry
    registry: str = _at("embedded", "URL of the schema registry, or embedded (fixed ids, one program only).")
    registry_user: str = _at("", "User name at the registry.")
    registry_password: Secret = _at(Secret(""), "Where the password is.")
    registry_ca: str = _at("", "File with the certificate authorities of the registry.")

    # Where secrets are
    vault: str = _at(
        "", "URL of HashiCorp Vault, where secrets may be (vault:MOUNT/PATH#FIELD); empty: there is none."
    )
    vault_token: str = _at(
        "", "Where its token is: env:NAME, or file:PATH, which is read again whenever Vault is asked."
    )
    vault_namespace: str = _at("", "Vault's namespace; empty: it has none.")
    vault_ca: str = _at("", "File with the certificate authorities of Vault; empty: the system's.")

    # State and time
    data: Path = _at(Path(".carillon"), "Folder for the partitions' stores. A cache: it can be lost.")
    clock: str = _at("system", "system, or file:PATH for a clock that another process drives.")

    # Sending
    environment: str = _at(
        "test",
        "production: everybody may be written to. test: only allowed_addresses, and whoever providers on "
        "this machine (127.0.0.1) reach.",
        choices=("test", "production"),
    )
    allowed_addresses: str = _at(
        "",
        "Outside production, who may be written to: addresses, @domains, beginnings (+4860*), with commas.",
    )
    sms_account: str = _at("", "Account SID at the SMS provider; empty: no SMS is sent by this worker.")
    sms_token: Secret = _at(Secret(""), "Where the provider's token is.")
    sms_api: str = _at("", "Base URL of the provider's API; empty: the provider's own.")
    sms_timeout: int = _at(15_000, "Time after which an SMS without an answer is unknown.", low=100)
    sms_in_flight: int = _at(64, "SMS under way at once.", low=1)
    http_sms: str = _at(
        "", "File that describes a second SMS provider (TOML), or the only one; empty: there is none."
    )
    http_sms_token: Secret = _at(Secret(""), "Where its token or password is.")
    http_sms_receipt_secret: Secret = _at(
        Secret(""), "Where the secret is that its receipts are signed with, or bring along."
    )
    sms_per_minute: int = _at(
        0, "SMS a minute that the account may send, over all workers; 0: as many as it takes.", low=0
    )
    smtp_host: str = _at("", "Mail relay; empty: no e-mail is sent by this worker.")
    smtp_port: int = _at(587, "Its port.", low=1)
    smtp_tls: str = _at("starttls", "Encryption to the relay.", choices=("starttls", "tls", "none"))
    smtp_user: str = _at("", "User name at the relay.")
    smtp_password: Secret = _at(Secret(""), "Where the password is.")
    smtp_ca: str = _at("", "File with the certificate authorities of the relay.")
    smtp_timeout: int = _at(30_000, "Time in which an e-mail is handed over, or has not been sent.", low=100)
    smtp_connections: int = _at(8, "Connections to the relay, each used by one message at a time.", low=1)
    smtp_per_minute: int = _at(
        0, "E-mails a minute that the relay may be given, over all workers; 0: as many as it takes.", low=0
    )
    smtp_envelope_from: str = _at(
        "", "Address that bounces of what the relay sends go to; empty: each message's own sender."
    )
    email_domain: str = _at("carillon.invalid", "Domain of the Message-IDs.")
    dkim_domain: str = _at("", "Domain whose keys sign what the relay sends; empty: nothing is signed.")
    dkim_selector: str = _at("", "Selector of the key: its record is SELECTOR._domainkey.DOMAIN.")
    dkim_key: Secret = _at(Secret(""), "Where the private key is (PEM; RSA or Ed25519).")
    dkim_second_selector: str = _at("", "Selector of a second key, for another algorithm; empty: none.")
    dkim_second_key: Secret = _at(Secret(""), "Where the second key is.")
    gmail_client: str = _at(
        "", "OAuth client id, by which connected mailboxes are used; empty: none is used by this worker."
    )
    gmail_client_secret: Secret = _at(Secret(""), "Where the client's secret is.")
    gmail_host: str = _at("smtp.gmail.com", "Mail server of the mailboxes.")
    gmail_port: int = _at(465, "Its port.", low=1)
    gmail_tls: str = _at("tls", "Encryption to it.", choices=("starttls", "tls", "none"))
    gmail_ca: str = _at("", "File with its certificate authorities; empty: the system's.")
    gmail_auth_url: str = _at(
        "https://accounts.google.com/o/oauth2/v2/auth", "Where the owner of a mailbox agrees to its use."
    )
    gmail_token_url: str = _at("https://oauth2.googleapis.com/token", "Where access tokens are given out.")
    gmail_api: str = _at(
        "https://gmail.googleapis.com", "Gmail's API, asked whether a mailbox has sent a message."
    )
    hold: int = _at(
        60_000, "How long nothing is sent after an assignment, at most, while unread records are read.", low=0
    )
    consent_wait: int = _at(60_000, "How long a message waits for a customer nothing is known of.", low=0)
    hash_key: Secret = _at(Secret("carillon"), "Key of the address hashes in the delivery log.")

    # What comes back
    public_url: str = _at(
        "",
        "Where providers and customers reach the gateway (https://hooks.example); empty: no receipts are "
        "asked for, no unsubscribe links written.",
    )
    link_key: Secret = _at(
        Secret(""), "Where the key of the links to the gateway is; needed with public_url."
    )
    link_key_before: Secret = _at(
        Secret(""), "Where the key before it is: links made with it are still good. Empty: there was none."
    )
    gateway_host: str = _at("127.0.0.1", "Address on which the gateway listens.")
    gateway_port: int = _at(6067, "Its port; 0: a free one.", low=0)
    gateway_proxies: int = _at(
        0, "Proxies in front of the gateway whose X-Forwarded-For is believed (their number).", low=0
    )
    text_answers: str = _at(
        "provider",
        "Who answers to STOP, START and HELP: the SMS provider (or the carrier) by itself, or carillon.",
        choices=("provider", "carillon"),
    )

    # The console
    console_host: str = _at("127.0.0.1", "Address on which the console listens.")
    console_port: int = _at(6068, "Its port; 0: a free one.", low=0)
    console_proxies: int = _at(
        0, "Proxies in front of the console whose X-Forwarded-For is believed (their number).", low=0
    )
    console_url: str = _at(
        "",
        "Where browsers reach the console (https://console.example); empty: no mailbox is connected on its "
        "page.",
    )
    mailbox_secrets: str = _at(
        "",
        "Folder in which the console writes the secrets of mailboxes that are connected on its page, and in "
        "which the workers read them; empty: none is connected there.",
    )
    console_ask_above: int = _at(
        200, "Messages that a rule may arm by being saved without the console asking again.", low=0
    )

    # Operation
    web_host: str = _at("127.0.0.1", "Address of /live, /ready, /status and /metrics.")
    web_port: int = _at(6066, "Its port; 0: a free one.", low=0)
    stuck_after: int = _at(
        120_000,
        "Time for which work may stand still while the brokers answer; after it /live fails.",
        low=1000,
    )
    log_level: str = _at("INFO", "Least severe lines to log.", choices=("DEBUG", "INFO", "WARNING", "ERROR"))


def environment_name(setting: str) -> str:
    """The environment variable of a setting: ``smtp_host`` is read from ``CARILLON_SMTP_HOST``."""
    return PREFIX + setting.upper()


def read_settings(environ: Mapping[str, str], overrides: Mapping[str, str] | None = None) -> Settings:
    """Reads the settings from ``environ``; ``overrides`` (names without prefix) win.

    Raises SettingsError with one line for each wrong or unknown setting.
    """
    known = {item.name: item for item in fields(Settings)}
    given = {
        name.removeprefix(PREFIX).lower(): (name, text)
        for name, text in environ.items()
        if name.startswith(PREFIX)
    } | {name: (name, text) for name, text in (overrides or {}).items()}
    problems: list[str] = []
    values: dict[str, Any] = {}
    vault = partial(_in_vault, {name: text for name, (_, text) in given.items()}, environ)
    for name, (shown, text) in sorted(given.items()):
        if name not in known:
            problems.append(f"{shown}: there is no such setting ({_nearest(name, list(known))})")
            continue
        try:
            values[name] = _parse(known[name], text, environ, vault)
        except ValueError as error:
            problems.append(f"{shown}: {error}")
    if problems:
        raise SettingsError(problems)
    settings = Settings(**values)
    problems = _contradictions(settings)
    if problems:
        raise SettingsError(problems)
    return settings


def _parse(item: Field[Any], text: str, environ: Mapping[str, str], vault: Callable[[str], Secret]) -> Any:
    if item.type == "int":
        try:
            number = int(text)
        except ValueError:
            raise ValueError(f"expected a whole number, got {text!r}") from None
        low = item.metadata["low"]
        if low is not None and number < low:
            raise ValueError(f"expected at least {low}, got {number}")
        return number
    if item.type == "Path":
        return Path(text)
    if item.type == "Secret":
        return vault(text) if text.startswith("vault:") else _secret(text, environ)
    choices = item.metadata["choices"]
    if choices and text not in choices:
        raise ValueError(f"expected one of {', '.join(c or 'nothing' for c in choices)}, got {text!r}")
    return text


def _secret(text: str, environ: Mapping[str, str]) -> Secret:
    scheme, _, rest = text.partition(":")
    if scheme == "env" and rest:
        if rest not in environ:
            raise ValueError(f"the environment variable {rest} that it names is not set")
        return Secret(environ[rest])
    if scheme == "file" and rest:
        try:
            return Secret(Path(rest).read_text().strip())
        except OSError as error:
            raise ValueError(f"the file that it names can't be read: {error.strerror}") from None
    raise ValueError(f"expected {EXPECTED}, not the secret itself")


def _in_vault(given: Mapping[str, str], environ: Mapping[str, str], reference: str) -> Secret:
    """``given``: the settings as texts. Raises ValueError."""
    from streams.vault import Vault, VaultError, VaultSettings  # noqa: PLC0415 - slow to import, for few

    if "#" not in reference:
        raise ValueError("expected vault:MOUNT/PATH#FIELD, not a whole secret")
    if not given.get("vault"):
        raise ValueError("it is in Vault, so vault and vault_token are needed")
    names = ("vault", "vault_token", "vault_namespace", "vault_ca")
    try:
        return Vault(VaultSettings(*(given.get(name, "") for name in names)), environ).read(reference)
    except (VaultError, OSError) as error:
        raise ValueError(str(error)) from None


def _contradictions(settings: Settings) -> list[str]:
    problems = _unsafe_connection(settings)
    if settings.sms_account and not settings.sms_token:
        problems.append("sms_token: needed with sms_account")
    problems += _unusable_mail(settings)
    if settings.vault and not settings.vault_token.startswith(("env:", "file:")):
        problems.append("vault_token: env:NAME or file:PATH is needed with vault")
    if settings.vault and not settings.vault.startswith(("http://", "https://")):
        problems.append("vault: expected an http(s) URL")
    if not (settings.clock == "system" or settings.clock.startswith("file:")):
        problems.append(f"clock: expected system or file:PATH, got {settings.clock!r}")
    if settings.public_url and not settings.link_key:
        problems.append("link_key: needed with public_url")
    if settings.public_url and not _is_plain_web_address(settings.public_url):
        problems.append("public_url: expected an http(s) URL without user, query and fragment")
    if settings.console_url and not _is_plain_web_address(settings.console_url):
        problems.append("console_url: expected an http(s) URL without user, query and fragment")
    if settings.registry != "embedded" and not settings.registry.startswith(("http://", "https://")):
        problems.append("registry: expected embedded or an http(s) URL")
    if "@" in settings.registry.partition("://")[2].partition("/")[0]:
        problems.append("registry: no password in the URL, set registry_user and registry_password")
    return problems


def _unusable_mail(settings: Settings) -> list[str]:
    problems = []
    if settings.dkim_domain and not (settings.dkim_selector and settings.dkim_key):
        problems.append("dkim_selector, dkim_key: both are needed with dkim_domain")
    if bool(settings.dkim_second_selector) != bool(settings.dkim_second_key):
        problems.append("dkim_second_selector, dkim_second_key: one is needed with the other")
    if not settings.dkim_domain and (settings.dkim_key or settings.dkim_second_key):
        problems.append("dkim_domain: needed with a key")
    if settings.gmail_client and not settings.gmail_client_secret:
        problems.append("gmail_client_secret: needed with gmail_client")
    return problems


def _is_plain_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    bare = not (parts.username or parts.password or parts.query or parts.fragment)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and bare and url.isascii()


def _unsafe_connection(settings: Settings) -> list[str]:
    """What is missing for the protocol, and what would silently not be used."""
    protocol, mechanism = settings.security_protocol, settings.sasl_mechanism
    problems = []
    if protocol == "SASL_SSL":
        if not mechanism:
            problems.append("sasl_mechanism: needed with SASL_SSL")
        elif mechanism == "OAUTHBEARER":
            if not settings.oauth_token_file:
                problems.append("oauth_token_file: needed with OAUTHBEARER")
        elif not (settings.sasl_user and settings.sasl_password):
            problems.append(f"sasl_user, sasl_password: both are needed with {mechanism}")
    elif mechanism:
        problems.append(f"sasl_mechanism: nobody logs in with security_protocol={protocol}, use SASL_SSL")
    if protocol == "PLAINTEXT" and (settings.ssl_ca or settings.ssl_cert):
        problems.append("ssl_ca, ssl_cert: nothing is encrypted with security_protocol=PLAINTEXT, use SSL")
    return problems


def _nearest(name: str, known: list[str]) -> str:
    import difflib  # noqa: PLC0415 - only when something is already wrong

    close = difflib.get_close_matches(name, known, 1)
    return f"did you mean {environment_name(close[0])}?" if close else "carillon worker --help lists them"


def from_process(overrides: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process."""
    return read_settings(os.environ, overrides)
