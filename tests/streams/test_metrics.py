"""The metrics and the page that explains them."""

from __future__ import annotations

import re
from pathlib import Path

from streams.metrics import Metrics

PAGE = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
LABELS = {"topic", "partition", "kind", "result", "transition", "channel", "outcome", "provider", "state"}
"""None of them has as many values as there are companies, customers, rules or entities (P8)."""


def test_every_metric_is_explained_and_none_that_there_is_not() -> None:
    families = Metrics().registry.collect()
    names = {f"{one.name}_total" if one.type == "counter" else one.name for one in families}
    assert set(re.findall(r"`(carillon_[a-z_]+)", PAGE)) == names


def test_labels_are_of_few_values() -> None:
    collectors = Metrics().registry._collector_to_names
    labels = {label for collector in collectors for label in getattr(collector, "_labelnames", ())}
    assert labels <= LABELS
