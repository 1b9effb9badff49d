"""Broadcast tables: small reference topics that every worker reads whole and keeps following.

No consumer group, so every worker sees everything. A thread reads; the event loop is given batches in
order and, when it falls behind, holds the thread back.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from streams.kafka.offsets import SILENT, Offsets

log = logging.getLogger(__name__)

_Place = tuple[str, int]

_BATCH = 2_000
_POLL = 0.1  # seconds; also how soon stop() ends the thread
_ASK_TIMEOUT = 2.0  # seconds without an answer about the ends; nothing is read meanwhile, nor stop() heard
_BATCHES_AHEAD = 4  # given to the event loop and not yet worked on


class BroadcastRecord(NamedTuple):
    """One record of a reference topic; ``value`` None removes the key."""

    topic: str
    key: bytes
    value: bytes | None
    partition: int
    offset: int


class BroadcastError(Exception):
    """The tables are not read: what is missing, or what ``on_batch`` raised."""


class BroadcastReader:
    """Reads all partitions of ``topics`` from the beginning and follows them.

    ``on_batch`` runs on the event loop, with non-empty batches; within a partition records come in order.
    It must be idempotent: after a loss of data on the broker a topic is read again from its beginning. What
    it raises ends the reader: ``caught_up`` raises it and ``last_confirmed`` grows for ever.

    ``confirm_every``: seconds between questions to the brokers where the topics end.
    """

    def __init__(
        self,
        bootstrap: str,
        security: Mapping[str, str],
        topics: Sequence[str],
        on_batch: Callable[[list[BroadcastRecord]], None],
        *,
        confirm_every: float = 5.0,
    ) -> None:
        self._bootstrap = bootstrap
        self._security = security
        self._topics = tuple(topics)
        self._on_batch = on_batch
        self._confirm_every = confirm_every
        self._room = threading.Semaphore(_BATCHES_AHEAD)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._caught_up = asyncio.Event()
        self._confirmed = float("-inf")
        self._failure: BaseException | None = None
        self._waiting_for = "the brokers have not answered yet"

    async def start(self) -> None:
        """Starts reading and returns at once."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="broadcast", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Ends the thread; ``on_batch`` is not called afterwards. Idempotent."""
        self._stopping.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.to_thread(thread.join)

    async def caught_up(self, timeout: float) -> None:
        """Returns once everything that the topics held when the reader started has been through ``on_batch``.

        Raises BroadcastError after ``timeout`` seconds (saying what is missing), or when the reader failed.
        """
        try:
            await asyncio.wait_for(self._caught_up.wait(), timeout)
        except TimeoutError:
            raise BroadcastError(f"not read to the end within {timeout} s: {self._waiting_for}") from None
        if self._failure is not None:
            raise BroadcastError(f"the reader ended: {self._failure!r}") from self._failure

    def last_confirmed(self) -> float:
        """Seconds since the moment of which it is known that everything written until then has been through
        ``on_batch``; infinite before the first catch-up and after a failure."""
        return float("inf") if self._failure is not None else time.monotonic() - self._confirmed

    @property
    def failure(self) -> BaseException | None:
        """What ended the reader, if something did."""
        return self._failure

    # --- on the event loop -------------------------------------------------------------------------

    def _deliver(self, batch: list[BroadcastRecord]) -> None:
        self._room.release()
        if self._stopping.is_set() or self._failure is not None:
            return
        try:
            self._on_batch(batch)
        except Exception as error:  # noqa: BLE001 - whatever it is, going on would skip records
            self._fail(error)

    def _confirm(self, moment: float) -> None:
        if self._failure is None and not self._stopping.is_set():
            self._confirmed = moment
            self._caught_up.set()

    def _fail(self, error: BaseException) -> None:
        log.error("broadcast tables are no longer read", exc_info=error)
        self._failure = error
        self._stopping.set()
        self._caught_up.set()

    # --- on the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._follow()
        except Exception as error:  # noqa: BLE001 - a thread's error must reach those who wait
            self._tell(self._fail, error)

    def _tell(self, callback: Callable[[Any], None], argument: Any) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback, argument)

    def _follow(self) -> None:
        offsets = self._new_offsets()
        consumer: Any = Consumer(
            {
                **self._security,
                "bootstrap.servers": self._bootstrap,
                "group.id": "carillon-broadcast",  # the client insists on one; nothing is joined or committed
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,  # the end is reached although its last offsets were compacted
                "fetch.wait.max.ms": 100,
                "queued.max.messages.kbytes": 16 * 1024,
                "reconnect.backoff.max.ms": 1_000,  # default 10 s
            },
            logger=SILENT,
        )
        positions: dict[_Place, int] = {}
        asked = float("-inf")
        goal: dict[_Place, int] | None = None
        try:
            while not self._stopping.is_set():
                now = time.monotonic()
                if goal is None and now - asked >= (self._confirm_every if positions else _POLL):
                    asked, goal = now, self._ends(offsets)
                    if goal is None:
                        # A client that has seen a leader's term end is refused for ever after (seen with
                        # Kafka 4.1: FENCED_LEADER_EPOCH until its metadata is renewed, by default 5 minutes).
                        offsets = self._new_offsets()
                    if goal is not None and not positions:
                        positions = dict.fromkeys(goal, 0)
                        # By number: to ask where a log begins costs a new consumer half a second. Where 0
                        # is not there any more, auto.offset.reset finds the beginning.
                        consumer.assign([TopicPartition(*place, 0) for place in positions])
                    elif goal is not None:
                        self._read_again_what_shrank(consumer, goal, positions)
                if positions:
                    # A batch that is not full waits so long for more: not while somebody waits for it.
                    poll = _POLL if self._caught_up.is_set() else _POLL / 10
                    self._take(consumer.consume(_BATCH, timeout=poll), positions)
                else:
                    self._stopping.wait(_POLL)
                if goal is not None and self._reached(goal, positions):
                    self._tell(self._confirm, asked)  # behind all batches that led there
                    goal = None
        finally:
            consumer.close()

    def _new_offsets(self) -> Offsets:
        return Offsets(self._bootstrap, self._security, timeout=_ASK_TIMEOUT)

    def _ends(self, offsets: Offsets) -> dict[_Place, int] | None:
        """None: the brokers did not answer or a topic is missing; asked again soon."""
        try:
            found = offsets.ends(self._topics)
        except (KafkaException, TimeoutError) as error:
            self._waiting_for = f"the brokers don't answer: {error}"
            return None
        missing = [topic for topic in self._topics if topic not in found]
        if missing:
            self._waiting_for = f"there is no topic {', '.join(missing)}"
            return None
        return {(topic, number): end for topic in found for number, end in found[topic].items()}

    def _read_again_what_shrank(
        self, consumer: Any, goal: dict[_Place, int], positions: dict[_Place, int]
    ) -> None:
        """A log that ends before what was read from it is another log (made anew, or it lost records)."""
        for place, end in goal.items():
            if positions.get(place, 0) > end:
                log.warning("broadcast: %s[%d] has shrunk to %d and is read again", *place, end)
                positions[place] = 0
                consumer.seek(TopicPartition(*place, OFFSET_BEGINNING))

    def _take(self, messages: list[Any], positions: dict[_Place, int]) -> None:
        batch: list[BroadcastRecord] = []
        for message in messages:
            error = message.error()
            place = (message.topic(), message.partition())
            if error is None:
                offset = message.offset()
                positions[place] = offset + 1
                batch.append(
                    BroadcastRecord(place[0], message.key() or b"", message.value(), place[1], offset)
                )
            elif error.code() == KafkaError._PARTITION_EOF:
                positions[place] = message.offset()
            elif error.fatal():
                raise KafkaException(error)
            else:  # librdkafka tries again by itself; last_confirmed grows until it works
                log.warning("broadcast: %s", error.str())
        while batch and not self._stopping.is_set():
            if self._room.acquire(timeout=_POLL):
                self._tell(self._deliver, batch)
                break

    def _reached(self, goal: dict[_Place, int], positions: dict[_Place, int]) -> bool:
        behind = [place for place, end in goal.items() if positions.get(place, 0) < end]
        if behind:
            topic, number = behind[0]
            at = positions.get(behind[0], 0)
            self._waiting_for = f"{topic}[{number}] is at {at} of {goal[behind[0]]}"
        return not behind
