"""The orders agent: changes of orders to timer commands."""

from agents.entities import entity_agent
from agents.host import Host
from streams.kafka.app import BatchApp


def register(app: BatchApp, host: Host, prefix: str) -> None:
    entity_agent(app, host, prefix, "orders")
