"""A real schema registry over HTTP, and what a worker does when it is away."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from deploy.local_registry import LocalRegistry
from schemas.codec import Codec, encode_json
from schemas.contracts import CONTRACTS, FOLDER, TOPICS
from schemas.errors import DecodeError, RegistryError
from schemas.records import Change, DeliveryState, EntityKind, Trigger
from schemas.registry import HttpRegistry, RegistryConfig
from streams.domain.ids import entity_key
from tests.support.cluster import Cluster, kafka_cluster
from tests.support.secure_kafka import SecureKafka
from tests.support.shop import C, ann, change, facts, notification, shop

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

_prefixes = (f"registry-{number}." for number in count(1))


@pytest.fixture(scope="module")
def registry() -> Iterator[LocalRegistry]:
    with LocalRegistry() as registry:
        yield registry


@pytest.fixture
def prefix() -> str:
    """Of the subjects of one test."""
    return next(_prefixes)


def client_of(registry: LocalRegistry) -> HttpRegistry:
    return HttpRegistry(RegistryConfig(registry.url))


def topics_of(prefix: str) -> dict[str, str]:
    return {prefix + topic: contract for topic, contract in TOPICS.items()}


def serialise(registry: LocalRegistry, topic: str, change: Change, schema: str = "") -> bytes:
    """As a publisher does it, with Confluent's own serialiser, which registers its schema."""
    text = schema or (FOLDER / "order-change.avsc").read_text("utf-8")
    serialiser = AvroSerializer(SchemaRegistryClient({"url": registry.url}), text)
    raw: bytes = serialiser(json.loads(encode_json(change)), SerializationContext(topic, MessageField.VALUE))
    return raw


def now() -> int:
    return time.time_ns() // 1_000_000


async def test_every_contract_is_registered_once(registry: LocalRegistry, prefix: str) -> None:
    first, second = client_of(registry), client_of(registry)
    await first.register_all(topics_of(prefix))
    await second.register_all(topics_of(prefix))
    assert set(first.ids) == set(CONTRACTS)
    assert first.ids == second.ids
    client = SchemaRegistryClient({"url": registry.url})
    assert {subject for subject in client.get_subjects() if subject.startswith(prefix)} == {
        f"{topic}-value" for topic in topics_of(prefix)
    }
    reader = client_of(registry)
    await reader.preload([prefix + "orders", prefix + "nowhere"])
    assert json.loads(reader.schema(first.ids["order-change"])) == CONTRACTS["order-change"].schema


async def test_what_a_publisher_serialises_is_read(registry: LocalRegistry, prefix: str) -> None:
    made = change(1, facts("new"), 1_700_000_000_000)
    raw = serialise(registry, prefix + "orders", made)
    codec = Codec(client_of(registry))
    (found,) = await codec.read_changes(EntityKind.ORDER, [raw])
    assert isinstance(found, Change)
    assert (found.entity_id, found.version, found.after) == (made.entity_id, 1, made.after)
    assert codec.decode_change_value(EntityKind.ORDER, raw).details == made.details


async def test_a_publishers_newer_schema_is_read(registry: LocalRegistry, prefix: str) -> None:
    """They added a field: registered by their serialiser under a new id, unknown to us until it is met."""
    schema = CONTRACTS["order-change"].schema
    schema["fields"].append({"name": "colour", "type": "string", "default": "green"})
    reader = client_of(registry)
    await reader.register_all(topics_of(prefix))
    made = change(1, facts("new"), 1_700_000_000_000)
    raw = serialise(registry, prefix + "orders", made, json.dumps(schema))
    assert int.from_bytes(raw[1:5], "big") != reader.ids["order-change"]
    (found,) = await Codec(reader).read_changes(EntityKind.ORDER, [raw])
    assert isinstance(found, Change)
    assert found.after == made.after


async def test_an_unknown_id_is_a_bad_record_and_no_outage(registry: LocalRegistry) -> None:
    (found,) = await Codec(client_of(registry)).read_changes(
        EntityKind.ORDER, [b"\0" + (2_000_000_000).to_bytes(4, "big") + b"x"]
    )
    assert isinstance(found, DecodeError)
    assert found.reason == "unknown_schema"


