"""Settings for both clients from one description."""

from __future__ import annotations

import ssl

import pytest
from confluent_kafka import Producer

from streams.kafka.security import librdkafka_config, ssl_context
from streams.secret import Secret
from streams.settings import Settings


def test_plaintext_needs_nothing() -> None:
    assert librdkafka_config(Settings()) == {}
    assert ssl_context(Settings()) is None


def test_sasl_over_tls_is_complete_accepted_by_librdkafka_and_shows_no_secret() -> None:
    settings = Settings(
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_user="carillon",
        sasl_password=Secret("s3cret"),
    )
    config = librdkafka_config(settings)
    assert config["sasl.password"] == "s3cret"
    assert "s3cret" not in repr(config)
    assert "s3cret" not in repr({"producer": config})
    Producer({**config, "bootstrap.servers": "127.0.0.1:1"})
    context = ssl_context(settings)
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_a_missing_authority_file_is_an_error_and_not_a_weaker_connection() -> None:
    with pytest.raises(OSError, match="No such file"):
        ssl_context(Settings(security_protocol="SSL", ssl_ca="/nonexistent/ca.pem"))
