"""What goes out."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from console.api.problems import FieldError
from console.service.bulk import Result
from console.service.effect import Effect
from schemas.records import Channel, Role, Rule

T = TypeVar("T")


class Paged(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    items: tuple[T, ...]
    next: str | None
    """Cursor of the next page; null: this is the last."""


class Segments(msgspec.Struct, frozen=True, kw_only=True):
    """What one SMS costs by sample data: least and most over the template's languages."""

    least: int
    most: int


class RuleView(Rule, frozen=True, kw_only=True):
    occasion: str
    """In words."""
    segments: Segments | None
    """Null: not an SMS, or the template does not work."""


class SavedRuleView(RuleView, frozen=True, kw_only=True):
    effect: Effect | None
    """What saving it did, counted just before; null: it was so already."""


class CompanyBrief(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    role: Role
    """Of whoever asks."""


class MailboxView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    company: str
    address: str
    provider: str
    users: tuple[str, ...]
    connected: bool
    version: int


class SuppressionView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    """By which it can be lifted; says nothing about the address."""
    channel: Channel
    address: str
    """For administrators in clear, for others with most of it hidden."""
    reason: str
    since: int


class BulkResult(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    result: Result
    location_id: str
    new_id: str
    version: int | None
    errors: tuple[FieldError, ...]


class BulkView(msgspec.Struct, frozen=True, kw_only=True):
    dry_run: bool
    done: int
    """How many were (or would be) done."""
    results: tuple[BulkResult, ...]


class TrialView(msgspec.Struct, frozen=True, kw_only=True):
    accepted: bool
    """By the provider."""
    address: str
    """One's own."""
    provider: str
    reason: str
    """Why not; empty where it was accepted."""
    detail: str
    """What the provider said, or that it left by another address than was asked for."""


class SessionView(msgspec.Struct, frozen=True, kw_only=True):
    user: str
    name: str
    roles: dict[str, Role]
    csrf_token: str
    """To be sent as X-CSRF-Token with every request that changes something; empty for bearer tokens."""
