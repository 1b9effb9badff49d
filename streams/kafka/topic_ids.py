"""The brokers' ids of topics (KIP-516): a topic that was deleted and made anew under its name has another.

A store bound to an id is known not to be of the new topic, whatever its offsets look like.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaException, TopicCollection

from streams.kafka.admin import Admin
from streams.kafka.offsets import SILENT, client_config

log = logging.getLogger(__name__)

_FRESH = 5.0
"""Seconds for which an answer is good: the partitions of one assignment are restored with one question."""
_TIMEOUT = 10.0


class TopicIds:
    """``of`` for the topics given. The embedded broker has none, and one that is away tells none: an empty
    id says "not known", never a wrong one."""

    def __init__(self, bootstrap: str, security: Mapping[str, str], topics: Sequence[str]) -> None:
        self._config = client_config(bootstrap, security)
        self._topics = topics
        self._asking = asyncio.Lock()
        self._asked = float("-inf")
        self._ids: dict[str, str] = {}

    async def of(self, topic: str) -> str:
        async with self._asking:
            if time.monotonic() - self._asked > _FRESH:
                self._ids = await asyncio.to_thread(self._ask)
                self._asked = time.monotonic()
        return self._ids.get(topic, "")

    def _ask(self) -> dict[str, str]:
        try:
            client: Any = Admin(self._config, logger=SILENT)
            metadata = client.list_topics(timeout=_TIMEOUT)
            if metadata.controller_id not in metadata.brokers:
                return {}  # the embedded broker does not know the question
            answers = client.describe_topics(TopicCollection(list(self._topics)), request_timeout=_TIMEOUT)
            return {name: str(answer.result(_TIMEOUT).topic_id) for name, answer in answers.items()}
        except KafkaException as error:
            log.warning("the brokers do not tell the ids of their topics: %s", error.args[0].str())
            return {}
