"""TLS and SASL for both Kafka clients from the settings.

librdkafka takes a dictionary, aiokafka an SSL context and credentials. A secret is in no ``repr``.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

from streams.kafka.tokens import TokenFile
from streams.settings import Settings, SettingsError

_SECRETS = frozenset({"sasl.password", "ssl.key.password"})


class ClientConfig(dict[str, Any]):
    """librdkafka settings whose ``repr`` shows no secret. All are texts, except the callback for tokens."""

    def __repr__(self) -> str:
        return repr({key: "***" if key in _SECRETS else value for key, value in self.items()})


def librdkafka_config(settings: Settings) -> ClientConfig:
    """The ``security.protocol``, ``ssl.*`` and ``sasl.*`` properties of librdkafka's CONFIGURATION.md;
    empty for an unprotected broker.

    Raises SettingsError for a file that can't be read or is not what it should be.
    """
    config = ClientConfig()
    if settings.security_protocol == "PLAINTEXT":
        return config
    config["security.protocol"] = settings.security_protocol
    if with_tls(settings):
        ssl_context(settings)  # says which file is wrong, where librdkafka has an error number
        # "probe": librdkafka's wheel carries its own OpenSSL and must look for the system's authorities.
        config["ssl.ca.location"] = settings.ssl_ca or "probe"
        config["ssl.endpoint.identification.algorithm"] = "https"
        if settings.ssl_cert:
            config["ssl.certificate.location"] = settings.ssl_cert
            config["ssl.key.location"] = settings.ssl_key or settings.ssl_cert
        if settings.ssl_key_password:
            config["ssl.key.password"] = settings.ssl_key_password.reveal()
    if settings.security_protocol.startswith("SASL"):
        config["sasl.mechanism"] = settings.sasl_mechanism
        if settings.sasl_mechanism == "OAUTHBEARER":
            config["oauth_cb"] = token_file(settings).librdkafka_callback
        else:
            config["sasl.username"] = settings.sasl_user
            config["sasl.password"] = settings.sasl_password.reveal()
    return config


def ssl_context(settings: Settings) -> ssl.SSLContext | None:
    """For aiokafka; None without TLS. Faust's ``SASLCredentials`` without a context means plaintext: with
    ``SASL_SSL`` always pass it.

    Raises SettingsError for a file that can't be read or is not what it should be.
    """
    if not with_tls(settings):
        return None
    context: ssl.SSLContext = _checked(
        "ssl_ca", settings.ssl_ca, lambda: ssl.create_default_context(cafile=settings.ssl_ca or None)
    )
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.ssl_cert:
        _checked(
            "ssl_cert, ssl_key",
            ", ".join(filter(None, (settings.ssl_cert, settings.ssl_key))),
            lambda: context.load_cert_chain(
                settings.ssl_cert,
                settings.ssl_key or None,
                # Without a password OpenSSL would ask for one at the terminal.
                settings.ssl_key_password.reveal(),
            ),
        )
    return context


def token_file(settings: Settings) -> TokenFile:
    """For OAUTHBEARER. Raises SettingsError when there is no token to be read."""
    try:
        return TokenFile(settings.oauth_token_file)
    except (OSError, ValueError) as error:
        raise SettingsError([f"oauth_token_file: {settings.oauth_token_file}: {_said(error)}"]) from None


def with_tls(settings: Settings) -> bool:
    return settings.security_protocol in ("SSL", "SASL_SSL")


def _checked(names: str, files: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise SettingsError(
            [
                f"{names}: {files}: {_said(error)}; expected PEM files (and ssl_key_password, if the key "
                "has one)"
            ]
        ) from None


def _said(error: Exception) -> str:
    """``OSError`` repeats the file's name in its text."""
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
