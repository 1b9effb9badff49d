"""What entity agents would write to the timers topic."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from schemas.codec import encode_json
from schemas.records import (
    Change,
    Channel,
    ClearScope,
    Details,
    EntityKind,
    Facts,
    Operation,
    Rule,
    Timer,
    TimerOp,
    Unit,
)
from tests.benchmarks.load import Load
from tests.support.shop import reminder

HOUR = 3_600_000
DAY = 24 * HOUR


class Commands:
    """``known``: orders below this have been told of once."""

    def __init__(self, load: Load, known: int = 0) -> None:
        self._load = load
        self._known = known
        self._versions: dict[int, int] = {}

    def _next(self, order: int) -> int:
        version = self._versions[order] = self._versions.get(order, int(order < self._known)) + 1
        return version

    def _facts(self, order: int, status: str, scheduled_at: int | None) -> Facts:
        _, customer = self._load.place_of(order)
        return Facts(status_id=status, customer_id=f"cust-{customer}", scheduled_at=scheduled_at)

    def _command(self, order: int, op: TimerOp, status: str, at: int | None, **fields: Any) -> Timer:
        company, customer = self._load.place_of(order)
        version = self._next(order)
        now = time.time_ns() // 1_000_000
        event = f"order-{order}-{version}"
        change = Change(
            company=f"c{company}",
            entity_id=f"order-{order}",
            operation=Operation.UPDATE if version > 1 else Operation.CREATE,
            event_id=event,
            version=version,
            occurred_at=now,
            after=self._facts(order, status, at),
            details=Details(number=str(order), title="Chain, cassette and brakes", currency="PLN"),
        )
        fields = {"anchor": event, "event_id": event} | fields
        return Timer(
            op=op,
            company=f"c{company}",
            kind=EntityKind.ORDER,
            entity_id=f"order-{order}",
            customer_id=f"cust-{customer}",
            entity_version=version,
            occurred_at=now,
            status_id=status,
            change=encode_json(change),
            **fields,
        )

    def remind(self, order: int, due: int, rule_id: str = "rem") -> Timer:
        """A reminder at ``due``, new or moved."""
        at = due + HOUR
        rule = {"rule_id": rule_id, "rule_version": 1, "anchor": str(at), "event_id": ""}
        return self._command(order, TimerOp.ARM, "new", at, **rule)

    def notify(self, order: int) -> Timer:
        """A message that goes at once."""
        return self._command(order, TimerOp.ARM, "s0", None, rule_id="r0", rule_version=1)

    def changed(self, order: int) -> Change:
        """Of an order that nobody knew, to the status that a rule is about."""
        company, _ = self._load.place_of(order)
        version = self._next(order)
        return Change(
            company=f"c{company}",
            entity_id=f"order-{order}",
            operation=Operation.UPDATE,
            event_id=f"order-{order}-{version}",
            version=version,
            occurred_at=time.time_ns() // 1_000_000,
            before=self._facts(order, "new", None),
            after=self._facts(order, "s0", None),
            details=Details(number=str(order), title="Chain, cassette and brakes", currency="PLN"),
        )

    def cancel(self, order: int) -> Timer:
        scope = {"scope": ClearScope.ALL, "reason": "entity_deleted", "anchor": "", "event_id": ""}
        return self._command(order, TimerOp.CLEAR, "new", None, **scope)


def reminders(load: Load) -> Iterator[Rule]:
    """A rule of each company for each channel."""
    for number in range(load.companies):
        for id_, channel in (("rem", Channel.SMS), ("mail", Channel.EMAIL)):
            yield reminder(
                *(1, Unit.HOURS, EntityKind.ORDER),
                id_=id_,
                channel=channel,
                company=f"c{number}",
                template_id="t",
            )
