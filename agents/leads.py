"""The leads agent: changes of leads to timer commands."""

from agents.entities import entity_agent
from agents.host import Host
from streams.kafka.app import BatchApp


def register(app: BatchApp, host: Host, prefix: str) -> None:
    entity_agent(app, host, prefix, "leads")
