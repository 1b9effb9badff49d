"""murmur2 against the vectors of Kafka's own tests (``UtilsTest.testMurmur2``) and, in test_producer, against
librdkafka's implementation."""

from __future__ import annotations

import pytest

from streams.kafka.partitioner import murmur2, partition_for

VECTORS = [
    (b"21", -973932308),
    (b"foobar", -790332482),
    (b"a-little-bit-long-string", -985981536),
    (b"a-little-bit-longer-string", -1486304829),
    (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
    (b"abc", 479470107),
]


@pytest.mark.parametrize(("key", "java"), VECTORS)
def test_the_hash_is_javas(key: bytes, java: int) -> None:
    assert murmur2(key) == java & 0xFFFFFFFF
    assert partition_for(key, 7) == (java & 0x7FFFFFFF) % 7


def test_keys_of_any_length_have_a_place() -> None:
    for length in (0, 1, 3, 4, 251, 252, 255, 256, 257, 5000):
        assert 0 <= partition_for(b"x" * length, 12) < 12
