"""A burst of changes for tests that kill workers in the middle of it, and the count of what must come of it.

The clock is the test's: it stands still while the burst is worked on and jumps afterwards, so that nobody
waits for the minutes after which a provider is asked about a message, or for a reminder's hour.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from schemas.records import Change, Channel, EntityKind, Template, TemplateText, Trigger
from streams.clock import FileClock
from tests.support.cluster import Cluster, Worker
from tests.support.shop import HOUR, MINUTE, C, ann, change, facts, notification, reminder, shop

ORDERS = 120
CUSTOMERS = 40
CANCELLED_EVERY = 5
DELIVERIES = 4 * ORDERS
"""Of each order a text and an e-mail when it is created, a text when it is ready, and a reminder."""
SETTINGS = {"sms_timeout": "5000", "smtp_timeout": "5000"}
_STEP = MINUTE
_STEPS = 90
"""Over an hour: the reminders come due, and an unknown message has been asked about for the last time."""


class Burst:
    def __init__(self, cluster: Cluster, clock: FileClock) -> None:
        self.cluster = cluster
        self.clock = clock

    def set_up(self) -> None:
        """The shop, its customers, and a provider that takes its time, so that sends are under way."""
        cluster = self.cluster
        words = {"new": "Got", "ready": "Ready:", "soon": "Soon:"}
        cluster.publish(shop())
        cluster.publish(
            Template(
                id=name,
                company=C,
                texts={
                    "en": TemplateText(
                        sms=f"{word} {{{{ entity.number }}}}",
                        subject=f"{word} {{{{ entity.number }}}}",
                        body=f"{word} {{{{ entity.number }}}}",
                    )
                },
                version=1,
            )
            for name, word in words.items()
        )
        cluster.publish(
            [
                notification(Trigger.CREATED, id_="new-sms", template_id="new"),
                notification(Trigger.CREATED, id_="new-mail", template_id="new", channel=Channel.EMAIL),
                notification(Trigger.STATUS_CHANGED_TO, id_="ready", template_id="ready", status_id="ready"),
                reminder(1, entity=EntityKind.ORDER, id_="soon", template_id="soon"),
            ]
        )
        cluster.customers(
            ann(customer_id=f"c{n}", phone=f"+4850{n:07}", email=f"c{n}@mail.example")
            for n in range(CUSTOMERS)
        )
        cluster.script_sms(behaviours=[{"fault": "delay", "times": 0, "seconds": 0.1}])

    def publish(self, orders: Iterable[int] = range(ORDERS)) -> None:
        """All changes of these orders, the versions of each in their order. Every order must be published
        before ``finish``."""
        now = self.clock.now()
        found: list[Change] = []
        for n in orders:
            customer = f"c{n % CUSTOMERS}"
            states = [facts(status, now + 2 * HOUR, customer) for status in ("new", "ready", "gone")]
            if n % CANCELLED_EVERY:
                states.pop()
            for version, after in enumerate(states, 1):
                before = states[version - 2] if version > 1 else None
                found.append(change(version, after, now, before=before, entity_id=f"o{n}"))
        found.sort(key=lambda one: one.version)
        self.cluster.changes(EntityKind.ORDER, found, as_json=True)

    def until_under_way(self) -> None:
        """Some were accepted, and many are not yet."""
        self.cluster.until(lambda: len(self.cluster.texts()) >= 30, "the first texts")
        assert len(self.cluster.texts()) < 2 * ORDERS, "too late: the burst is over"

    def finish(self, *workers: Worker) -> None:
        """Moves the clock until everything has come to its end, and judges it."""
        cluster = self.cluster
        cluster.until(self._all_known, "every delivery to be in the log")
        for _ in range(_STEPS):
            cluster.caught_up(*workers)
            if len({record.delivery_id for record in cluster.finals()}) >= DELIVERIES:
                break
            self.clock.set(self.clock.now() + _STEP)
        cluster.check()
        states = Counter((record.rule_id, str(record.state)) for record in cluster.finals())
        cancelled = -(-ORDERS // CANCELLED_EVERY)
        assert states["soon", "cancelled"] == cancelled, states
        assert states["soon", "sent"] == ORDERS - cancelled, states
        for rule in ("new-sms", "new-mail", "ready"):
            sent, closed = states[rule, "sent"], states[rule, "unknown_closed"]
            assert sent + closed == ORDERS, states

    def _all_known(self) -> bool:
        return len({record.delivery_id for record in self.cluster.read()}) >= DELIVERIES


def clock_file(folder: Path) -> tuple[FileClock, Path]:
    """A clock that stands at the wall's time of now."""
    path = folder / "clock"
    return FileClock(path, start=time.time_ns() // 1_000_000), path
