"""The order of words about an address, whatever order and how often they are posted."""

from __future__ import annotations

import pytest

from agents.gateway.events import Happening
from agents.gateway.post import Memory, NotTakenError, Post
from schemas.records import Channel, EventKind, EventStatus, ProviderEvent
from streams.kafka.producer import BatchProducer
from tests.agents.gateway.conftest import ANN, PARTITIONS, Spot

pytestmark = pytest.mark.embedded


def word(status: EventStatus, name: str, at: int) -> Happening:
    event = ProviderEvent(
        event=EventKind.TEXT,
        status=status,
        event_id=name,
        company="acme",
        channel=Channel.SMS,
        address=ANN,
        happened_at=at,
        received_at=at,
    )
    stop = status is EventStatus.STOP
    return Happening(event, "stop" if stop else "", free=not stop)


async def test_the_newest_word_holds(spot: Spot) -> None:
    """A START could not be taken, STOP came, and now the provider posts the START again."""
    topics = {spot.settings.topic_prefix + "provider-events": PARTITIONS}
    producer = BatchProducer(spot.settings.broker, {}, partitions=lambda topic: topics.get(topic, 1))
    post = Post(producer, spot.codec, spot.settings.topic_prefix)
    with pytest.raises(NotTakenError) as caught:
        await post.take([word(EventStatus.START, "start", 100)])  # the producer does not run yet
    assert not caught.value.fatal
    await producer.start()
    try:
        stop = word(EventStatus.STOP, "stop", 200)
        assert await post.take([stop]) == [stop]
        late = word(EventStatus.START, "start", 300)
        assert await post.take([late]) == [late]  # the event is taken, and frees nothing
        assert await spot.is_blocked(ANN)
        assert await post.take([stop, late]) == []
        assert await post.take([word(EventStatus.START, "another", 400)]) != []
        assert not await spot.is_blocked(ANN)
        assert len(await spot.events()) == 3
    finally:
        await producer.stop()


def test_only_the_newest_are_remembered() -> None:
    memory: Memory[str, int] = Memory(2)
    for key in ("a", "b", "a", "c"):
        memory.put(key, 1)
    assert [memory.get(key, 0) for key in "abc"] == [1, 0, 1]
