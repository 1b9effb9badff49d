"""What a story is made of: a list of items that can be shortened item by item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from schemas.records import Change, Customer, EntityKind, Record, Rule, RuleKind

MINUTE = 60_000
EPOCH = 1_781_098_200_000
"""2026-06-10 15:30 in Warsaw (a Wednesday, UTC+2)."""
LENGTH = 5_400.0
"""Seconds in which things happen; then everything heals."""
KINDS = {"orders": EntityKind.ORDER, "appointments": EntityKind.APPOINTMENT, "leads": EntityKind.LEAD}
TOPIC_OF = {kind: topic for topic, kind in KINDS.items()}
PARTITIONS = {"orders": 1, "appointments": 2, "leads": 1, "customer-consents": 2, "timers": 2}
DEADLY = b"\x00deadly"
"""A record at which every worker dies."""
POISON = (b"\x00\x01", b"{", b"junk", b"\x00\x7f\x00\x00\x01abc", b'{"company": ""}', DEADLY)
ANY = "any"
"""The machine of a fault that meets whichever worker gets there first."""


@dataclass(frozen=True, slots=True)
class Publish:
    """A record that somebody publishes; ``value`` bytes go out as they are, None is a tombstone."""

    at: float
    topic: str
    key: bytes
    value: Record | bytes | None

    def __str__(self) -> str:
        return f"{self.at:8.1f} s  {self.topic}: {_short(self.value)}"


@dataclass(frozen=True, slots=True)
class Fault:
    """``what`` happens ``to`` whom for ``seconds``; ``how`` says more, ``@`` at which await."""

    at: float
    what: str
    to: str = ""
    seconds: float = 0.0
    how: str = ""
    skip: int = 0

    def __str__(self) -> str:
        skip = f" (occurrence {self.skip + 1})" if self.skip else ""
        return f"{self.at:8.1f} s  {self.what} {self.to} {self.how}{skip} for {self.seconds:.1f} s"


Item = Publish | Fault


@dataclass(frozen=True, slots=True)
class Setting:
    machines: int
    in_flight: int
    rate: float
    """Messages per second of each channel; 0: not paced."""
    later: bool = False
    """At the end 36 days go by."""
    length: float = LENGTH
    """Seconds after which everything heals."""
    lookout: float = 200.0
    """Seconds between looks at the ends of changelogs: well below the time for which this log keeps what may
    be compacted, as the runtime's are."""


@dataclass(frozen=True, slots=True)
class Story:
    seed: int
    setting: Setting
    reference: tuple[Publish, ...]
    """Published before the first worker starts."""
    items: tuple[Item, ...]
    scene: str = ""
    """The await that it leads to; none: a day like any other."""

    def only(self, items: Sequence[Item]) -> Story:
        return replace(self, items=tuple(items))


def _short(value: Record | bytes | None) -> str:
    if isinstance(value, Change):
        after = value.after
        facts = ""
        if after is not None:
            moment = (after.scheduled_at - EPOCH) / 1000 if after.scheduled_at is not None else None
            facts = f" -> {after.status_id} {after.customer_id} at {moment} s {after.location_id}"
        had = " (with before)" if value.before is not None else ""
        return f"{value.company} {value.entity_id} v{value.version} {value.operation}{facts}{had}"
    if isinstance(value, Customer):
        consent = f"sms={value.sms_consent} email={value.email_consent}"
        return f"{value.company} {value.customer_id} v{value.version} {consent}"
    if isinstance(value, Rule):
        reminder = value.kind is RuleKind.REMINDER
        when = f"offset={value.offset}" if reminder else f"{value.trigger}+{value.delay}"
        more = "" if value.enabled else " DISABLED"
        more += f" in {','.join(value.locations)}" if value.locations is not None else ""
        return f"{value.company} {value.id} v{value.version} {value.channel} {when}{more}"
    return repr(value)[:200]
