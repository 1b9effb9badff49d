"""Where a record goes: Kafka's own murmur2, computed by us for every producer.

Clients differ in their defaults (librdkafka: CRC32, aiokafka: murmur2 with another sign rule for some
versions), so nothing here leaves the partition to a client. Source: ``Utils.murmur2`` and
``BuiltInPartitioner.partitionForKey`` of Apache Kafka's Java client.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF

_WORDS = [
    Struct(f"<{count}I") for count in range(64)
]  # keys are at most some dozens of bytes; longer is slower


def murmur2(data: bytes) -> int:
    """The 32-bit hash, unsigned (Java's ``int`` is the same bits)."""
    m, mask = _M, _MASK
    length = len(data)
    count = length >> 2
    words = _WORDS[count] if count < 64 else Struct(f"<{count}I")
    h = _SEED ^ length
    for word in words.unpack_from(data):
        k = word * m & mask
        h = (h * m ^ (k ^ k >> 24) * m) & mask
    rest = length & 3
    if rest:
        h = (h ^ int.from_bytes(data[-rest:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


# An order changes several times within minutes, a customer has several messages: most keys come again
# soon. 100,000 entries of 40-byte keys are about 20 MB.
@lru_cache(maxsize=100_000)
def _positive_hash(key: bytes) -> int:
    return murmur2(key) & 0x7FFFFFFF


def partition_for(key: bytes, count: int) -> int:
    """The partition of ``key`` among ``count``, as the Java client chooses it."""
    return _positive_hash(key) % count
