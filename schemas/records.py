"""The records that travel and rest: one frozen struct for each contract in ``schemas/avro``.

Field names and meanings are those of the ``.avsc`` files (which say more); a test holds the two
against each other. Times are integers, milliseconds since 1970-01-01T00:00Z, never local. An id is
a non-empty string of at most 200 characters without control characters. Internal contracts
(timers) use ``""`` and ``-1`` for "none" because a nullable union doubles a field's cost in Avro.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of all records: immutable, compared by value, built by keyword."""

    _private: ClassVar[frozenset[str]] = frozenset()
    """Fields that no repr shows: what would tell in a log line who somebody is, or how to reach them."""

    def __repr__(self) -> str:
        shown = (
            f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name not in self._private
        )
        return f"{type(self).__name__}({', '.join(shown)})"


class EntityKind(StrEnum):
    ORDER = "order"
    LEAD = "lead"
    APPOINTMENT = "appointment"


class Operation(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    READ = "read"
    """A row of a snapshot: arms reminders, never triggers a notification."""


class StatusKind(StrEnum):
    OPEN = "open"
    CLOSED = "closed"
    CANCELLED = "cancelled"


class RuleKind(StrEnum):
    NOTIFICATION = "notification"
    REMINDER = "reminder"


class Trigger(StrEnum):
    CREATED = "created"
    STATUS_CHANGED = "status_changed"
    STATUS_CHANGED_TO = "status_changed_to"
    TIME_CHANGED = "time_changed"
    BEFORE_TIME = "before_time"
    """The only trigger of a reminder."""


class Unit(StrEnum):
    MINUTES = "minutes"
    HOURS = "hours"
    DAYS = "days"


class Channel(StrEnum):
    SMS = "sms"
    EMAIL = "email"


# --- changes of entities (topics orders, leads, appointments) ---------------------------------


class Facts(Record, frozen=True, kw_only=True):
    """What rules look at. Small, and first in the record, so that matching decodes nothing else."""

    status_id: str
    customer_id: str = ""
    location_id: str = ""
    scheduled_at: int | None = None


class Details(Record, frozen=True, kw_only=True):
    """What only a template needs."""

    number: str = ""
    title: str = ""
    amount_minor: int | None = None
    """In the currency's minor unit (cents)."""
    currency: str = ""
    url: str = ""
    attributes: dict[str, str] = {}


class Change(Record, frozen=True, kw_only=True):
    """One change of an order, a lead or an appointment. Keyed by ``company/entity_id``."""

    company: str
    entity_id: str
    operation: Operation
    event_id: str
    version: int
    occurred_at: int
    before: Facts | None = None
    after: Facts | None = None
    details: Details | None = None


# --- customers -------------------------------------------------------------------------------


class Customer(Record, frozen=True, kw_only=True):
    """A customer and what they agreed to (topic customer-consents). Keyed by ``company/customer_id``."""

    _private = frozenset({"name", "phone", "email"})

    company: str
    customer_id: str
    name: str = ""
    phone: str = ""
    email: str = ""
    language: str = ""
    sms_consent: bool = False
    email_consent: bool = False
    version: int


# --- reference data: compacted topics, keyed by ``company/id`` ---------------------------------


class Interval(Record, frozen=True, kw_only=True):
    """Opening hours within one week day, minutes after local midnight; ``closes <= opens`` runs over
    midnight into the next day (``closes == opens`` is 24 hours)."""

    opens: int
    closes: int


class Hours(Record, frozen=True, kw_only=True):
    """Working hours: seven lists, Monday first, and the local dates (ISO 8601) that are closed. An
    interval over midnight belongs to the day on which it opens, so a closed date closes it whole."""

    weekdays: tuple[tuple[Interval, ...], ...] = ((), (), (), (), (), (), ())
    closed_dates: tuple[str, ...] = ()


class Rule(Record, frozen=True, kw_only=True):
    id: str
    company: str
    name: str = ""
    kind: RuleKind
    entity: EntityKind
    trigger: Trigger
    status_id: str = ""
    offset: int = 0
    offset_unit: Unit = Unit.HOURS
    delay: int = 0
    delay_unit: Unit = Unit.MINUTES
    working_hours_only: bool = False
    channel: Channel
    mailbox_id: str = ""
    template_id: str
    locations: tuple[str, ...] | None = None
    """None: all locations, and entities without one."""
    only_if_still: bool = False
    max_lateness: int | None = None
    """Milliseconds; None: until the scheduled time (reminders) or 24 hours (notifications)."""
    enabled: bool = True
    version: int
    changed_at: int = 0
    changed_by: str = ""


class TemplateText(Record, frozen=True, kw_only=True):
    sms: str = ""
    subject: str = ""
    body: str = ""


class Template(Record, frozen=True, kw_only=True):
    id: str
    company: str
    name: str = ""
    texts: dict[str, TemplateText]
    """By language tag (``en``, ``pt-BR``)."""
    version: int


class Status(Record, frozen=True, kw_only=True):
    id: str
    company: str
    entity: EntityKind
    names: dict[str, str]
    kind: StatusKind
    version: int


class Location(Record, frozen=True, kw_only=True):
    id: str
    company: str
    name: str
    zone: str
    """IANA name."""
    hours: Hours = Hours()
    address: str = ""
    phone: str = ""
    version: int


class Company(Record, frozen=True, kw_only=True):
    id: str
    name: str
    language: str
    zone: str
    hours: Hours = Hours()
    currency: str = "EUR"
    sms_sender: str = ""
    """E.164 number, alphanumeric sender or messaging-service id."""
    email_sender_name: str = ""
    email_sender_address: str = ""
    max_event_age: int = 24 * 3600 * 1000
    quiet_hours: tuple[Interval, ...] = ()
    """Daily local intervals in which nothing goes out."""
    customer_daily_cap: int = 0
    """Messages to one customer in one local day; 0: no cap."""
    duplicate_window: int = 0
    """Milliseconds in which the same text to the same address goes once; 0: off."""
    messages_per_minute: int = 0
    """At most, on each channel; 0: as many as the providers take."""
    segment_budget: int = 0
    """Most SMS segments that one message may have; 0: no limit."""
    smart_encoding: bool = True
    """Typographic characters of an SMS are written plainly where that makes it GSM-7."""
    sms_help: str = ""
    """What is answered to HELP; empty: a sentence of ours in the company's language."""
    version: int


class Mailbox(Record, frozen=True, kw_only=True):
    id: str
    company: str
    address: str
    provider: str = "gmail"
    secret_ref: str = ""
    """Where the secret is (``env:NAME``, ``file:PATH``, ``vault:MOUNT/PATH#FIELD``), never the secret."""
    users: tuple[str, ...] = ()
    connected: bool = True
    version: int


class Suppression(Record, frozen=True, kw_only=True):
    """An address that must not be written to. Keyed by ``company/channel/address``."""

    _private = frozenset({"address"})

    company: str
    channel: Channel
    address: str
    """Normalised: E.164, or the e-mail address in lower case."""
    reason: str
    since: int
    version: int


# --- timers (topic timers, keyed by ``company/customer``) ---------------------------------------


class TimerOp(StrEnum):
    ARM = "arm"
    CLEAR = "clear"
    FACTS = "facts"


class ClearScope(StrEnum):
    NONE = ""
    REMINDERS = "reminders"
    """The scheduled time was taken away."""
    SCHEDULED = "scheduled"
    """Reminders and pending "time changed" messages: the entity was closed or cancelled."""
    ALL = "all"
    """Everything pending: deleted, or the customer changed."""


class Timer(Record, frozen=True, kw_only=True):
    """A command to the sender agent that owns the customer's partition."""

    _private = frozenset({"change"})

    op: TimerOp
    company: str
    kind: EntityKind
    entity_id: str
    customer_id: str
    entity_version: int
    rule_id: str = ""
    rule_version: int = -1
    anchor: str = ""
    """The event id (notification) or the scheduled time in decimal milliseconds (reminder)."""
    event_id: str = ""
    occurred_at: int = -1
    status_id: str = ""
    """arm: the status that the change led to (for ``only_if_still`` and held "changed to X")."""
    scope: ClearScope = ClearScope.NONE
    reason: str = ""
    """clear: the reason code that the cleared messages are logged with; facts: ``location_changed`` asks to
    look again at all that is pending; arm: ``out_of_order`` asks to say that it is not sent, unless this very
    event was told of before."""
    change: bytes = b""
    """The change's raw bytes (Confluent wire format, or JSON beginning with ``{``). Empty in an arm that
    follows another command of the same entity and version, which carried them."""


# --- delivery log (topic delivery-log, keyed by ``company/kind/entity_id``) ------------------------


class DeliveryState(StrEnum):
    SCHEDULED = "scheduled"
    HELD = "held"
    RETRYING = "retrying"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    SUPPRESSED = "suppressed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    STALE = "stale"
    EXPIRED = "expired"
    UNKNOWN = "unknown"
    UNKNOWN_CLOSED = "unknown_closed"
    DELIVERED = "delivered"
    BOUNCED = "bounced"


FINAL_STATES = frozenset(
    {
        DeliveryState.SENT,
        DeliveryState.FAILED,
        DeliveryState.SUPPRESSED,
        DeliveryState.CANCELLED,
        DeliveryState.SUPERSEDED,
        DeliveryState.STALE,
        DeliveryState.EXPIRED,
        DeliveryState.UNKNOWN_CLOSED,
    }
)


class Delivery(Record, frozen=True, kw_only=True):
    """One transition of one delivery. ``(delivery_id, transition)`` is unique: readers drop repeats."""

    delivery_id: str
    """32 hexadecimal digits."""
    transition: int
    state: DeliveryState
    reason: str = ""
    company: str
    kind: EntityKind
    entity_id: str
    entity_version: int
    rule_id: str
    rule_version: int
    customer_id: str
    channel: str = ""
    anchor: str = ""
    location_id: str = ""
    at: int
    """When the transition happened."""
    due_at: int | None = None
    next_at: int | None = None
    """When it will be looked at again (held, retrying, scheduled)."""
    attempt: int = 0
    provider: str = ""
    provider_id: str = ""
    sender: str = ""
    """The identity it went out under, and, where a mailbox was disconnected, that of the service."""
    segments: int | None = None
    price: str = ""
    currency: str = ""
    address_masked: str = ""
    address_hash: str = ""
    note: str = ""


class EventKind(StrEnum):
    RECEIPT = "receipt"
    BOUNCE = "bounce"
    TEXT = "text"
    """A text that somebody sent to one of our numbers."""
    UNSUBSCRIBE = "unsubscribe"


class EventStatus(StrEnum):
    # receipts, in the order of a message's way
    QUEUED = "queued"
    SENT = "sent"
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    FAILED = "failed"
    # bounces
    HARD = "hard"
    """The address does not exist: nothing more goes there."""
    SOFT = "soft"
    # texts
    STOP = "stop"
    START = "start"
    HELP = "help"
    OTHER = "other"
    # ways to unsubscribe
    ONE_CLICK = "one_click"
    PAGE = "page"


class ProviderEvent(Record, frozen=True, kw_only=True):
    """What came back of a message, or from somebody who got one (topic provider-events). Keyed by
    ``company/customer`` where the customer is known, else by ``company/channel/address``."""

    _private = frozenset({"address"})

    event: EventKind
    status: EventStatus
    event_id: str
    """The same for every repeat."""
    company: str
    channel: Channel
    kind: str = ""
    """With the next five: the message's slot and delivery, where they are known."""
    entity_id: str = ""
    customer_id: str = ""
    rule_id: str = ""
    slot_event_id: str = ""
    """The event that the message tells of; empty for a reminder."""
    delivery_id: str = ""
    provider: str = ""
    provider_id: str = ""
    code: str = ""
    """The provider's own code, or the status of RFC 3463."""
    segments: int | None = None
    price: str = ""
    currency: str = ""
    address: str = ""
    """Of the sender of a text, or that is written to no more; normalised."""
    happened_at: int
    received_at: int


# --- the console: who may do what, and who did ------------------------------------------------------


class Role(StrEnum):
    """Each may do what the one before may."""

    VIEWER = "viewer"
    EDITOR = "editor"
    ADMIN = "admin"


class Token(Record, frozen=True, kw_only=True):
    """A bearer token of a user; it may do what the user may."""

    _private = frozenset({"hash"})

    id: str
    name: str = ""
    """What it is used for."""
    hash: str
    """SHA-256 of the token, in hexadecimal."""
    created_at: int
    expires_at: int | None = None


class User(Record, frozen=True, kw_only=True):
    """Who may use the console (topic users). Keyed by the id alone: a person may work for several
    companies."""

    _private = frozenset({"password", "phone"})

    id: str
    """What they log in with, and what mailboxes name them by: normally their e-mail address."""
    name: str = ""
    phone: str = ""
    """E.164; where test messages go that they send themselves. Empty: nowhere."""
    password: str = ""
    """``scrypt$n$r$p$salt$hash``; empty: no log-in by password."""
    roles: dict[str, Role] = {}
    """By company; ``*`` is all companies."""
    tokens: tuple[Token, ...] = ()
    enabled: bool = True
    version: int
    changed_at: int = 0
    changed_by: str = ""


class AuditWhat(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


class AuditField(Record, frozen=True, kw_only=True):
    """One field that was changed, in the words of a shop file; None: it was, or is, not there."""

    field: str
    old: str | None = None
    new: str | None = None


class AuditEntry(Record, frozen=True, kw_only=True):
    """Who changed what (topic audit). Keyed by the company."""

    id: str
    """32 hexadecimal digits; the same for every repeat."""
    company: str
    at: int
    user: str = ""
    """Empty: nobody in particular (``carillon apply`` without ``--as``)."""
    way: str
    """``api``, ``page`` or ``cli``."""
    kind: str
    """``rule``, ``template``, ``location``, ..."""
    record_id: str
    what: AuditWhat
    version: int = 0
    """Of the record, afterwards."""
    fields: tuple[AuditField, ...] = ()


class DeadLetter(Record, frozen=True, kw_only=True):
    """A record that could not be worked on, with why. Keyed like the original."""

    _private = frozenset({"key", "value"})

    topic: str
    partition: int
    offset: int
    timestamp: int
    error: str
    """A code from the documented list."""
    detail: str
    key: bytes
    value: bytes
    at: int
