"""The metrics of a console: name, meaning, labels. No label names a company or a person (P8)."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class ConsoleMetrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "carillon_console_requests",
            "Requests by route and the status of the answer.",
            ("route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "carillon_console_seconds",
            "Time from a request to its answer.",
            ("route",),
            registry=self.registry,
        )
        self.ready = Gauge("carillon_console_ready", "1 if requests are served.", registry=self.registry)
