"""A message's life: the states that it may go through, as one table.

The stages make the transitions; the topology tests and every simulated run hold each record of the delivery
log against this table, and ``docs/delivery-states.md`` is drawn from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.records import DeliveryState as State
from streams.domain.reasons import Reason

WAITING = (State.SCHEDULED, State.HELD, State.RETRYING)
AT_PROVIDER = (State.SENDING, State.UNKNOWN)
"""The provider may have it: only its answer moves the message on."""
GONE = (State.SENT, State.UNKNOWN_CLOSED)
"""It went out, or may have: never again under the same delivery id."""
NOT_SENT = (
    State.SUPPRESSED,
    State.CANCELLED,
    State.SUPERSEDED,
    State.STALE,
    State.EXPIRED,
    State.FAILED,
)
RECEIPTS = (State.DELIVERED, State.BOUNCED)


FRESH = (None, *NOT_SENT)
"""A message that is new, or was not sent: it may be planned, or planned anew."""


@dataclass(frozen=True, slots=True)
class Step:
    """From any of ``sources`` (None: the message is new) to any of ``targets``, and when."""

    sources: tuple[State | None, ...]
    targets: tuple[State, ...]
    when: str


STEPS = (
    Step(FRESH, (State.SCHEDULED,), "planned"),
    Step(FRESH, (State.SUPPRESSED, State.CANCELLED, State.SUPERSEDED), "refused at once"),
    Step(WAITING, (State.SCHEDULED,), "its moment moves"),
    Step(WAITING, (State.HELD,), "due, but closed or quiet"),
    Step(WAITING, (State.SENDING,), "due"),
    Step(WAITING, NOT_SENT, "taken back, not allowed, or of no more use"),
    Step((State.SENDING,), (State.SENT,), "accepted"),
    Step((State.SENDING,), (State.RETRYING,), "refused for now"),
    Step((State.SENDING,), (State.UNKNOWN,), "no answer"),
    Step((State.SENDING,), (State.FAILED,), "refused for good"),
    Step(
        (State.SENDING,),
        (State.SUPPRESSED, State.CANCELLED, State.SUPERSEDED),
        "withdrawn before the provider took it",
    ),
    Step((State.SENDING,), (State.EXPIRED,), "its time passed while it waited for its turn"),
    Step((State.UNKNOWN,), (State.SENT,), "found at the provider"),
    Step((State.UNKNOWN,), (State.RETRYING,), "an e-mail, once"),
    Step((State.UNKNOWN,), (State.UNKNOWN_CLOSED,), "nobody can say"),
    Step(GONE, RECEIPTS, "the provider reports"),
    Step(NOT_SENT, RECEIPTS, "the provider reports on the first copy of an e-mail that was to go twice"),
    Step((State.RETRYING,), (State.SENT,), "the provider reports on its first copy"),
    Step((State.BOUNCED,), (State.DELIVERED,), "it arrived after all"),
)

NEXT: Mapping[State | None, frozenset[State]] = {
    state: frozenset(target for step in STEPS if state in step.sources for target in step.targets)
    for state in (None, *State)
}
"""What may come after a state; None: the message is new."""

_TAKEN_BACK = (
    Reason.ENTITY_CLOSED,
    Reason.ENTITY_CANCELLED,
    Reason.ENTITY_DELETED,
    Reason.TIME_REMOVED,
    Reason.CUSTOMER_CHANGED,
)

REASONS: Mapping[State, tuple[Reason, ...]] = {
    State.SCHEDULED: (Reason.ARMED, Reason.MOVED),
    State.HELD: (Reason.CLOSED_HOURS, Reason.QUIET_HOURS),
    State.RETRYING: (
        Reason.THROTTLED,
        Reason.UNREACHABLE,
        Reason.PROVIDER_BUSY,
        Reason.ACCOUNT,
        Reason.NO_SENDER,
        Reason.RESENT,
    ),
    State.SENDING: (Reason.NONE,),
    State.SENT: (Reason.ACCEPTED, Reason.FOUND),
    State.FAILED: (
        Reason.INVALID_RECIPIENT,
        Reason.OPTED_OUT,
        Reason.NO_SENDER,
        Reason.CONTENT,
        Reason.REFUSED,
        Reason.GAVE_UP,
    ),
    State.SUPPRESSED: (
        Reason.TOO_OLD,
        Reason.OUT_OF_ORDER,
        Reason.OUT_OF_RANGE,
        Reason.TOO_LATE,
        Reason.NO_CUSTOMER,
        Reason.UNKNOWN_COMPANY,
        Reason.UNKNOWN_LOCATION,
        Reason.UNKNOWN_STATUS,
        Reason.UNKNOWN_TEMPLATE,
        Reason.NO_OPENING,
        Reason.NO_CONSENT,
        Reason.NO_CUSTOMER_RECORD,
        Reason.NO_ADDRESS,
        Reason.BAD_ADDRESS,
        Reason.SUPPRESSED_ADDRESS,
        Reason.NOT_ALLOWED,
        Reason.OVER_CAP,
        Reason.DUPLICATE_TEXT,
        Reason.TEMPLATE_ERROR,
        Reason.NO_TEXT,
        Reason.OVER_BUDGET,
    ),
    State.CANCELLED: (*_TAKEN_BACK, Reason.RULE_DISABLED, Reason.RULE_DELETED, Reason.RULE_CHANGED),
    State.SUPERSEDED: (Reason.MOVED, Reason.NEWER_HELD),
    State.STALE: (Reason.STATUS_CHANGED,),
    State.EXPIRED: (Reason.LATENESS, Reason.AFTER_SCHEDULED, Reason.QUIET_HOURS),
    State.UNKNOWN: (Reason.NO_ANSWER, Reason.INHERITED),
    State.UNKNOWN_CLOSED: (Reason.NOT_RESENT, *_TAKEN_BACK),
    State.DELIVERED: (Reason.NONE,),
    State.BOUNCED: (Reason.NONE,),
}
"""Why a message may be in a state."""


def allowed(before: State | None, state: State, reason: str) -> bool:
    """May a message that is in ``before`` (None: it is new) come into ``state``, for this reason?"""
    return state in NEXT[before] and reason in REASONS[state]
