"""The registries: ids and schemas in memory, over HTTP and over TLS."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from schemas.codec import Codec, decode_json_change
from schemas.contracts import CONTRACTS, FOLDER, TOPICS
from schemas.errors import DecodeError, RegistryError, UnknownSchemaId
from schemas.records import Customer, EntityKind
from schemas.registry import EmbeddedRegistry, HttpRegistry, RegistryConfig, open_registry
from tests.schemas.fake_registry import FakeRegistry, serving
from tests.schemas.test_codec import change


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with serving() as one:
        yield one


class Seconds:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class TestEmbedded:
    def test_ids_are_the_same_in_another_process(self) -> None:
        code = "from schemas.registry import EmbeddedRegistry; print(sorted(EmbeddedRegistry().ids.items()))"
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert other.stdout.strip() == str(sorted(EmbeddedRegistry().ids.items()))

    async def test_knows_every_contract_and_nothing_else(self) -> None:
        registry = open_registry(None)
        await registry.register_all()
        assert {name: registry.schema(one) for name, one in registry.ids.items()} == {
            name: contract.text for name, contract in CONTRACTS.items()
        }
        with pytest.raises(DecodeError) as caught:
            registry.schema(1)
        assert caught.value.reason == "unknown_schema"


class TestHttp:
    async def test_registers_each_topic_and_round_trips(self, fake: FakeRegistry) -> None:
        registry = HttpRegistry(RegistryConfig(fake.url))
        await registry.register_all()
        assert set(fake.subjects) == {f"{topic}-value" for topic in TOPICS}
        assert set(registry.ids) == set(CONTRACTS)
        customer = Customer(company="a", customer_id="c", version=1)
        raw = Codec(registry).encode(customer)
        assert int.from_bytes(raw[1:5], "big") == fake.subjects["customer-consents-value"][0]
        assert Codec(registry).decode(Customer, raw) == customer

    async def test_an_id_is_fetched_once(self, fake: FakeRegistry) -> None:
        known = fake.add("orders-value", CONTRACTS["order-change"].text)
        registry = HttpRegistry(RegistryConfig(fake.url))
        with pytest.raises(UnknownSchemaId):
            registry.schema(known)
        await registry.fetch({known})
        await registry.fetch({known})
        assert registry.schema(known) == CONTRACTS["order-change"].text
        assert len(fake.requests) == 1

    async def test_an_absent_id_is_asked_for_again_after_a_while(self, fake: FakeRegistry) -> None:
        seconds = Seconds()
        registry = HttpRegistry(RegistryConfig(fake.url), seconds)
        await registry.fetch({1})
        with pytest.raises(DecodeError) as caught:
            registry.schema(1)
        assert caught.value.reason == "unknown_schema"
        fake.add("orders-value", CONTRACTS["order-change"].text)
        seconds.now += 61
        with pytest.raises(UnknownSchemaId):
            registry.schema(1)
        await registry.fetch({1})
        assert registry.schema(1)

    @pytest.mark.parametrize(
        "fields",
        [{"schemaType": "JSON"}, {"references": [{"name": "x", "subject": "y", "version": 1}]}],
    )
    async def test_what_can_not_be_used_is_said(self, fake: FakeRegistry, fields: dict[str, object]) -> None:
        known = fake.add("orders-value", '{"type": "record", "name": "X", "fields": []}', **fields)
        registry = HttpRegistry(RegistryConfig(fake.url))
        await registry.fetch({known})
        with pytest.raises(DecodeError, match=f"schema id {known}"):
            registry.schema(known)

    async def test_preload_fetches_every_version(self, fake: FakeRegistry) -> None:
        ids = [fake.add("orders-value", CONTRACTS[name].text) for name in ("order-change", "lead-change")]
        registry = HttpRegistry(RegistryConfig(fake.url))
        await registry.preload(["orders", "never-heard-of"])
        assert [registry.schema(one) for one in ids] == [
            CONTRACTS["order-change"].text,
            CONTRACTS["lead-change"].text,
        ]

    async def test_a_publishers_own_schema_may_stand_on_its_topic(self, fake: FakeRegistry) -> None:
        fake.refuse["orders-value"] = 409
        registry = HttpRegistry(RegistryConfig(fake.url))
        await registry.register_all()
        assert set(CONTRACTS) - set(registry.ids) == {"order-change"}

    async def test_our_own_topics_must_be_ours(self, fake: FakeRegistry) -> None:
        fake.refuse["timers-value"] = 409
        with pytest.raises(RegistryError, match=r"answered 409.*schemas\.compatibility"):
            await HttpRegistry(RegistryConfig(fake.url)).register_all()

    async def test_basic_authentication_and_no_secret_in_any_text(self, fake: FakeRegistry) -> None:
        config = RegistryConfig(fake.url, user="carillon", password="hush-hush")
        registry = HttpRegistry(config)
        fake.refuse["timers-value"] = 401
        with pytest.raises(RegistryError, match="user and password") as caught:
            await registry.register_all({"timers": "timer"})
        assert fake.authorization == {"Basic " + base64.b64encode(b"carillon:hush-hush").decode()}
        for text in (repr(config), repr(registry), str(caught.value)):
            assert "hush" not in text

    async def test_unreachable_says_where_and_what_to_do(self) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}"
            with pytest.raises(RegistryError, match=f"{url} can't be reached.*Check that it runs"):
                await HttpRegistry(RegistryConfig(url)).fetch({1})

    def test_credentials_in_the_url_are_refused(self) -> None:
        with pytest.raises(RegistryError) as caught:
            RegistryConfig("http://me:hush@127.0.0.1:1")
        assert "hush" not in str(caught.value)

    def test_settings_that_do_not_fit(self, tmp_path: Path) -> None:
        with pytest.raises(RegistryError, match="settings do not fit"):
            HttpRegistry(RegistryConfig("https://127.0.0.1:1", key_file=str(tmp_path / "none.pem")))


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key; it is its own CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


async def test_what_confluents_serialiser_writes_is_read(fake: FakeRegistry) -> None:
    client = SchemaRegistryClient({"url": fake.url})
    serialise = AvroSerializer(client, (FOLDER / "order-change.avsc").read_text("utf-8"))
    raw = serialise(change(details=None), SerializationContext("orders", MessageField.VALUE))
    registry = HttpRegistry(RegistryConfig(fake.url))
    (found,) = await Codec(registry).read_changes(EntityKind.ORDER, [raw])
    assert found == decode_json_change(EntityKind.ORDER, json.dumps(change()).encode())


async def test_tls_with_a_ca_and_a_client_certificate(tmp_path: Path) -> None:
    certificate, key = map(str, _certificate(tmp_path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    with serving(context) as fake:
        known = fake.add("orders-value", CONTRACTS["order-change"].text)
        good = RegistryConfig(fake.url, ca_file=certificate, certificate_file=certificate, key_file=key)
        registry = HttpRegistry(good)
        await registry.fetch({known})
        assert registry.schema(known)
        with pytest.raises(RegistryError, match=r"can't be reached.*TLS"):
            await HttpRegistry(RegistryConfig(fake.url)).fetch({known})
