"""Unsigned tokens (RFC 7515, appendix A.5), which Kafka's validator for development takes."""

from __future__ import annotations

import base64
import json


def unsigned(subject: str, ends: float, issued: float = 0.0) -> str:
    """``ends`` and ``issued`` in seconds of Unix time."""
    return f"{_part({'alg': 'none'})}.{_part({'sub': subject, 'iat': issued, 'exp': ends})}."


def _part(content: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
