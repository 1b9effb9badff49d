"""Which of the languages that there are texts for is the one for a person."""

from __future__ import annotations

from collections.abc import Collection, Iterable


def best_language(wanted: Iterable[str], available: Collection[str]) -> str:
    """The first of ``wanted`` for which there is a text: exactly, then in its base language (``pt`` for
    ``pt-BR``), then in a variant of that (``pt-BR`` for ``pt-PT``); else the first available, sorted.

    Language tags (BCP 47) are compared without case, ``_`` is read as ``-``. ``available`` is not empty.
    """
    known: dict[str, str] | None = None
    for language in wanted:
        if language in available:
            return language
        if not language:
            continue
        if known is None:
            known = {_folded(tag): tag for tag in sorted(available, reverse=True)}
        tag = _folded(language)
        base = tag.partition("-")[0]
        variants = sorted(name for name in known if name.startswith(f"{base}-"))
        for name in (tag, base, *variants):
            if name in known:
                return known[name]
    return min(available)


def _folded(tag: str) -> str:
    return tag.replace("_", "-").lower()
