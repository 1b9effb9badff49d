"""What customers, their mail servers and the providers do in the story, besides what the shop does. Data;
``console.demo.outside`` does it."""

from __future__ import annotations

from dataclasses import dataclass

from console.demo.cast import Person


@dataclass(frozen=True, slots=True)
class TextBack:
    """The customer answers to the shop's number."""

    person: Person
    words: str


@dataclass(frozen=True, slots=True)
class OneClick:
    """The customer's mail program posts what the newest e-mail's List-Unsubscribe names (RFC 8058)."""

    person: Person


@dataclass(frozen=True, slots=True)
class ReportBounce:
    """A mail server returns the newest e-mail to the customer: there is no such user. The report reaches the
    mail pipe."""

    person: Person


@dataclass(frozen=True, slots=True)
class SmsDown:
    """The SMS provider's server is gone: connections are refused."""


@dataclass(frozen=True, slots=True)
class SmsUp:
    """It is there again, and knows what it had accepted."""


@dataclass(frozen=True, slots=True)
class GmailTakesAndHangsUp:
    """Gmail accepts the next message, and the line is cut before it can say so."""


@dataclass(frozen=True, slots=True)
class RevokeMailbox:
    """The owner of the connected mailbox takes the access back."""


Act = TextBack | OneClick | ReportBounce | SmsDown | SmsUp | GmailTakesAndHangsUp | RevokeMailbox
