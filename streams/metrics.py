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
        self.partitions = Gauge(
            "carillon_partitions", "Partitions assigned to this worker.", ("topic",), registry=self.registry
        )
        self.reference_age = Gauge(
            "carillon_reference_age_seconds",
            "Since the reference tables were last known to be complete.",
            registry=self.registry,
        )

    def transitions_of(self, counts: Mapping[str, int]) -> None:
        for name, number in counts.items():
            self.transitions.labels(name).inc(number)
