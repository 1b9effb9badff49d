"""What comes in: bodies and queries. What a record says of itself (``company``, ``version``, ...) may be
sent back as it was read, and is not looked at."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from console.service.bulk import Action
from console.service.messages import By
from schemas.records import (
    Channel,
    DeliveryState,
    EntityKind,
    Hours,
    Interval,
    RuleKind,
    StatusKind,
    TemplateText,
    Trigger,
    Unit,
)

MOST = 500
"""Items on a page."""

Limit = Annotated[int, Meta(ge=1, le=MOST)]
Text = Annotated[str, Meta(max_length=200)]
Cursor = Annotated[str, Meta(max_length=1000)]
Short = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Long = Annotated[int, Meta(ge=0, le=2**62)]
Millis = Annotated[int, Meta(ge=0, le=253_370_764_799_999)]


class Form(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all: a name that is not known is an error, not a typing mistake that nobody sees."""


class TextForm(TemplateText, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sms: Annotated[str, Meta(max_length=5_000)] = ""
    subject: Annotated[str, Meta(max_length=1_000)] = ""
    body: Annotated[str, Meta(max_length=50_000)] = ""


class TemplateForm(Form, frozen=True, kw_only=True):
    id: Text = ""
    name: Text = ""
    texts: Annotated[dict[Text, TextForm], Meta(max_length=50)]
    company: Any = None
    version: Any = None


class RuleForm(Form, frozen=True, kw_only=True):
    id: Text = ""
    """Empty: one is made."""
    name: Text = ""
    kind: RuleKind
    entity: EntityKind
    trigger: Trigger
    status_id: Text = ""
    offset: Short = 0
    offset_unit: Unit = Unit.HOURS
    delay: Short = 0
    delay_unit: Unit = Unit.MINUTES
    working_hours_only: bool = False
    channel: Channel
    mailbox_id: Text = ""
    template_id: Text = ""
    template: TemplateForm | None = None
    """One that is made with the rule, in the place of ``template_id``."""
    locations: Annotated[tuple[Text, ...], Meta(max_length=2000)] | None = None
    only_if_still: bool = False
    max_lateness: Long | None = None
    enabled: bool = True
    company: Any = None
    version: Any = None
    changed_at: Any = None
    changed_by: Any = None
    occasion: Any = None
    segments: Any = None
    effect: Any = None


class LocationForm(Form, frozen=True, kw_only=True):
    id: Text = ""
    name: Text
    zone: Text
    hours: Hours = Hours()
    address: Text = ""
    phone: Text = ""
    company: Any = None
    version: Any = None


class StatusForm(Form, frozen=True, kw_only=True):
    id: Text = ""
    entity: EntityKind
    names: Annotated[dict[Text, Text], Meta(max_length=50)]
    kind: StatusKind
    company: Any = None
    version: Any = None


class CompanyForm(Form, frozen=True, kw_only=True):
    id: Text = ""
    name: Text
    language: Text
    zone: Text
    hours: Hours = Hours()
    currency: Text = "EUR"
    sms_sender: Text = ""
    email_sender_name: Text = ""
    email_sender_address: Annotated[str, Meta(max_length=254)] = ""
    max_event_age: Long = 24 * 3600 * 1000
    quiet_hours: Annotated[tuple[Interval, ...], Meta(max_length=50)] = ()
    customer_daily_cap: Short = 0
    duplicate_window: Long = 0
    messages_per_minute: Short = 0
    segment_budget: Short = 0
    smart_encoding: bool = True
    sms_help: Text = ""
    version: Any = None


class MailboxForm(Form, frozen=True, kw_only=True):
    """Who may choose it, and whether it is still used; it is connected elsewhere."""

    id: Text = ""
    users: Annotated[tuple[Text, ...], Meta(max_length=1000)]
    connected: bool
    address: Any = None
    provider: Any = None
    company: Any = None
    version: Any = None


class SuppressionForm(Form, frozen=True, kw_only=True):
    channel: Channel
    address: Annotated[str, Meta(max_length=254)]


class BulkItem(Form, frozen=True, kw_only=True):
    id: Text
    version: Long | None = None
    """The one that was read; left out: whichever."""


class BulkForm(Form, frozen=True, kw_only=True):
    action: Action
    items: Annotated[tuple[BulkItem, ...], Meta(max_length=1_000)]
    template_id: Text = ""
    channel: Channel | None = None
    mailbox_id: Text = ""
    locations: Annotated[tuple[Text, ...], Meta(max_length=500)] = ()
    dry_run: bool = False
    """Says what would be done, and does nothing."""


class TrialForm(Form, frozen=True, kw_only=True):
    """``text``: as of a template, saved or not."""

    channel: Channel
    entity: EntityKind = EntityKind.ORDER
    language: Text
    text: TextForm
    mailbox_id: Text = ""


class LoginForm(Form, frozen=True, kw_only=True):
    user: Text
    password: Annotated[str, Meta(max_length=1000)]


# --- queries


class Page(Form, frozen=True, kw_only=True):
    limit: Limit = 100
    cursor: Cursor = ""
    """``next`` of the page before."""


class RuleQuery(Page, frozen=True, kw_only=True):
    entity: EntityKind | None = None
    kind: RuleKind | None = None
    channel: Channel | None = None
    enabled: bool | None = None
    template_id: Text = ""
    location_id: Text | None = None
    """Rules that cover it, also those for all locations."""
    q: Text = ""
    """Part of the id or the name."""


class SaveQuery(Form, frozen=True, kw_only=True):
    confirm: Long = 0
    """So many messages may be armed without asking again."""


class NameQuery(Page, frozen=True, kw_only=True):
    q: Text = ""


class SuppressionQuery(Page, frozen=True, kw_only=True):
    channel: Channel | None = None


class DeliveryQuery(Page, frozen=True, kw_only=True):
    kind: EntityKind | None = None
    entity_id: Text = ""
    customer_id: Text = ""
    rule_id: Text = ""
    location_id: Text | None = None
    state: DeliveryState | None = None
    since: Millis | None = None
    until: Millis | None = None


class PendingQuery(Page, frozen=True, kw_only=True):
    day: date | None = None
    """On the clocks of ``location_id``, else of the company."""
    location_id: Text | None = None
    rule_id: Text = ""


class CountQuery(Form, frozen=True, kw_only=True):
    by: By = By.DAY
    location_id: Text | None = None
    rule_id: Text = ""


class TrafficQuery(Form, frozen=True, kw_only=True):
    days: Annotated[int, Meta(ge=1, le=60)] = 14
    """With today."""


class AuditQuery(Page, frozen=True, kw_only=True):
    user: Text = ""
    kind: Text = ""
    record_id: Text = ""


class NoQuery(Form, frozen=True, kw_only=True):
    pass
