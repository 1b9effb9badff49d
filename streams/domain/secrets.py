"""How a record says where a secret is. The secret itself is in no record."""

from __future__ import annotations

import re

_LOCAL = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:.+", re.ASCII)
_VAULT = re.compile(r"vault:([\w-]+)/([\w-][\w.-]*(?:/[\w-][\w.-]*)*)(?:#([\w.-]+))?", re.ASCII)
"""No part of a path begins with a full stop, so none leads upwards."""

EXPECTED = "env:NAME, file:PATH or vault:MOUNT/PATH#FIELD"


def is_reference(text: str) -> bool:
    """Does it say where a secret is, in a way that there is?"""
    return bool(_LOCAL.fullmatch(text) or _VAULT.fullmatch(text))


def vault_place(text: str) -> tuple[str, str, str] | None:
    """The mount, the path and the field (empty: the whole secret) in a secret store; None: it is in none."""
    match = _VAULT.fullmatch(text)
    return (match[1], match[2], match[3] or "") if match is not None else None
