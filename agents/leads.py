"""The leads agent: changes of leads to timer commands."""

from agents.entities import entity_agent
from agents.host import Host
from agents.quarantine import Quarantine
from streams.kafka.app import BatchApp


def register(app: BatchApp, host: Host, quarantine: Quarantine, prefix: str) -> None:
    entity_agent(app, host, quarantine, prefix, "leads")
