"""Where the partitions of some topics end: for drain checks, catch-up and lag.

No consumer group is involved. Uses Kafka's ListOffsets request by librdkafka's admin client, one round
trip for all partitions of a broker; the client lives as long as the object, so that a repeated call costs
well under a millisecond on a local broker.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition, admin

from streams.kafka.admin import Admin

Ends = dict[str, dict[int, int]]
"""topic -> partition -> the offset that the next record will get. A topic that does not exist is absent."""

# Documented, but neither exported nor annotated by the library.
_LATEST = admin.OffsetSpec.latest()  # type: ignore[attr-defined, no-untyped-call]
_EARLIEST = admin.OffsetSpec.earliest()  # type: ignore[attr-defined, no-untyped-call]

_TIMEOUT = 10.0
_TRIES = 6
"""So often a group's coordinator is asked."""

SILENT = logging.getLogger("carillon.librdkafka")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False


def client_config(bootstrap: str, security: Mapping[str, str]) -> dict[str, str | int | float | bool]:
    """Librdkafka's settings for a client that only looks: ``security`` holds its ``security.protocol``,
    ``ssl.*`` and ``sasl.*`` properties."""
    return {"bootstrap.servers": bootstrap, **security}


class Offsets:
    """A connection that answers one question. Blocking; not for use within an event loop."""

    def __init__(self, bootstrap: str, security: Mapping[str, str], *, timeout: float = 10.0) -> None:
        self._config = client_config(bootstrap, security)
        self._admin = self._new_client()
        self._timeout = timeout
        self._partitions: dict[str, list[TopicPartition]] = {}

    def ends(self, topics: Iterable[str]) -> Ends:
        """The ends of all partitions of ``topics``. Raises KafkaException if the brokers don't answer."""
        return self._all(topics, _LATEST)

    def begins(self, topics: Iterable[str]) -> Ends:
        """The offsets of their first records, where records are; the end of a partition that holds none (all
        may have expired). Raises KafkaException."""
        return self._all(topics, _EARLIEST)

    def _all(self, topics: Iterable[str], spec: Any) -> Ends:
        wanted = list(topics)
        self._learn([topic for topic in wanted if topic not in self._partitions])
        asked = [item for topic in wanted for item in self._partitions.get(topic, [])]
        if not asked:
            return {}
        try:
            return self._ask(asked, spec)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.FENCED_LEADER_EPOCH:
                raise
            # A client that has seen a leader's term end is refused until its metadata is renewed, five
            # minutes later (Kafka 4.1, librdkafka 2.16).
            self._admin = self._new_client()
            return self._ask(asked, spec)

    def _ask(self, asked: list[TopicPartition], spec: Any) -> Ends:
        answers = self._admin.list_offsets(dict.fromkeys(asked, spec), request_timeout=self._timeout)
        found: Ends = {}
        for item, answer in answers.items():
            found.setdefault(item.topic, {})[item.partition] = answer.result(self._timeout).offset
        return found

    def _new_client(self) -> Any:
        # The logger goes beside the configuration: librdkafka's own lines ("Disconnected", ...) would
        # otherwise be written to this process's stderr.
        return Admin(self._config, logger=SILENT)

    def _learn(self, topics: list[str]) -> None:
        """A topic that was seen is not asked about again: partition counts don't change under us.

        All topics are listed because asking for one by its name may create it.
        """
        if not topics:
            return
        listed = self._admin.list_topics(timeout=self._timeout).topics
        for topic in topics:
            if topic in listed and listed[topic].partitions:
                self._partitions[topic] = [
                    TopicPartition(topic, number) for number in listed[topic].partitions
                ]


class Committed:
    """How far a consumer group has come, asked by somebody who is no member. All that ask at the same time
    share a request."""

    def __init__(self, bootstrap: str, security: Mapping[str, str], group: str) -> None:
        self._config = client_config(bootstrap, security)
        self._group = group
        self._client: Any = None
        self._wanted: dict[TopicPartition, asyncio.Future[int]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def of(self, topic: str, partition: int) -> int:
        """The offset committed of a partition; 0: none. Raises KafkaException, and TimeoutError when the
        group's coordinator has not answered for a minute: it may be reading its log after a restart."""
        place = TopicPartition(topic, partition)
        answer = self._wanted.get(place)
        if answer is None:
            answer = self._wanted[place] = asyncio.get_running_loop().create_future()
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._work(), name="committed offsets")
        return await asyncio.shield(answer)

    async def _work(self) -> None:
        while self._wanted:
            wanted, self._wanted = self._wanted, {}
            found: dict[TopicPartition, int | BaseException] = {}
            try:
                found |= await asyncio.to_thread(self._ask, list(wanted))
            except (KafkaException, TimeoutError) as error:
                found |= dict.fromkeys(wanted, error)
            for place, answer in wanted.items():
                result = found[place]
                if answer.cancelled():
                    continue
                if isinstance(result, BaseException):
                    answer.set_exception(result)
                    answer.exception()  # whoever asked may have left
                else:
                    answer.set_result(result)

    def _ask(self, places: list[TopicPartition]) -> dict[TopicPartition, int | BaseException]:
        if self._client is None:
            self._client = Admin(self._config, logger=SILENT)
        asked = [ConsumerGroupTopicPartitions(self._group, places)]
        for left in reversed(range(_TRIES)):
            answer = self._client.list_consumer_group_offsets(asked, request_timeout=_TIMEOUT)[self._group]
            try:
                told = answer.result(_TIMEOUT + 1).topic_partitions
                break
            except (TimeoutError, KafkaException) as error:
                late = isinstance(error, TimeoutError) or error.args[0].code() == KafkaError._TIMED_OUT
                if not late or not left:
                    raise
        return {
            place: KafkaException(place.error) if place.error is not None else max(0, int(place.offset))
            for place in told
        }


def end_offsets(bootstrap: str, security: Mapping[str, str], topics: Iterable[str]) -> Ends:
    """The ends of all partitions of ``topics``, asked once. See ``Offsets`` for repeated use."""
    return Offsets(bootstrap, security).ends(topics)
