"""TLS and every way to log in, at the listeners of a real Apache Kafka: whole workers, so both clients."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError

from agents.connections import BrokerError, broker_errors
from schemas.records import DeliveryState, EntityKind, Trigger
from streams.kafka.credentials import broker_credentials
from streams.kafka.security import librdkafka_config, ssl_context
from streams.kafka.topics import check
from streams.settings import Settings, environment_name, read_settings
from tests.support.cluster import Cluster, Worker, kafka_cluster
from tests.support.jws import unsigned
from tests.support.secure_kafka import SecureKafka
from tests.support.shop import ann, change, facts, notification, shop

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


@pytest.fixture(scope="module")
def cluster(secure_kafka: SecureKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Providers, topics and a shop; each test runs a worker that connects in its own way."""
    folder = tmp_path_factory.mktemp("cluster")
    settings = {"partitions": "2"}
    with kafka_cluster(secure_kafka.kafka.bootstrap, folder, "secure.", settings) as cluster:
        cluster.publish(shop())
        cluster.publish([notification(Trigger.CREATED, id_="greet")])
        cluster.customers([ann()])
        yield cluster


def worker_with(cluster: Cluster, settings: Mapping[str, str]) -> Worker:
    given = dict(cluster.settings)
    cluster.settings |= settings
    try:
        return cluster.start()[0]
    finally:
        cluster.settings = given


def text_goes_out(cluster: Cluster, entity_id: str) -> None:
    cluster.changes(
        EntityKind.ORDER, [change(1, facts("new"), time.time_ns() // 1_000_000, entity_id=entity_id)]
    )

    def sent() -> bool:
        return any(r.entity_id == entity_id and r.state == DeliveryState.SENT for r in cluster.read())

    cluster.until(sent, f"the text about {entity_id}")


def shows_no_secret(output: str, secure: SecureKafka) -> None:
    found = [secret for secret in secure.secrets if secret in output]
    assert not found, output


@pytest.mark.parametrize("way", ["SCRAM-SHA-512", "PLAIN", "certificate"])
def test_a_worker_connects(cluster: Cluster, secure_kafka: SecureKafka, way: str) -> None:
    certificate = way == "certificate"
    settings = secure_kafka.with_certificate() if certificate else secure_kafka.with_password(way)
    worker = worker_with(cluster, settings | {"log_level": "DEBUG"})
    text_goes_out(cluster, f"by-{way}")
    assert cluster.terminate(worker) == 0
    shows_no_secret(cluster.output(worker), secure_kafka)


def test_a_token_is_renewed_while_the_worker_runs(
    cluster: Cluster, secure_kafka: SecureKafka, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    ends = time.time() + 20
    first, second = unsigned("carillon", ends, ends - 30), unsigned("carillon", ends + 3600, ends - 30)
    secure_kafka.secrets += [first, second]
    file.write_text(first)
    worker = worker_with(cluster, secure_kafka.with_token(file))
    text_goes_out(cluster, "first-token")
    file.write_text(second)
    cluster.until(lambda: time.time() > ends, "the first token to end")
    kafka = secure_kafka.kafka
    kafka.nodes[0].stop()  # both clients have to log in again
    kafka.restart(1)
    text_goes_out(cluster, "second-token")
    assert cluster.terminate(worker) == 0
    shows_no_secret(cluster.output(worker), secure_kafka)


def test_a_refused_worker_says_what_to_do(cluster: Cluster, secure_kafka: SecureKafka) -> None:
    good = secure_kafka.with_password("SCRAM-SHA-512")
    wrong = {"sasl_password": secure_kafka.secret("wrong", "wrong-horse")}
    expired = secure_kafka.folder / "expired"
    expired.write_text(unsigned("carillon", 1.0))
    secure_kafka.secrets.append(expired.read_text())
    certificate = secure_kafka.with_certificate()
    unknown_ca = {"ssl_ca": str(secure_kafka.other_ca)}
    cases: dict[str, tuple[dict[str, str], str]] = {
        "password, SCRAM": (good | wrong, "Check the settings sasl_mechanism, sasl_user, sasl_password"),
        "password, PLAIN": (good | wrong | {"sasl_mechanism": "PLAIN"}, "sasl_user, sasl_password"),
        "mechanism": (good | {"sasl_mechanism": "SCRAM-SHA-256"}, "Check the settings sasl_mechanism"),
        "token": (secure_kafka.with_token(expired), "sasl_mechanism, oauth_token_file"),
        "authority": (good | unknown_ca, "Check that ssl_ca has the authority"),
        "host": (certificate | {"broker": secure_kafka.elsewhere}, "for the hosts that the setting broker"),
        "no certificate": (certificate | {"ssl_cert": ""}, "set ssl_cert and ssl_key"),
    }

    def run(settings: Mapping[str, str]) -> tuple[int, str]:
        environment = cluster.environment(cluster.folder / "refused") | {
            environment_name(name): value for name, value in settings.items()
        }
        done = subprocess.run(
            [sys.executable, "-m", "console", "worker"],
            env={name: value for name, value in environment.items() if value is not None},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    with ThreadPoolExecutor(4) as pool:
        ends = dict(zip(cases, pool.map(run, [settings for settings, _ in cases.values()]), strict=True))
    for name, (_, said) in cases.items():
        code, output = ends[name]
        assert (code, said in output) == (1, True), f"{name}: {output}"
        assert "Traceback" not in output, output
        shows_no_secret(output, secure_kafka)


async def test_a_client_without_tls_is_told_where_to_look(secure_kafka: SecureKafka) -> None:
    settings = Settings(broker=secure_kafka.login)
    with pytest.raises(BrokerError, match="CARILLON_SECURITY_PROTOCOL"), broker_errors(settings):
        await check(settings.broker, librdkafka_config(settings), [], timeout=3)


async def test_the_consumers_client_checks_authority_and_host(secure_kafka: SecureKafka) -> None:
    good = secure_kafka.with_certificate()
    await connects(read_settings({}, good))
    for wrong in ({"ssl_ca": str(secure_kafka.other_ca)}, {"broker": secure_kafka.elsewhere}):
        with pytest.raises(KafkaConnectionError):
            await connects(read_settings({}, good | wrong))


async def connects(settings: Settings) -> None:
    """As Faust's driver does; Faust itself would try for ever."""
    context = ssl_context(settings)
    assert broker_credentials(settings, context) is None
    client = AIOKafkaClient(bootstrap_servers=settings.broker, security_protocol="SSL", ssl_context=context)
    try:
        await client.bootstrap()
    finally:
        await client.close()


async def test_a_broker_that_is_starting_is_not_taken_for_a_refusal(secure_kafka: SecureKafka) -> None:
    """A refusal is believed only after some seconds, and a connection that is merely slow never."""
    kafka = secure_kafka.kafka
    kafka.nodes[0].stop()
    with ThreadPoolExecutor(1) as pool:
        back = pool.submit(kafka.restart, 1)
        settings = read_settings({}, secure_kafka.with_password("SCRAM-SHA-512"))
        problems = await check(settings.broker, librdkafka_config(settings), [], timeout=60)
        back.result()
    assert problems == []
