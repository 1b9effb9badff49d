"""Why something was not done. Each says what a person can do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from streams.domain.problems import Problem

if TYPE_CHECKING:
    from console.service.effect import Effect


class ServiceError(Exception):
    """Base of those below."""


class NotThereError(ServiceError):
    """There is no such thing, or it is not for the eyes of whoever asks: they can't tell which."""


class NotAllowedError(ServiceError):
    """The role does not reach."""


class RefusedError(ServiceError):
    """What was given is wrong, field by field."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, problems)))


class ChangedError(ServiceError):
    """Somebody else has changed it since it was read. ``version``: what it has now; None: it is gone."""

    def __init__(self, version: int | None) -> None:
        self.version = version
        super().__init__("it has been changed since it was read")


class InUseError(ServiceError):
    """Others refer to it, or it is there already."""


class UnconfirmedError(ServiceError):
    """It would send so many messages that whoever asks has to say yes to their number first."""

    def __init__(self, effect: Effect) -> None:
        self.effect = effect
        known = "" if effect.complete else "at least "
        super().__init__(
            f"it arms {known}{effect.messages} messages to {effect.customers} customers, of whom "
            f"{effect.not_agreed} have not agreed; with confirm={effect.messages} it is saved"
        )


class TooManyError(ServiceError):
    """``seconds`` until one more may be asked for."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        super().__init__(f"too many in a short time; try again in {seconds} s")


class NotWrittenError(ServiceError):
    """The brokers did not acknowledge it, or it was not read back in time. The same may be tried again."""

    def __init__(self, detail: str, *, fatal: bool = False) -> None:
        self.fatal = fatal
        super().__init__(detail)
