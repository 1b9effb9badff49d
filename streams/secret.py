"""A value that must not show in a repr, a log line, a traceback's locals or a pickle."""

from __future__ import annotations

from typing import NoReturn


class Secret:
    """Holds a password or a token; only :meth:`reveal` gives it out, where it is handed to a library."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled: hand over where to find it instead")
