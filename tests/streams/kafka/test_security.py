"""Settings for both clients from one description."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from confluent_kafka import Producer
from faust.auth import OAuthCredentials, SASLCredentials
from faust.types.auth import AuthProtocol

from streams.kafka.credentials import broker_credentials
from streams.kafka.security import librdkafka_config, ssl_context
from streams.secret import Secret
from streams.settings import Settings, SettingsError, read_settings
from tests.support.certificates import Authority

LOGIN = Settings(
    security_protocol="SASL_SSL",
    sasl_mechanism="SCRAM-SHA-512",
    sasl_user="carillon",
    sasl_password=Secret("s3cret"),
)


def test_plaintext_needs_nothing() -> None:
    assert librdkafka_config(Settings()) == {}
    assert ssl_context(Settings()) is None
    assert broker_credentials(Settings(), None) is None


def test_sasl_over_tls_is_complete_accepted_by_librdkafka_and_shows_no_secret() -> None:
    config = librdkafka_config(LOGIN)
    assert config["sasl.password"] == "s3cret"
    assert config["ssl.endpoint.identification.algorithm"] == "https"
    assert "s3cret" not in repr(config)
    assert "s3cret" not in repr({"producer": config})
    Producer({**config, "bootstrap.servers": "127.0.0.1:1"})
    context = ssl_context(LOGIN)
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_the_consumer_logs_in_over_tls_only() -> None:
    context = ssl_context(LOGIN)
    credentials = broker_credentials(LOGIN, context)
    assert isinstance(credentials, SASLCredentials)
    assert credentials.protocol == AuthProtocol.SASL_SSL
    assert credentials.ssl_context is context
    assert "s3cret" not in repr(credentials)


def test_both_clients_take_the_newest_token_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    settings = Settings(
        security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", oauth_token_file=str(file)
    )
    config = librdkafka_config(settings)
    credentials = broker_credentials(settings, ssl_context(settings))
    assert isinstance(credentials, OAuthCredentials)
    assert credentials.protocol == AuthProtocol.SASL_SSL
    file.write_text("renewed")
    assert config["oauth_cb"]("")[0] == "renewed"
    assert "s3cret" not in repr(config) + repr(credentials) + repr(vars(credentials))
    assert "sasl.username" not in config


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ssl_ca": "none.pem"}, r"^ssl_ca: none\.pem: No such file"),
        ({"ssl_ca": "broken.pem"}, r"^ssl_ca: broken\.pem: .*expected PEM"),
        ({"ssl_cert": "none.pem"}, r"^ssl_cert, ssl_key: none\.pem: No such file"),
        ({"ssl_cert": "locked.pem"}, r"^ssl_cert, ssl_key: locked\.pem: .*ssl_key_password"),
        ({"ssl_cert": "locked.pem", "ssl_key_password": Secret("s3cret")}, r"^ssl_cert, ssl_key"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_named(
    changes: dict[str, object], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.pem").write_text("s3cret")
    Authority(tmp_path, "ca").issue("locked", password="an0ther")
    settings = Settings(security_protocol="SSL", **changes)  # type: ignore[arg-type]  # names are the test's
    for use in (ssl_context, librdkafka_config):
        with pytest.raises(SettingsError, match=said) as caught:
            use(settings)
        assert "s3cret" not in str(caught.value)


def test_a_locked_key_is_opened_for_both_clients(tmp_path: Path) -> None:
    locked = Authority(tmp_path, "ca").issue("locked", password="s3cret")
    settings = Settings(security_protocol="SSL", ssl_cert=str(locked), ssl_key_password=Secret("s3cret"))
    assert ssl_context(settings) is not None
    config = librdkafka_config(settings)
    Producer({**config, "bootstrap.servers": "127.0.0.1:1"})
    assert "s3cret" not in repr(config)


@pytest.mark.parametrize("content", [None, " \n"])
def test_without_a_token_nothing_starts(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    settings = Settings(
        security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", oauth_token_file=str(file)
    )
    with pytest.raises(SettingsError, match=r"^oauth_token_file: .*(No such file|it is empty)"):
        librdkafka_config(settings)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"security_protocol": "SASL_PLAINTEXT"}, "expected one of PLAINTEXT, SSL, SASL_SSL"),
        ({"security_protocol": "SASL_SSL"}, "sasl_mechanism: needed"),
        ({"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "sasl_user": "ann"}, "sasl_password"),
        ({"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER"}, "oauth_token_file: needed"),
        ({"security_protocol": "SSL", "sasl_mechanism": "PLAIN"}, "nobody logs in"),
        ({"sasl_mechanism": "PLAIN"}, "nobody logs in"),
        ({"ssl_ca": "ca.pem"}, "nothing is encrypted"),
    ],
)
def test_settings_that_look_safer_than_they_are(given: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read_settings({}, given)
