"""Brokers that several modules share: a fixture that each imports for itself would be started for each."""

from tests.support.local_kafka import local_kafka
from tests.support.secure_kafka import secure_kafka

__all__ = ["local_kafka", "secure_kafka"]
