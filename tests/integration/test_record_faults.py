"""Records that nobody can read, on every input topic, and one at which every worker dies: they are set aside,
and everything else goes on (P7)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import msgspec
import pytest

from agents.quarantine import ALONE, CRASHED, TOGETHER
from deploy.local_kafka import LocalKafka
from schemas.codec import encode_json
from schemas.records import (
    Change,
    Channel,
    DeadLetter,
    Details,
    EntityKind,
    Template,
    TemplateText,
    Trigger,
)
from streams.domain.ids import entity_key
from streams.kafka.topics import MAX_RECORD, MAX_VALUE
from tests.support.broker_topics import Topics
from tests.support.cluster import TOPIC_OF, Cluster
from tests.support.deadly import DEADLY, mortal
from tests.support.faults import Due, Load, NewLoad, loads
from tests.support.shop import C, change, facts, notification, status_of

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

_PATIENCE = 120.0
"""Seconds for what takes ten on a quiet machine."""


@pytest.fixture
def new_load(tmp_path: Path) -> Iterator[NewLoad]:
    with loads(tmp_path) as new:
        yield new


POISON = {
    "bytes": (b"\xff\xfe\x00 no record", "undecodable"),
    "nothing": (b"", "undecodable"),
    "cut short": (encode_json(change(1, facts(), 1))[:-20], "undecodable"),
    "missing fields": (b'{"company": "acme"}', "contract"),
    "unknown schema": (b"\x00\x00\x0f\x42\x3f\x01\x02", "unknown_schema"),
    "giant": (b'{"company": "acme", "x": "%b"}' % (b"x" * MAX_VALUE), "contract"),
}
"""By name: a value, and the code of its dead letter."""
KEYS = [entity_key(C, f"poison{n}") for n in range(5)]
"""Of several partitions."""
INPUTS = (*TOPIC_OF.values(), "customer-consents")
OURS = ("timers", "consents")
"""Nobody but us should write there. If somebody does, it stops nothing either."""


def test_poison_among_good_records(local_kafka: LocalKafka, new_load: NewLoad) -> None:
    load = new_load(local_kafka.bootstrap)
    cluster, topics = load.cluster, Topics(load.cluster)
    for topic in INPUTS:  # a publisher may allow more than we take
        topics.alter(topic, {"max.message.bytes": str(MAX_RECORD)})
    others = (EntityKind.LEAD, EntityKind.APPOINTMENT)
    for kind in others:
        text = TemplateText(sms=f"{kind} {{{{ entity.number }}}}")
        cluster.publish([Template(id=str(kind), company=C, texts={"en": text}, version=1)])
        cluster.publish([notification(Trigger.CREATED, kind, id_=str(kind), template_id=str(kind))])
    workers = cluster.start(1, 2)
    wanted: dict[tuple[str, bytes, bytes], str] = {}
    for number, key in enumerate(KEYS):
        load.publish(4)
        for kind in others:
            publish(load, kind, f"{kind}{number}")
        for topic, (name, (value, code)) in product((*INPUTS, *OURS), POISON.items()):
            if topic in OURS and name == "giant":
                continue  # what our own producers refuse
            cluster.send(topic, [(key, value)])
            wanted[cluster.prefix + topic, key, value] = code
    for kind in others:
        publish(load, kind, f"{kind}-last")
    load.publish(4)
    load.finish(f"{len(wanted)} poison records among good ones on every topic", *workers, members=2)

    letters = cluster.dead_letters()
    assert len(letters) == len(wanted)
    places = {
        (topic, key, value): where
        for topic in {topic for topic, _, _ in wanted}
        for key, value, where in everything(topics, cluster, topic)
    }
    for (topic, key, value), code in wanted.items():
        [letter] = [one for one in letters if same(one, topic, key, value)]
        assert (letter.partition, letter.offset) == places[topic, key, value]
        assert letter.error == code, letter.detail
        assert letter.detail
        assert letter.value == value[:MAX_VALUE]


def publish(load: Load, kind: EntityKind, entity_id: str) -> None:
    """A good change, of which a text must come."""
    now = load.clock.now()
    born = facts(status_of("new", kind), customer="c1")
    load.due[C, entity_id, str(kind)] = Due(Channel.SMS, now, False)
    load.cluster.changes(kind, [change(1, born, now, entity_id=entity_id)], as_json=True)


def everything(
    topics: Topics, cluster: Cluster, topic: str
) -> Iterator[tuple[bytes, bytes | None, tuple[int, int]]]:
    """(key, value, (partition, offset)) of a topic."""
    for partition in range(4):
        for offset, key, value, _ in topics.records(topic.removeprefix(cluster.prefix), partition):
            yield key, value, (partition, offset)


def same(letter: DeadLetter, topic: str, key: bytes, value: bytes) -> bool:
    return (letter.topic, letter.key, letter.value) == (topic, key, value[:MAX_VALUE])


@pytest.mark.parametrize("workers", [1, 2])
def test_a_record_at_which_every_worker_dies(
    local_kafka: LocalKafka, new_load: NewLoad, tmp_path: Path, workers: int
) -> None:
    """Two deaths at its batch, three at the record alone; then it is set aside."""
    load = new_load(local_kafka.bootstrap)
    cluster = load.cluster
    numbers = range(1, workers + 1)
    cluster.own = {number: mortal(tmp_path / "site") for number in numbers}
    cluster.start(*numbers)
    cluster.supervise()
    load.publish(20)
    kill = deadly(load.clock.now())
    cluster.changes(EntityKind.ORDER, [kill], as_json=True)
    load.publish(20)
    cluster.until(cluster.dead_letters, "the record to be set aside", deadline=_PATIENCE)
    load.publish(10)
    load.finish(f"a record that kills, {workers} workers", members=workers)

    [letter] = cluster.dead_letters()
    assert (letter.topic, letter.error) == (f"{cluster.prefix}orders", CRASHED)
    assert letter.key == entity_key(C, kill.entity_id)
    assert letter.value == encode_json(kill)
    deaths = [len(cluster.logs(number)) - 1 for number in numbers]
    assert max(deaths) == TOGETHER + ALONE, deaths
    assert f"offset {letter.offset} is set aside" in "".join(
        log for number in numbers for log in cluster.logs(number)
    )


def deadly(now: int) -> Change:
    found = change(1, facts(customer="c1"), now, entity_id="deadly")
    return msgspec.structs.replace(found, details=Details(number="deadly", title=DEADLY))
