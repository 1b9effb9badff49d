from __future__ import annotations

import msgspec
import pytest

from schemas.records import Channel
from senders.pauses import Pause, Pauses, pause_key

RAW = msgspec.json.encode(Pause(since=1, by="ops", why="wrong text"))


def test_a_channel_and_a_company_on_a_channel() -> None:
    pauses = Pauses()
    pauses.apply(pause_key(Channel.SMS), RAW)
    pauses.apply(pause_key(Channel.EMAIL, "acme/x"), RAW)
    assert (pauses.paused(Channel.SMS), pauses.paused(Channel.EMAIL)) == (True, False)
    assert (pauses.companies(Channel.SMS), pauses.companies(Channel.EMAIL)) == ((), ("acme/x",))
    assert pauses.all()[Channel.SMS, ""].why == "wrong text"
    pauses.apply(pause_key(Channel.SMS), None)
    pauses.apply(pause_key(Channel.SMS, "nobody"), None)
    assert not pauses.paused(Channel.SMS)


@pytest.mark.parametrize(("key", "value"), [(b"fax", RAW), (b"sms", b"junk"), (b"\xff", None)])
def test_what_is_no_pause(key: bytes, value: bytes | None) -> None:
    with pytest.raises(ValueError, match=r"."):
        Pauses().apply(key, value)
