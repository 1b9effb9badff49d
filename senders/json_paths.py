"""Fields of what a provider answers or posts, by path: names and list positions, full stops between them."""

from __future__ import annotations

import json


def parsed(text: str) -> object:
    """None for what is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def at(value: object, path: str) -> object:
    for name in path.split("."):
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value


def text_at(value: object, path: str) -> str:
    """Empty for what is not there, or is neither text nor number."""
    found = at(value, path) if path else None
    return str(found) if isinstance(found, str | int) and not isinstance(found, bool) else ""
