"""The local cluster and registry, as far as they need no Java."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local_kafka import Listener, LocalKafkaError
from deploy.local_kafka.__main__ import main
from deploy.local_kafka.cluster import new_cluster_id
from deploy.local_kafka.listeners import listener_properties, scram_arguments
from deploy.local_kafka.node import free_addresses
from deploy.local_kafka.standing import kill, start, status, stop, up
from deploy.local_registry import LocalRegistryError, program


def test_every_listener_of_every_node_has_a_port_of_its_own() -> None:
    addresses = free_addresses(3, ["LOGIN"])
    assert [one.number for one in addresses] == [1, 2, 3]
    assert len({port for one in addresses for port in one.ports.values()}) == 9


def test_brokers_talk_among_themselves_on_the_plain_listener_and_clients_where_they_like() -> None:
    store, ca = Path("broker.pem"), Path("ca.pem")
    ports = {"PLAINTEXT": 1, "CONTROLLER": 2, "LOGIN": 3, "CERT": 4}
    listeners = [
        Listener("LOGIN", "SASL_SSL", store, mechanisms=("PLAIN", "SCRAM-SHA-512")),
        Listener("CERT", "SSL", store, client_ca=ca),
    ]
    found = listener_properties(ports, listeners, {"ann": "hush"})
    assert found["inter.broker.listener.name"] == "PLAINTEXT"
    assert "CONTROLLER" not in found["advertised.listeners"]
    assert found["listener.name.login.sasl.enabled.mechanisms"] == "PLAIN,SCRAM-SHA-512"
    assert 'user_ann="hush"' in found["listener.name.login.plain.sasl.jaas.config"]
    assert "listener.name.login.ssl.client.auth" not in found
    assert found["listener.name.cert.ssl.client.auth"] == "required"
    assert found["listener.name.cert.ssl.truststore.location"] == "ca.pem"
    assert scram_arguments({"ann": "hush"}) == ["--add-scram", "SCRAM-SHA-512=[name=ann,password=hush]"]
    assert scram_arguments({}) == []


def test_a_folder_with_other_peoples_files_is_left_alone(tmp_path: Path) -> None:
    letter = tmp_path / "letter"
    letter.write_text("dear")
    with pytest.raises(LocalKafkaError, match="not ours"):
        up(tmp_path)
    assert main(["down", "--folder", str(tmp_path)]) == 0
    assert letter.read_text() == "dear"


def test_nodes_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(tmp_path) is None
    for act in (start, stop, kill):
        with pytest.raises(LocalKafkaError, match="nothing is running"):
            act(tmp_path, 1)
    assert main(["status", "--folder", str(tmp_path)]) == 1
    assert main(["kill", "1", "--folder", str(tmp_path)]) == 1
    assert "nothing is running" in capsys.readouterr().err
    for wrong in (["kill"], ["up", "1"]):
        with pytest.raises(SystemExit):
            main(wrong)


def test_without_maven_the_registry_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalRegistryError, match="no mvn in PATH"):
        program()


def test_no_cluster_id_looks_like_an_option() -> None:
    ids = {new_cluster_id() for _ in range(2_000)}
    assert len(ids) == 2_000
    assert not [one for one in ids if one.startswith("-") or len(one) != 22]
