"""Every metric of a worker, in one place: name, meaning, labels. Counted once per batch, never per message.

Labels have few values: states, reasons, topics, channels; never a company, a customer or a rule (P8).
"""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """One per process; ``registry`` is what ``/metrics`` shows."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.records = Counter(
            "carillon_records", "Records read, by topic.", ("topic",), registry=self.registry
        )
        self.changes = Counter(
            "carillon_changes",
            "Changes of entities by what became of them (accepted, duplicate, out_of_order, ...).",
            ("kind", "result"),
            registry=self.registry,
        )
        self.commands = Counter(
            "carillon_timer_commands",
            "Commands sent to the timers, by kind of entity.",
            ("kind",),
            registry=self.registry,
        )
        self.transitions = Counter(
            "carillon_transitions",
            "Transitions of deliveries by state and reason (state.reason).",
            ("transition",),
            registry=self.registry,
        )
        self.dead_letters = Counter(
            "carillon_dead_letters", "Records set aside, by topic.", ("topic",), registry=self.registry
        )
        self.outcomes = Counter(
            "carillon_provider_outcomes",
            "Answers of providers by channel and kind (accepted, rejected, retryat, unknown, withdrawn).",
            ("channel", "outcome"),
            registry=self.registry,
        )
        self.lateness = Histogram(
            "carillon_lateness_seconds",
            "From the moment that a message was allowed to go to the call of the provider.",
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 5, 15, 60, 300, 1800, 7200),
            registry=self.registry,
        )
        self.pending = Gauge(
            "carillon_pending", "Messages that wait for their moment.", registry=self.registry
        )
        self.queued = Gauge(
            "carillon_queued", "Messages that are due and wait for their channel.", registry=self.registry
        )
        self.in_flight = Gauge(
            "carillon_in_flight", "Messages at a provider.", ("channel",), registry=self.registry
        )
        self.sweeping = Gauge(
            "carillon_sweeps", "Changes of rules and locations still being applied.", registry=self.registry
        )
        self.lag = Gauge(
            "carillon_lag_records",
            "Records of an assigned partition that are not worked on yet.",
            ("topic", "partition"),
            registry=self.registry,
        )
        self.commit_age = Gauge(
            "carillon_commit_age_seconds",
            "Since there is something worked on whose offset is not committed.",
            ("topic", "partition"),
            registry=self.registry,
        )
        self.stalled = Gauge(
            "carillon_stalled_seconds",
            "For how long the next record of an assigned partition has not moved while brokers answer.",
            ("topic", "partition"),
            registry=self.registry,
        )
        self.stuck = Gauge(
            "carillon_stuck",
            "What has stood still longer than stuck_after (partitions, steps, commits, membership).",
            registry=self.registry,
        )
        self.live = Gauge("carillon_live", "1 unless a restart would help, as /live.", registry=self.registry)
        self.ready = Gauge(
            "carillon_ready", "1 if all of the work is done, as /ready.", registry=self.registry
        )
        self.restore_left = Gauge(
            "carillon_restore_records_left",
            "Offsets that a log under restore has still to read.",
            ("topic", "partition"),
            registry=self.registry,
        )
        self.restore_rate = Gauge(
            "carillon_restore_records_per_second",
            "How fast a log under restore is read.",
            ("topic", "partition"),
            registry=self.registry,
        )
        self.partitions = Gauge(
            "carillon_partitions", "Partitions assigned to this worker.", ("topic",), registry=self.registry
        )
        self.reference_age = Gauge(
            "carillon_reference_age_seconds",
            "Since the reference tables were last known to be complete.",
            registry=self.registry,
        )

        self.provider_state = Gauge(
            "carillon_provider_state",
            "1 for the state of a provider account on this worker: closed (it works), throttled, open (it "
            "does not), probing.",
            ("channel", "provider", "state"),
            registry=self.registry,
        )

    def forget_partitions(self) -> None:
        """Before the gauges of single partitions are set anew: others own some of them by now."""
        for gauge in (self.lag, self.commit_age, self.stalled, self.restore_left, self.restore_rate):
            gauge.clear()

    def transitions_of(self, counts: Mapping[str, int]) -> None:
        for name, number in counts.items():
            self.transitions.labels(name).inc(number)

    def outcomes_of(self, counts: Mapping[tuple[str, str], int]) -> None:
        """By channel and kind of answer."""
        for labels, number in counts.items():
            self.outcomes.labels(*labels).inc(number)
