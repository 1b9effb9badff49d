"""A gateway on a broker of its own topics, spoken to over HTTP as providers and mail programs do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from twilio.request_validator import RequestValidator

from agents.gateway.process import listening
from schemas.codec import Codec
from schemas.records import Channel, Company, ProviderEvent, Suppression
from schemas.registry import EmbeddedRegistry
from streams.domain.catalog import Catalog
from streams.domain.ids import split_key, suppression_key
from streams.domain.links import Links, MessageRef
from streams.kafka.embedded import EmbeddedBroker
from streams.kafka.producer import BatchProducer
from streams.kafka.tail import Tail, TailRecord
from streams.secret import Secret
from streams.settings import Settings

TOKEN = "the auth token"
KEY = "the link key"
PUBLIC = "https://hooks.example/carillon"
PARTITIONS = 4
DEADLINE = 60.0
SID = "SM" + "0a" * 16
ANN = "+48501111222"
OUR_NUMBER = "+48500000000"

ACME = Company(
    id="acme",
    name="Acme & <Sons>",
    language="pl",
    zone="Europe/Warsaw",
    sms_sender=OUR_NUMBER,
    email_sender_address="Shop@acme.example",
    version=1,
)
REF = MessageRef(
    company="acme",
    kind="order",
    entity_id="R-1",
    customer_id="ann",
    rule_id="ready",
    event_id="evt-1",
    delivery_id="0123456789abcdef" * 2,
    address="Ann@mail.example",
)
LINKS = Links(PUBLIC, [KEY.encode()])
RECEIPT, UNSUBSCRIBE = (url.removeprefix(PUBLIC) for url in (LINKS.receipts(REF), LINKS.unsubscribe(REF)))
TEXT = "/v1/sms/incoming"

_NUMBERS = count()
_PREFIXES = 80


@pytest.fixture(scope="session")
def gateway_broker() -> Iterator[EmbeddedBroker]:
    counts = {"companies": 1, "mailboxes": 1, "suppressions": 1, "provider-events": PARTITIONS}
    topics = {f"g{n}.{name}": size for n in range(_PREFIXES) for name, size in counts.items()}
    with EmbeddedBroker(topics) as broker:
        yield broker


class Spot:
    """One gateway and its topics."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        registry = EmbeddedRegistry()
        asyncio.run(registry.register_all())
        self.codec = Codec(registry)
        self.client: aiohttp.ClientSession
        self.base = ""
        self.inside = ""
        self.fatal = 0

    @asynccontextmanager
    async def open(
        self, *companies: Company, produce_within: int = 8000, wait: bool = True
    ) -> AsyncIterator[Spot]:
        """Over HTTP, once it is ready."""
        await self.publish(*companies)

        def fatal() -> None:
            self.fatal += 1

        gateway = listening(self.settings, fatal, produce_within=produce_within)
        async with gateway as (port, web_port), aiohttp.ClientSession() as self.client:
            self.base = f"http://127.0.0.1:{port}"
            self.inside = f"http://127.0.0.1:{web_port}"
            while wait and (await self.look("/ready"))[0] != 200:  # noqa: ASYNC110 - over HTTP, as others wait
                await asyncio.sleep(0.02)
            yield self

    async def publish(self, *companies: Company) -> None:
        producer = BatchProducer(self.settings.broker, {}, partitions=lambda _: 1)
        await producer.start()
        await producer.send(
            self.settings.topic_prefix + "companies",
            [(one.id.encode(), self.codec.encode(one)) for one in companies],
        )
        await producer.stop()

    async def block(self, address: str, reason: str) -> None:
        """As staff or a worker would."""
        producer = BatchProducer(self.settings.broker, {}, partitions=lambda _: 1)
        await producer.start()
        record = Suppression(
            company="acme", channel=Channel.SMS, address=address, reason=reason, since=1, version=1
        )
        key = suppression_key("acme", "sms", address)
        await producer.send(self.settings.topic_prefix + "suppressions", [(key, self.codec.encode(record))])
        await producer.stop()

    async def newest_block(self) -> Suppression:
        newest = (await self.records("suppressions"))[-1].value
        assert newest
        return self.codec.decode(Suppression, newest)

    async def look(self, path: str) -> tuple[int, str]:
        """A page for operators."""
        async with self.client.get(self.inside + path) as answer:
            return answer.status, await answer.text()

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        async with self.client.get(self.base + path, headers=headers) as answer:
            return answer.status, await answer.text()

    async def post(
        self, path: str, form: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        async with self.client.post(self.base + path, data=dict(form), headers=headers) as answer:
            return answer.status, await answer.text()

    async def twilio(self, path: str, form: Mapping[str, str]) -> tuple[int, str]:
        """As Twilio signs it: for the public address."""
        return await self.post(path, form, {"X-Twilio-Signature": signature(path, form)})

    async def events(self) -> list[ProviderEvent]:
        return [self.codec.decode(ProviderEvent, one.value) for one in await self.records("provider-events")]

    async def records(self, name: str) -> list[TailRecord]:
        def read() -> list[TailRecord]:
            tail = Tail(self.settings.broker, {}, self.settings.topic_prefix + name)
            try:
                return tail.read_to_end(deadline=DEADLINE)
            finally:
                tail.close()

        return await asyncio.to_thread(read)

    async def blocked(self) -> Catalog:
        """What a worker makes of the suppressions."""
        catalog = Catalog()
        for record in await self.records("suppressions"):
            if record.value:
                catalog.apply(self.codec.decode(Suppression, record.value))
            else:
                company, channel, address = split_key(record.key)
                catalog.remove(Suppression, company, f"{channel}/{address}")
        return catalog

    async def is_blocked(self, address: str, channel: Channel = Channel.SMS, company: str = "acme") -> bool:
        return (await self.blocked()).is_suppressed(company, channel, address)


def signature(path: str, form: Mapping[str, str], public: str = PUBLIC) -> str:
    """Twilio's own library computes it."""
    assert urlsplit(public + path).scheme == "https"
    return str(RequestValidator(TOKEN).compute_signature(public + path, form))


@pytest.fixture
def settings(gateway_broker: EmbeddedBroker, tmp_path: Path) -> Settings:
    return Settings(
        broker=gateway_broker.bootstrap,
        topic_prefix=f"g{next(_NUMBERS)}.",
        public_url=PUBLIC,
        link_key=Secret(KEY),
        sms_token=Secret(TOKEN),
        email_domain="carillon.example",
        gateway_port=0,
        web_port=0,
        data=tmp_path,
    )


@pytest.fixture
def spot(settings: Settings) -> Spot:
    return Spot(settings)
