"""Whether the group still knows this worker under its instance id, read from the coordinator's answers.

Kafka gives a static member's place to whoever joins last under its instance id (KIP-345). The Java client
then ends the one that was there before; aiokafka 0.14 knows neither the error nor the idea: it joins again,
throws the other out, is thrown out itself, and so on for ever.
"""

from __future__ import annotations

from typing import Any

from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest, SyncGroupRequest

# https://kafka.apache.org/protocol#protocol_error_codes
_UNKNOWN_MEMBER_ID = 25
_FENCED_INSTANCE_ID = 82


class ReplacedError(Exception):
    """This worker must not join the group again."""

    def __init__(self, instance_id: str) -> None:
        super().__init__(
            f"the group no longer knows this worker as instance {instance_id!r}: another process has joined "
            "under that id, or this one was away for longer than the session time-out. Ending, so that two "
            "don't take each other's place again and again; give every worker an instance id of its own"
        )


def refused(request: Any, response: Any, member_id: str) -> bool:
    """Did the coordinator answer that it does not know the member that asked? ``member_id`` is the newest
    one: an answer to what was asked under an older one says nothing."""
    if isinstance(request, HeartbeatRequest | JoinGroupRequest | SyncGroupRequest):
        asked, codes = request._member_id, {response.error_code}
    elif isinstance(request, OffsetCommitRequest):
        asked = request._consumer_id
        codes = {code for _, partitions in response.topics for _, code in partitions}
    else:
        return False
    return asked == member_id != "" and not codes.isdisjoint({_UNKNOWN_MEMBER_ID, _FENCED_INSTANCE_ID})
