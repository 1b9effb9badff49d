"""Fixtures of the tests that need a broker."""

from tests.support.broker import bootstrap, topic

__all__ = ["bootstrap", "topic"]
