"""What an operator has stopped: a channel, or one company's messages on it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from schemas.records import Channel


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """A record of the topic ``pauses``, under the key ``channel`` or ``channel/company``; a tombstone ends
    it."""

    since: int
    """Milliseconds."""
    by: str = ""
    why: str = ""


_decode = msgspec.json.Decoder(Pause).decode


def pause_key(channel: Channel, company: str = "") -> bytes:
    return f"{channel}/{company}".encode() if company else str(channel).encode()


def place_of(key: bytes) -> tuple[Channel, str]:
    """Channel and company, which is empty for all of them. Raises ValueError."""
    channel, _, company = key.decode().partition("/")
    return Channel(channel), company


class Pauses:
    """All that hold now."""

    def __init__(self) -> None:
        self._held: dict[tuple[Channel, str], Pause] = {}

    def apply(self, key: bytes, value: bytes | None) -> None:
        """A record as it came. Raises ValueError for one that is none."""
        place = place_of(key)
        if value is None:
            self._held.pop(place, None)
        else:
            self._held[place] = _decode(value)

    def paused(self, channel: Channel) -> bool:
        return (channel, "") in self._held

    def companies(self, channel: Channel) -> tuple[str, ...]:
        """Those whose messages wait on this channel."""
        return tuple(company for found, company in self._held if found is channel and company)

    def all(self) -> Mapping[tuple[Channel, str], Pause]:
        return self._held
