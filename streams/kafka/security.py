"""TLS and SASL for both Kafka clients from the settings.

librdkafka takes a dictionary, aiokafka an SSL context. A secret is in neither's ``repr``.
"""

from __future__ import annotations

import ssl

from streams.settings import Settings

_SECRETS = frozenset({"sasl.password"})


class ClientConfig(dict[str, str]):
    """librdkafka settings whose ``repr`` shows no secret."""

    def __repr__(self) -> str:
        return repr({key: "***" if key in _SECRETS else value for key, value in self.items()})


def librdkafka_config(settings: Settings) -> ClientConfig:
    """The ``security.protocol``, ``ssl.*`` and ``sasl.*`` properties of librdkafka's CONFIGURATION.md;
    empty for an unprotected broker."""
    config = ClientConfig()
    if settings.security_protocol == "PLAINTEXT":
        return config
    config["security.protocol"] = settings.security_protocol
    if _with_tls(settings):
        # "probe": librdkafka's wheel carries its own OpenSSL and must look for the system's authorities.
        config["ssl.ca.location"] = settings.ssl_ca or "probe"
        config["ssl.endpoint.identification.algorithm"] = "https"
        if settings.ssl_cert:
            config["ssl.certificate.location"] = settings.ssl_cert
            config["ssl.key.location"] = settings.ssl_key or settings.ssl_cert
    if settings.security_protocol.startswith("SASL"):
        config["sasl.mechanism"] = settings.sasl_mechanism
        config["sasl.username"] = settings.sasl_user
        config["sasl.password"] = settings.sasl_password.reveal()
    return config


def ssl_context(settings: Settings) -> ssl.SSLContext | None:
    """For aiokafka; None without TLS. Faust's ``SASLCredentials`` without a context means plaintext: with
    ``SASL_SSL`` always pass it.

    Raises OSError for a file that can't be read, ssl.SSLError for one that is not what it should be.
    """
    if not _with_tls(settings):
        return None
    context = ssl.create_default_context(cafile=settings.ssl_ca or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.ssl_cert:
        context.load_cert_chain(settings.ssl_cert, settings.ssl_key or None)
    return context


def _with_tls(settings: Settings) -> bool:
    return settings.security_protocol in ("SSL", "SASL_SSL")
