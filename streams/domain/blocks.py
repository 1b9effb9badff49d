"""Why an address must not be written to, where several causes meet: each is lifted by whoever made it.

A suppression's ``reason`` is one cause, or several joined by ``+`` (``bounce+stop``). Its topic has one
record for an address, so a newer cause must not make an older one forgotten.
"""

from __future__ import annotations

from typing import Final

LIFTED_BY_START: Final = frozenset({"stop", "unsubscribe", "opted_out"})
"""What customers did themselves; ``opted_out`` is the provider's word that they did. START takes that back,
and neither a block that staff have set nor a number that is bad for good."""

_JOIN = "+"


def is_lasting(reason: str) -> bool:
    """Whether something of it outlasts a START."""
    return not LIFTED_BY_START.issuperset(reason.split(_JOIN))


def with_cause(reason: str, cause: str) -> str:
    """The reason of an address that is blocked for ``reason`` (empty: it is not), now for ``cause`` too."""
    causes = [one for one in reason.split(_JOIN) if one]
    return _JOIN.join(causes if cause in causes else [*causes, cause])


def after_start(reason: str) -> str:
    """What is left of it; empty: the address is free."""
    return _JOIN.join(one for one in reason.split(_JOIN) if one and one not in LIFTED_BY_START)
