"""Tables of a description (TOML) that somebody wrote by hand: what is wrong is said by its key."""

from __future__ import annotations

from typing import Any


class DescriptionError(ValueError):
    """The description can't be used. The message names the key and what is expected."""


class Table:
    """One table of the file; remembers what was asked for, so that a misspelt key is found."""

    def __init__(self, path: str, given: object) -> None:
        if not isinstance(given, dict):
            raise DescriptionError(f"{path}: expected a table")
        self._path = path
        self.given: dict[str, Any] = given
        self._known: set[str] = set()

    def table(self, name: str) -> Table:
        return Table(self._at(name), self.raw(name))

    def raw(self, name: str) -> dict[str, Any]:
        self._known.add(name)
        found = self.given.get(name, {})
        if not isinstance(found, dict):
            raise DescriptionError(f"{self._at(name)}: expected a table")
        return found

    def text(self, name: str, default: str | None = None) -> str:
        self._known.add(name)
        found = self.given.get(name, default)
        if not isinstance(found, str) or (default is None and not found):
            raise DescriptionError(f"{self._at(name)}: {'needed' if found is None else 'expected a text'}")
        return found

    def number(self, name: str, default: float) -> float:
        self._known.add(name)
        found = self.given.get(name, default)
        if isinstance(found, bool) or not isinstance(found, int | float) or found < 0:
            raise DescriptionError(f"{self._at(name)}: expected a number of 0 or more")
        return found

    def nothing_else(self) -> None:
        for name in self.given.keys() - self._known:
            raise DescriptionError(
                f"{self._at(name)}: there is no such key ({', '.join(sorted(self._known))})"
            )

    def _at(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name
