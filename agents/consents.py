"""The consents agent: customer-consents, whatever its partitions, re-keyed into consents, which lies beside
the timers."""

from __future__ import annotations

from typing import Any

from agents.intake import too_large
from agents.partition import Shared, dead_letter
from agents.quarantine import Quarantine
from schemas.errors import DecodeError, UnknownSchemaId
from schemas.records import Customer, DeadLetter
from streams.domain.ids import customer_key
from streams.kafka.app import BatchApp, batch_topic
from streams.kafka.batches import Record, RecordBatch, each_partition

TOPIC = "customer-consents"


def register(app: BatchApp, shared: Shared, quarantine: Quarantine, prefix: str) -> None:
    async def handle(batch: RecordBatch) -> None:
        await rekey(shared, batch)

    async def agent(stream: Any) -> None:
        await each_partition(stream, quarantine.guarded(handle))

    app.agent(batch_topic(app, prefix + TOPIC), name=TOPIC)(agent)


async def rekey(shared: Shared, batch: RecordBatch) -> None:
    """Checks every record against the contract and sends it on as it came, under the customer's key. A null
    value goes on as it is: the customer is forgotten."""
    good: list[tuple[bytes, bytes | None]] = []
    dead: list[DeadLetter] = []
    for record in batch.records:
        try:
            good.append((await _key(shared, record), record.value))
        except DecodeError as error:
            dead.append(dead_letter(batch, record, error, shared.clock.now()))
    await shared.outputs.dead_letters(dead)
    if good:
        await shared.outputs.send("consents", good)
    shared.metrics.records.labels(TOPIC).inc(len(batch.records))
    if dead:
        shared.metrics.dead_letters.labels(TOPIC).inc(len(dead))


async def _key(shared: Shared, record: Record) -> bytes:
    if record.value is None:
        if not record.key or record.key.count(b"/") != 1:
            raise DecodeError("contract", "key: a tombstone needs the key company/customer_id")
        return record.key
    if (refused := too_large(record.value)) is not None:
        raise refused
    while True:
        try:
            customer = shared.codec.decode(Customer, record.value)
        except UnknownSchemaId as unknown:
            await shared.registry.fetch(unknown.ids)
        else:
            return customer_key(customer.company, customer.customer_id)
