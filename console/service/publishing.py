"""Edits written by a command."""

from __future__ import annotations

from collections.abc import Sequence

from console.connection import Connection, Publication
from console.service.edits import Edit


def publish_edits(connection: Connection, edits: Sequence[Edit]) -> None:
    """What the audit says first: nothing changes without it. Raises click's exceptions."""
    audit: list[Publication] = [("audit", each.audit.company.encode(), each.audit) for each in edits]
    connection.publish([*audit, *((each.topic, each.key, each.record) for each in edits)])
