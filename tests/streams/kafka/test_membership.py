"""Which answers of the group's coordinator mean that a worker's place is somebody else's."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetCommitResponse_v3
from aiokafka.protocol.group import (
    HeartbeatRequest,
    HeartbeatResponse_v1,
    LeaveGroupRequest,
    SyncGroupRequest,
    SyncGroupResponse_v1,
)

from streams.kafka.membership import refused

HEARTBEAT = HeartbeatRequest("g", 3, "me")
SYNC = SyncGroupRequest("g", 3, "me", "one", [])
COMMIT = OffsetCommitRequest("g", 3, "me", -1, [])


def heartbeat(code: int) -> Any:
    return HeartbeatResponse_v1(0, code)


def commit(*codes: int) -> Any:
    return OffsetCommitResponse_v3(0, [("t", list(enumerate(codes)))])


@pytest.mark.parametrize(
    ("request_", "response", "expected"),
    [
        (HEARTBEAT, heartbeat(0), False),
        (HEARTBEAT, heartbeat(25), True),
        (HEARTBEAT, heartbeat(27), False),  # REBALANCE_IN_PROGRESS
        (HEARTBEAT, heartbeat(22), False),  # ILLEGAL_GENERATION: it joins again as itself
        (HEARTBEAT, heartbeat(82), True),
        (SYNC, SyncGroupResponse_v1(0, 82, b""), True),
        (COMMIT, commit(0, 0), False),
        (COMMIT, commit(0, 25), True),
        (LeaveGroupRequest("g", "me"), heartbeat(25), False),
    ],
)
def test_what_means_that_somebody_else_is_there(request_: Any, response: Any, expected: bool) -> None:
    assert refused(request_, response, "me") is expected


def test_an_answer_to_an_older_self_or_to_nobody_says_nothing() -> None:
    assert not refused(HEARTBEAT, heartbeat(25), "me, after joining again")
    assert not refused(HeartbeatRequest("g", -1, ""), heartbeat(25), "")
