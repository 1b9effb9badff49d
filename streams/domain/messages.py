"""What goes to a provider and what may come back: the words between delivery stage and senders."""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.records import Mailbox


@dataclass(frozen=True, slots=True)
class SmsMessage:
    """A rendered SMS.

    ``to`` is E.164; ``sender`` is an E.164 number, an alphanumeric sender or a messaging-service id;
    ``segments`` is our own count; ``valid_until`` is in milliseconds: after that the text helps nobody.
    ``status_url`` (empty: none) is where the provider posts what becomes of it.
    """

    delivery_id: str
    company: str
    to: str = field(repr=False)
    sender: str
    text: str = field(repr=False)
    segments: int
    valid_until: int
    status_url: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class EmailMessage:
    """A rendered e-mail. ``message_id`` is derived from the delivery id, so that a repeat is recognised,
    by whichever way it leaves.

    ``mailbox``: the connected mailbox that it is to leave by; None: the service's own address, which is
    ``from_address``. A sender that can't use the mailbox now falls back to that address, if there is one, and
    says so. ``unsubscribe_url`` (https, empty: none) is where RFC 8058's one click goes. ``valid_for`` is in
    seconds, after that the message helps nobody (0: not known).
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
    mailbox: Mailbox | None = None
    unsubscribe_url: str = field(default="", repr=False)
    valid_for: int = 0

    @property
    def sender(self) -> str:
        """The address that it is meant to leave by."""
        return self.from_address if self.mailbox is None else self.mailbox.address


Message = SmsMessage | EmailMessage


def service_address_note(mailbox_id: str, why: str) -> str:
    """What the delivery log says of an e-mail that did not leave by the mailbox that its rule names."""
    return f"sent from the service's address, not from mailbox {mailbox_id}: {why}"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider has taken responsibility for the message."""

    provider: str
    provider_id: str
    segments: int | None = None
    price: str = ""
    currency: str = ""
    sender: str = ""
    """The address that it really left by, where that is not the message's ``sender``."""
    note: str = ""
    """Why, in words for the delivery log."""


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
    the stage adds backoff and jitter. ``pause_channel``: nothing will pass now (account, throttle).
    ``elsewhere``: this account is not called any more, and another one may take the message at once.
    ``called`` False: nobody has refused it, it waits for its turn or for a sender."""

    provider: str
    reason: str
    detail: str = ""
    after: int = 0
    pause_channel: bool = False
    elsewhere: bool = False
    called: bool = True


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
