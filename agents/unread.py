"""What must have been read before anything overdue may go: a cancellation may lie unread, also in a partition
that another worker has. Without any I/O: whoever owns it asks the brokers and says what they said.

The order is what makes it safe. First the inputs, up to the ends that they had at the assignment: their
workers commit an offset when everything that it caused is acknowledged. Only then the ends of this worker's
timers and consents are asked for, because what the inputs caused lies below them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple


class Spot(NamedTuple):
    """A partition; ``topic`` is its full name."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]"


class Want(Enum):
    """What is to be asked next."""

    INPUT_ENDS = "the ends of all partitions of the inputs"
    INPUTS = "how far the inputs have been read, by whoever has them"
    OWN_ENDS = "the ends of this worker's timers and consents"
    OWN = "how far this worker has read its timers and consents"
    NOTHING = "nothing"


class Unread:
    """One assignment. Ask ``want``, answer with the method of that name, ask again."""

    def __init__(self) -> None:
        self._left: dict[Spot, int] = {}
        self._read: dict[Spot, int] = {}
        self.want = Want.INPUT_ENDS

    @property
    def done(self) -> bool:
        return self.want is Want.NOTHING

    def input_ends(self, ends: Mapping[Spot, int]) -> None:
        """Of every partition of every input, whoever has it. Empty ones don't matter."""
        self._expect(ends, Want.INPUTS, Want.OWN_ENDS)

    def inputs(self, read: Mapping[Spot, int]) -> None:
        """By partition the offset below which everything has been worked on: for another worker's what the
        group has committed, for one's own also what is done and not yet committed. Missing: unknown."""
        self._passed(read, Want.OWN_ENDS)

    def own_ends(self, ends: Mapping[Spot, int]) -> None:
        """Asked for after the last ``inputs``."""
        self._expect(ends, Want.OWN, Want.NOTHING)

    def own(self, read: Mapping[Spot, int]) -> None:
        self._passed(read, Want.NOTHING)

    def left(self) -> dict[Spot, tuple[int | None, int]]:
        """Where each partition stands that is waited for (None: unknown), and where it must get to."""
        return {spot: (self._read.get(spot), end) for spot, end in sorted(self._left.items())}

    def __str__(self) -> str:
        if not self._left:
            return f"not known yet: {self.want.value}"
        stands = [
            f"{spot} at {'an unknown offset' if at is None else at} of {end}"
            for spot, (at, end) in self.left().items()
        ]
        more = f" and {len(stands) - 5} more" if len(stands) > 5 else ""
        return ", ".join(stands[:5]) + more

    def _expect(self, ends: Mapping[Spot, int], wait: Want, after: Want) -> None:
        self._left = {spot: end for spot, end in ends.items() if end > 0}
        self._read = {}
        self.want = wait if self._left else after

    def _passed(self, read: Mapping[Spot, int], after: Want) -> None:
        self._read.update(read)
        self._left = {spot: end for spot, end in self._left.items() if self._read.get(spot, -1) < end}
        if not self._left:
            self.want = after
