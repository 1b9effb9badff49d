"""What a worker asks of a value before it looks into it."""

from __future__ import annotations

from schemas.errors import DecodeError
from streams.kafka.topics import MAX_VALUE


def too_large(value: bytes | None) -> DecodeError | None:
    """Refuses a value that would not fit into our own topics with the fields around it."""
    size = len(value or b"")
    if size <= MAX_VALUE:
        return None
    return DecodeError("contract", f"the value has {size} bytes, at most {MAX_VALUE} are taken")


def wrong_form(format: str, value: bytes | None) -> DecodeError | None:
    """Refuses a value of another form than the topic's setting says (``avro`` or ``json``; any other allows
    both: Debezium writes either)."""
    if format not in ("avro", "json") or value is None or (value[:1] == b"{") == (format == "json"):
        return None
    return DecodeError("undecodable", f"the setting of this topic asks for {format}")
