"""What a reader does to the shop that stays open after the story: move an appointment, put the clock on."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import click
import msgspec

from console.connection import Connection, RawPublication, connected
from console.demo.afterwards import FORWARD, OpenShop, open_shop
from console.demo.processes import DemoError
from console.output import local_time
from schemas.records import Change, EntityKind, Operation
from streams.clock import clock_of
from streams.domain.catalog import Catalog
from streams.domain.ids import entity_key
from streams.domain.zones import zone_of
from streams.kafka.partitioner import partition_for
from streams.kafka.producer import ProduceError
from streams.settings import Settings

_KIND, _TOPIC = EntityKind.APPOINTMENT, "appointments"
_PATIENCE = 300.0
"""Seconds for the clock to get there: it stops wherever a message is due."""


def move_appointment(out: Path, id_: str, when: datetime) -> str:
    """Publishes the next change of the appointment, as the program would that keeps the shop's calendar.
    ``when``: on the clocks of its location. What was done, in words. Raises DemoError and ClickException."""
    shop = open_shop(out)
    settings = Settings(broker=shop.broker, clock=shop.clock)
    with connected(settings) as connection:
        old = _newest(connection, shop, id_)
        zone = _zone(connection.catalog(("companies", "locations")), old)
        moment = int(when.replace(tzinfo=zone_of(zone)).timestamp() * 1000)
        new = moved(old, moment, clock_of(settings.clock).now())
        _publish(connection, new)
    assert old.after is not None
    before = "" if old.after.scheduled_at is None else f" from {local_time(old.after.scheduled_at, zone)}"
    return f"appointment {id_} is moved{before} to {local_time(moment, zone)} ({zone})"


def moved(old: Change, moment: int, now: int) -> Change:
    """The change after ``old``. Raises DemoError for an appointment that is no more."""
    if old.after is None:
        raise DemoError(f"the appointment {old.entity_id} was deleted")
    version = old.version + 1
    return msgspec.structs.replace(
        old,
        operation=Operation.UPDATE,
        event_id=f"{old.entity_id}-{version}",
        version=version,
        occurred_at=now,
        before=old.after,
        after=msgspec.structs.replace(old.after, scheduled_at=moment),
    )


def put_forward(out: Path, length: int) -> str:
    """Returns when the shop's clock is there: what it shows. ``length``: milliseconds. Raises DemoError."""
    shop = open_shop(out)
    clock = clock_of(shop.clock)
    wish = out / FORWARD
    whole = wish.with_suffix(".new")
    whole.write_text(str(clock.now() + length))
    whole.replace(wish)
    until = time.monotonic() + _PATIENCE
    while wish.exists():
        open_shop(out)
        if time.monotonic() > until:
            raise DemoError("the clock has not moved; see what the demo says")
        time.sleep(0.05)
    return f"the shop's clock shows {local_time(clock.now(), 'UTC')} UTC"


def _newest(connection: Connection, shop: OpenShop, id_: str) -> Change:
    found = []
    for record in connection.records(_TOPIC, key=entity_key(shop.company, id_)):
        value = record.value
        if value:
            found.append(connection.with_codec(lambda codec: codec.decode_change_value(_KIND, value)))  # noqa: B023 - called at once
    if not found:
        raise click.ClickException(f"the shop has no appointment {id_!r}")
    return max(found, key=lambda change: change.version)


def _zone(catalog: Catalog, change: Change) -> str:
    assert change.after is not None
    place = catalog.location(change.company, change.after.location_id or "")
    company = catalog.company(change.company)
    assert company is not None  # the demo's own
    return company.zone if place is None else place.zone


def _publish(connection: Connection, change: Change) -> None:
    key = entity_key(change.company, change.entity_id)
    partition = partition_for(key, connection.partition_counts([_TOPIC])[_TOPIC])
    connection.register()
    value = connection.with_codec(lambda codec: codec.encode_change(_KIND, change))
    with connection.writer() as writer:
        [written] = writer.put([RawPublication(_TOPIC, partition, key, value, ())])
    if isinstance(written, ProduceError):
        raise written