async def test_an_incompatible_contract_is_refused(registry: LocalRegistry, prefix: str) -> None:
    ours, theirs = prefix + "timers", prefix + "orders"
    client = SchemaRegistryClient({"url": registry.url})
    other = {"type": "record", "name": "Other", "fields": [{"name": "needed", "type": "long"}]}
    for topic in (ours, theirs):
        subject = f"{topic}-value"
        register(registry, subject, other)
        client.set_compatibility(subject_name=subject, level="BACKWARD")
    with pytest.raises(RegistryError, match=r"answered 409: .*schemas\.compatibility"):
        await client_of(registry).register_all({ours: "timer"})
    # A publisher's own schema on its own topic is its right.
    reader = client_of(registry)
    await reader.register_all({theirs: "order-change"})
    assert reader.ids == {}


def register(registry: LocalRegistry, subject: str, schema: dict[str, Any]) -> None:
    request = urllib.request.Request(
        f"{registry.url}/subjects/{subject}/versions",
        data=json.dumps({"schema": json.dumps(schema)}).encode(),
        headers={"Content-Type": "application/vnd.schemaregistry.v1+json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200


# --- a worker


@pytest.fixture(scope="module")
def cluster(
    registry: LocalRegistry, secure_kafka: SecureKafka, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """A shop, with the ids of the registry in all its records, and no worker yet."""
    prefix = "by-registry."
    settings = {"registry": registry.url, "partitions": "2"}
    folder = tmp_path_factory.mktemp("cluster")
    with kafka_cluster(secure_kafka.kafka.bootstrap, folder, prefix, settings) as cluster:
        cluster.publish(shop())
        cluster.publish([notification(Trigger.CREATED, id_="greet")])
        cluster.customers([ann()])
        yield cluster


def sent(cluster: Cluster, entity_id: str) -> bool:
    return any(r.entity_id == entity_id and r.state == DeliveryState.SENT for r in cluster.read())


def publish(cluster: Cluster, registry: LocalRegistry, entity_id: str, schema: str = "") -> None:
    made = change(1, facts("new"), now(), entity_id=entity_id)
    raw = serialise(registry, cluster.prefix + "orders", made, schema)
    cluster.send("orders", [(entity_key(C, entity_id), raw)])


def test_a_worker_waits_for_the_registry_works_with_it_and_without_it(
    cluster: Cluster, registry: LocalRegistry
) -> None:
    publish(cluster, registry, "early")
    registry.kill()
    worker = cluster.launch()
    told = f"schema registry {registry.url} can't be reached"
    cluster.until(lambda: told in cluster.output(worker), "the worker to say that it waits")
    assert "asking again" in cluster.output(worker)
    assert not worker.ready()
    assert worker.child.popen.poll() is None
    registry.start()
    cluster.until(lambda: sent(cluster, "early"), "the text about early")

    # Warm: what it has seen before goes on; what it has not, waits, and nothing is lost or set aside.
    known = change(1, facts("new"), now(), entity_id="warm")
    warm = serialise(registry, cluster.prefix + "orders", known)
    newer = CONTRACTS["order-change"].schema
    newer["fields"].append({"name": "colour", "type": "string", "default": "green"})
    late = change(1, facts("new"), now(), entity_id="late")
    unknown = serialise(registry, cluster.prefix + "orders", late, json.dumps(newer))
    registry.kill()
    cluster.send("orders", [(entity_key(C, "warm"), warm)])
    cluster.until(lambda: sent(cluster, "warm"), "the text about warm")
    before = cluster.output(worker).count(told)
    cluster.send("orders", [(entity_key(C, "late"), unknown)])
    cluster.until(lambda: cluster.output(worker).count(told) > before, "the worker to say that it waits")
    assert not sent(cluster, "late")
    registry.start()
    cluster.until(lambda: sent(cluster, "late"), "the text about late")
    assert cluster.dead_letters() == []
    assert cluster.terminate(worker) == 0
    cluster.check()
