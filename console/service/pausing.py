"""What operators have stopped, as the topic ``pauses`` says."""

from __future__ import annotations

from collections.abc import Sequence

from console.index.follower import Follower, Sink
from schemas.codec import Codec
from schemas.errors import DecodeError
from senders.pauses import Pauses
from streams.kafka.tail import TailRecord
from streams.settings import Settings

Stop = tuple[bytes, bytes]
"""Key and value."""


def follow_pauses(settings: Settings, pauses: Pauses) -> Follower[Stop]:
    """Keeps ``pauses``; to be started."""
    return Follower(settings, "pauses", _checked, lambda: _sink(pauses))


def _checked(_: Codec, record: TailRecord) -> Stop:
    try:
        Pauses().apply(record.key, record.value)
    except ValueError as error:
        raise DecodeError("undecodable", str(error)) from None
    return record.key, record.value


def _sink(pauses: Pauses) -> Sink[Stop]:
    def sink(found: Sequence[Stop | bytes], _: dict[int, int]) -> None:
        for one in found:
            key, value = one if isinstance(one, tuple) else (one, None)
            pauses.apply(key, value)

    return sink
