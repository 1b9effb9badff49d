"""What goes to a provider and what may come back: the words between delivery stage and senders."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SmsMessage:
    """A rendered SMS.

    ``to`` is E.164; ``sender`` is an E.164 number, an alphanumeric sender or a messaging-service id;
    ``segments`` is our own count; ``valid_for`` is in seconds: after that the text helps nobody.
    """

    delivery_id: str
    company: str
    to: str = field(repr=False)
    sender: str
    text: str = field(repr=False)
    segments: int
    valid_for: int


@dataclass(frozen=True, slots=True)
class EmailMessage:
    """A rendered e-mail. ``message_id`` is derived from the delivery id, so that a repeat is recognised.

    ``mailbox_id`` names the connected mailbox that it leaves by; empty: the service's own address.
    """

    delivery_id: str
    company: str
    to_address: str = field(repr=False)
    to_name: str = field(repr=False)
    from_address: str
    from_name: str
    subject: str = field(repr=False)
    text: str = field(repr=False)
    html: str = field(repr=False)
    message_id: str
    mailbox_id: str = ""


Message = SmsMessage | EmailMessage


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider has taken responsibility for the message."""

    provider: str
    provider_id: str
    segments: int | None = None
    price: str = ""
    currency: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The provider will never take this message. ``reason`` is one of the documented reason codes;
    ``suppress`` says that the address itself is permanently bad or opted out."""

    provider: str
    reason: str
    detail: str = ""
    suppress: bool = False


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Known not to have been accepted. ``after`` is the provider's own wish in milliseconds (0: none);
    the stage adds backoff and jitter. ``pause_channel``: nothing will pass now (account, throttle)."""

    provider: str
    reason: str
    detail: str = ""
    after: int = 0
    pause_channel: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """The provider may or may not have accepted: time-out, connection lost after the last byte, 5xx."""

    provider: str
    reason: str
    detail: str = ""


Outcome = Accepted | Rejected | RetryAt | Unknown


@dataclass(frozen=True, slots=True)
class NotFound:
    """Asked about an unknown message, the provider shows none (it may still come: eventual listing)."""

    provider: str


Inquiry = Accepted | NotFound | Unknown
"""The answer to "did you accept this message?". ``Unknown``: it can't be asked, or did not answer."""
