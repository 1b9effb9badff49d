"""Brokers that several modules share: a fixture that each imports for itself would be started for each."""

from tests.support.secure_kafka import secure_kafka

__all__ = ["secure_kafka"]
