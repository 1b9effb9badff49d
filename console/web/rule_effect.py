"""What saving a rule does, in words: before it is done, and afterwards."""

from __future__ import annotations

from console.service.effect import Effect
from console.web.layout import notice
from console.web.markup import Html, joined
from console.web.visits import Visit
from console.web.words import Words
from schemas.records import RuleKind

_NUMBERS = ("messages", "customers", "not_agreed", "too_late")


def shown(found: Effect, kind: RuleKind, words: Words, *, asks: bool = False) -> Html:
    """``asks``: it is not saved, because it would send so much."""
    parts = [_counts(words, kind, {name: str(getattr(found, name)) for name in _NUMBERS})]
    if not found.complete:
        parts.append(words("effect.more"))
    if asks:
        parts.append(words("effect.ask"))
    return notice(" ".join(parts), wrong=asks)


def as_query(found: Effect | None, kind: RuleKind) -> dict[str, str]:
    """For the page that says that it is saved."""
    if found is None:
        return {}
    return {"kind": kind.value} | {name: str(getattr(found, name)) for name in _NUMBERS}


def saved(visit: Visit) -> Html:
    """From what stands in the address: nobody else's words."""
    words, given = visit.words, {name: visit.query.get(name, "") for name in _NUMBERS}
    if not all(value.isascii() and value.isdigit() and len(value) < 10 for value in given.values()):
        return notice(words("saved"))
    kind = RuleKind.NOTIFICATION if visit.query.get("kind") == RuleKind.NOTIFICATION else RuleKind.REMINDER
    return notice(joined(words("saved"), " ", _counts(words, kind, given)))


def _counts(words: Words, kind: RuleKind, numbers: dict[str, str]) -> str:
    if kind is RuleKind.NOTIFICATION:
        return words("effect.notification")
    counts = words("effect.counts", **{name: numbers[name] for name in _NUMBERS[:3]})
    return (
        f"{counts} {words('effect.too_late', too_late=numbers['too_late'])}"
        if numbers["too_late"] != "0"
        else counts
    )
