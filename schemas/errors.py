"""What may be wrong with bytes that claim to be a record, and with the registry that describes them.

The reason codes are members of ``streams.domain.reasons.Reason`` (this package stands below it, so they
are spelled out here; a test holds the two together).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

DecodeReason = Literal["undecodable", "unknown_schema", "contract"]


class DecodeError(Exception):
    """A value that is not a record of its contract. Never retried: the same bytes fail again.

    ``reason`` is the code for the dead letter; ``field`` is the path of the offending field
    (``after.status_id``), empty where the bytes as a whole are wrong; ``detail`` says what is expected.
    """

    def __init__(self, reason: DecodeReason, detail: str, field: str = "") -> None:
        super().__init__(f"{field}: {detail}" if field else detail)
        self.reason: DecodeReason = reason
        self.detail = detail
        self.field = field


class UnknownSchemaId(Exception):  # noqa: N818 - not an error: it asks the caller to fetch and try again
    """Schema ids that were never asked for. ``await registry.fetch(ids)``, then decode again."""

    def __init__(self, ids: Iterable[int]) -> None:
        self.ids = frozenset(ids)
        super().__init__(f"schema ids not fetched yet: {', '.join(map(str, sorted(self.ids)))}")


class RegistryError(Exception):
    """The schema registry can't be reached or refuses. The message says where and what to do."""
