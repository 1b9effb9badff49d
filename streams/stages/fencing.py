"""Who may write a partition's changelog: of several owners, only the newest (design decision 8).

A group can give a partition to a worker while its former owner still has records on the way: it slept, or
both lost the brokers for longer than the session. So each owner begins with a **claim**, a record that is a
compare-and-swap: it names the position that its writer had read up to, and counts only if it lies exactly
there. Every record carries the epoch of its writer in a header. From this follows:

- A reader takes a record whose epoch is below that of the newest claim before it for *stale*: a former
  owner's, written too late. It is left out.
- An owner whose records do not follow one another in the log sees that somebody else wrote. Stale records
  it writes over with what it holds itself, so that compaction does not keep the wrong ones; a claim newer
  than its own means that it is *fenced*: what it has just written does not count.
- A record without an epoch is of a release before this one and counts as it did then.
- A changelog that was deleted and made anew has no owner until what it held is back (design decision 13):
  whoever writes it back says so in its claim, and claims once more when all of it is there.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

CLAIM = b"\x00claim"
"""Key of the claim in every changelog."""
FORMAT = 1
"""Of what the changelogs hold. Raised when a release can no longer be read by the one before."""
EPOCH_HEADER = "e"

LogRecord = tuple[int, bytes, bytes | None, int | None]
"""(offset, key, value, epoch); value None is a tombstone, epoch None was written by no owner."""


class Claim(msgspec.Struct, array_like=True, frozen=True):
    epoch: int
    after: int
    """The position that the claimant had read up to: where this record must lie to count."""
    by: str
    """The claimant's name, of this process alone."""
    format: int = FORMAT
    putting_back: bool = False
    """What follows is what another topic of this name held, and not all of it before the next claim."""


class Fenced(Exception):  # noqa: N818 - says what is the matter
    """Another owner has claimed the changelog since. What was written last does not count, and nothing that
    was meant to follow it may be done."""


class StateTooNew(Exception):  # noqa: N818 - says what is the matter
    """A newer release has written this changelog in a form that this one can't read."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Claim).decode


def claim_record(epoch: int, position: int, by: str, *, putting_back: bool = False) -> tuple[bytes, bytes]:
    return CLAIM, _encode(Claim(epoch, position, by, putting_back=putting_back))


def header_of(epoch: int) -> bytes:
    return epoch.to_bytes(4, "big")


def epoch_of(headers: Iterable[tuple[str, bytes | str | None]] | None) -> int | None:
    """The epoch in a record's headers, None without one."""
    for name, value in headers or ():
        if name == EPOCH_HEADER and isinstance(value, bytes):
            return int.from_bytes(value, "big")
    return None


class Fence:
    """What a reader of a changelog has learned of its owners."""

    def __init__(self, epoch: int = 0, stale: Iterable[bytes] = (), *, begun: bool = False) -> None:
        self.epoch = epoch
        """The newest that counts."""
        self.owner = ""
        """Who has claimed it, if the claim was read."""
        self.begun = begun
        """An owner has claimed the changelog, so that what it holds is all there is. One that was made anew
        under running workers has records of theirs, and no claim."""
        self.stale = dict.fromkeys(stale)
        """Keys whose newest record is a stale one: to be written again by the next owner."""

    def admit(self, records: Iterable[LogRecord]) -> list[tuple[bytes, bytes | None]]:
        """The (key, value) pairs that count, in their order. Raises StateTooNew."""
        found: list[tuple[bytes, bytes | None]] = []
        for offset, key, value, epoch in records:
            if key == CLAIM:
                self._claimed(offset, value)
                continue
            if epoch is not None:
                if epoch < self.epoch:
                    self.stale[key] = None
                    continue
                self.epoch = epoch  # the claim before it may have been compacted away
            else:
                self.begun = True
            self.stale.pop(key, None)
            found.append((key, value))
        return found

    def foreign(self, records: Iterable[LogRecord], own: int) -> list[bytes]:
        """For the owner of epoch ``own``: the keys whose newest record among these is somebody else's. Raises
        Fenced when a newer owner is among the writers."""
        keys: dict[bytes, None] = {}
        for offset, key, value, epoch in records:
            if key == CLAIM:
                self._claimed(offset, value)
            elif epoch == own:
                keys.pop(key, None)
            else:
                keys[key] = None
                self.epoch = max(self.epoch, epoch or 0)
        if self.epoch > own:
            raise Fenced(f"epoch {self.epoch} ({self.owner or 'unknown'}) has taken over from {own}")
        return list(keys)

    def _claimed(self, offset: int, value: bytes | None) -> None:
        if value is None:
            return
        claim = _decode(value)
        if claim.format > FORMAT:
            raise StateTooNew(
                f"its state has format {claim.format}, this release reads up to {FORMAT}: start the newer "
                "release again, or see docs/operating.md, Going back to an older release"
            )
        # Also by a claim that failed: compaction keeps the last one, whichever that is. Whoever claims
        # without this note has found that all is there.
        self.begun = self.begun or not claim.putting_back
        if claim.after == offset and claim.epoch > self.epoch:
            self.epoch, self.owner, self.begun = claim.epoch, claim.by, not claim.putting_back
