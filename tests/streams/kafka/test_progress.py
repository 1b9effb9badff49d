"""What a worker says of its partitions while they are being taken away."""

from __future__ import annotations

import pytest
from aiokafka import AIOKafkaConsumer
from faust.types import TP

from streams.kafka.transport import BatchConsumer


class Detached(BatchConsumer):
    """One whose client has no assignment (any more): all that ``_end`` asks."""

    def __init__(self, client: AIOKafkaConsumer) -> None:
        self._client = client

    def highwater(self, tp: TP) -> int:
        found: int = self._client.highwater(tp)
        return found


async def test_a_partition_that_is_no_longer_assigned_has_no_end() -> None:
    """aiokafka asserts that it is: asked in the middle of a rebalance, that ended the worker."""
    client = AIOKafkaConsumer(bootstrap_servers="127.0.0.1:1")
    with pytest.raises(AssertionError, match="not assigned"):
        client.highwater(TP("timers", 0))
    assert Detached(client)._end(TP("timers", 0)) is None
