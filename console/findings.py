"""What may not add up between what was planned, what was said of it, and what the provider has."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Finding(StrEnum):
    """Each kind with what it means and what to do, in the words of an SRE's night."""

    means: str
    do: str

    def __new__(cls, code: str, means: str, do: str) -> Finding:
        member = str.__new__(cls, code)
        member._value_ = code
        member.means, member.do = means, do
        return member

    LOST = (
        "lost",
        "It was planned, has come to no end, and waits in no worker's store: it will not go by itself.",
        "Decide whether the customer still needs it, and tell them. This must not happen: keep what carillon "
        "feed shows of the entity, and report it.",
    )
    UNHEARD = (
        "unheard",
        "A command to plan it was read by a sender agent, and nothing came of it.",
        "See carillon dead-letters list --topic timers. Was timers-changelog deleted, or its settings "
        "changed (carillon topics check)? Else as for lost.",
    )
    UNREAD = (
        "unread",
        "Commands lie in a partition of timers and no worker works on them: what they plan can't go.",
        "Start workers, or see why they stand still: /health, and carillon_lag_records of /metrics.",
    )
    OVERDUE = (
        "overdue",
        "It waits in the store although its next look was due: it will go as soon as it can and may.",
        "See whether workers run and may send (/status: ready, sending_stopped, queued), and the provider.",
    )
    UNWRITTEN = (
        "unwritten",
        "Its end is known to its worker, and the delivery log does not have it.",
        "A worker writes it when it takes over the partition. If they all run and it stays: report it.",
    )
    WITHOUT_PLANNING = (
        "without_planning",
        "The log has what became of it, and not that it was planned.",
        "Was delivery-log shortened by retention, or written to by somebody else? Else report it.",
    )
    MISSING_STEP = (
        "missing_step",
        "Between two of its states in the log at least one is missing.",
        "The message itself may be fine: look at it with carillon feed. Was delivery-log written to or "
        "shortened by somebody else? Else report it.",
    )
    TWO_FINALS = (
        "two_finals",
        "It came to an end, and then to another one, or went on.",
        "Ask the provider's console whether the customer got it twice. Report it.",
    )
    TWO_STORIES = (
        "two_stories",
        "Two records of the log have the same number and say different things: two workers worked on it.",
        "Ask the provider's console whether the customer got it twice. Look for a worker that slept or lost "
        "the brokers about that time, and report it.",
    )
    MISSING_AT_PROVIDER = (
        "missing_at_provider",
        "The log says sent, and the provider has no message of that id.",
        "Is CARILLON_SMS_ACCOUNT the account that the workers send by? Has somebody deleted it there? Else "
        "the customer has nothing: tell them.",
    )
    ACCEPTED_TWICE = (
        "accepted_twice",
        "The provider has the same text to the same number twice, and the log has sent it once.",
        "The customer got a second copy. Look for time-outs of the provider about that time, and report it.",
    )
    SHARED = (
        "shared",
        "Two messages of the log name the same message of the provider: one of them never went out.",
        "They have the same text and recipient, and one was taken for the other when the provider was asked. "
        "Tell the customer if both were needed.",
    )
    CLOSED_BUT_ACCEPTED = (
        "closed_but_accepted",
        "The log has given it up because nobody could say (unknown_closed); the provider has it.",
        "The customer got it, nothing need be sent. Many of these: the provider's list lags more than usual.",
    )
    NOT_SENT_BUT_ACCEPTED = (
        "not_sent_but_accepted",
        "The provider has it, and the log says that it was not sent.",
        "The customer got it. Compare the provider's answer of that time (note in carillon feed); report it.",
    )
    STRANGER = (
        "stranger",
        "The provider has sent it from a sender of ours, and the log knows nothing of it.",
        "Does something else send by this account and number? Has the token got out? If neither: report it.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One thing that does not add up. Empty: not known, or of no meaning for this kind."""

    kind: Finding
    company: str = ""
    entity: str = ""
    """``order/R-1042``."""
    delivery_id: str = ""
    rule_id: str = ""
    at: int | None = None
    """When it happened last (milliseconds)."""
    provider_id: str = ""
    to: str = ""
    """Masked."""
    detail: str = ""
