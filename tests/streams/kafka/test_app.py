"""The app's options that keep a worker safe, and those that are refused."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from faust.auth import SASLCredentials
from faust.types.auth import AuthProtocol

from streams.kafka.app import batch_app
from streams.kafka.transport import BatchSettings, BatchTransport


def test_sasl_without_tls_is_refused() -> None:
    with pytest.raises(ValueError, match="in clear"):
        batch_app("a", ["h:1"], credentials=SASLCredentials(username="u", password="p"))


def test_sasl_with_tls_reaches_the_consumer() -> None:
    context = ssl.create_default_context()
    credentials = SASLCredentials(username="u", password="p", ssl_context=context)
    app = batch_app("a", ["h:1"], credentials=credentials)
    assert app.conf.broker_credentials is credentials
    assert credentials.protocol == AuthProtocol.SASL_SSL


def test_a_wait_on_revoke_that_outlasts_the_rebalance_is_refused() -> None:
    with pytest.raises(ValueError, match="drain_timeout"):
        batch_app("a", ["h:1"], rebalance_timeout=10, batching=BatchSettings(drain_timeout=5))
    with pytest.raises(ValueError, match="broker"):
        batch_app("a", [])


def test_the_transport_is_ours_with_every_broker_and_the_sticky_assignor() -> None:
    app = batch_app("a", ["h:1", "i:2"], instance_id="w-0", session_timeout=45)
    assert isinstance(app.transport, BatchTransport)
    assert [(url.host, url.port) for url in app.transport.url] == [("h", 1), ("i", 2)]
    assert app.conf.table_standby_replicas > 0  # 0 would be round-robin
    assert app.conf.consumer_group_instance_id == "w-0"
    assert app.conf.broker_request_timeout >= 45
    same = batch_app("a", ["h:1"], instance_id="w-0")
    assert app.conf.canonical_url == same.conf.canonical_url  # or a static member is not recognised


def test_nothing_listens_and_nothing_is_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    app = batch_app("a", ["h:1"])
    app._create_directories()
    assert list(tmp_path.iterdir()) == []
    assert not app.conf.web_enabled
    assert not app.conf.topic_allow_declare
    assert batch_app("a", ["h:1"], web_port=7000).conf.web_host == "127.0.0.1"
