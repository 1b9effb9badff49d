"""The metrics of a gateway: name, meaning, labels. No label names a company or a person (P8)."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class GatewayMetrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "carillon_gateway_requests",
            "Requests by what they came for and the status of the answer.",
            ("route", "status"),
            registry=self.registry,
        )
        self.events = Counter(
            "carillon_provider_events",
            "Events taken down, by kind and what they say (receipt.delivered, text.stop, ...).",
            ("event",),
            registry=self.registry,
        )
        self.repeats = Counter(
            "carillon_gateway_repeats",
            "Events that had been taken down already.",
            registry=self.registry,
        )
        self.strays = Counter(
            "carillon_gateway_strays",
            "Texts to a number that no company has.",
            registry=self.registry,
        )
        self.ready = Gauge("carillon_gateway_ready", "1 if requests are served.", registry=self.registry)
