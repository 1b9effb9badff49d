"""Every reason code that a delivery-log record, a dead letter or a refusal may carry, with its meaning.

Codes are a contract with analysts and dashboards: they are added, never renamed. ``docs/delivery-log.md``
lists them, and a test holds the page against this table.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why something was done, or was not. The text beside each is the sentence that staff read."""

    text: str

    def __new__(cls, code: str, text: str) -> Reason:
        member = str.__new__(cls, code)
        member._value_ = code
        member.text = text
        return member

    # nothing unusual
    NONE = "", ""
    ARMED = "armed", "The message is waiting for its moment."
    MOVED = "moved", "The scheduled time changed; the message moved along."
    ACCEPTED = "accepted", "The provider has accepted the message."

    # whether: triggers
    TOO_OLD = "too_old", "The change is older than the company's limit for events, or an import."
    OUT_OF_ORDER = "out_of_order", "A newer version of the entity was already known."
    NO_CUSTOMER = "no_customer", "The entity names no customer."
    UNKNOWN_COMPANY = "unknown_company", "The company is not set up."
    UNKNOWN_LOCATION = "unknown_location", "The entity's location is not set up."
    UNKNOWN_STATUS = "unknown_status", "The entity's status is not set up."
    UNKNOWN_TEMPLATE = "unknown_template", "The rule's template does not exist."

    # when: time
    TOO_LATE = "too_late", "The moment had already passed when the entity was booked or moved."
    LATENESS = "lateness", "It became due while nothing could be sent, and is now too late to help."
    AFTER_SCHEDULED = "after_scheduled", "The scheduled time has passed."
    CLOSED_HOURS = "closed_hours", "Held until the location opens."
    NO_OPENING = "no_opening", "The location does not open in the next 366 days."
    QUIET_HOURS = "quiet_hours", "Held until the company's quiet hours end."
    OUT_OF_RANGE = "out_of_range", "The scheduled time is outside the years 1970 to 9998."

    # if still
    STATUS_CHANGED = "status_changed", "The status has changed again; the rule asks for it to be the same."
    NEWER_HELD = "newer_held", "A newer message of the same rule for the same entity takes its place."
    ENTITY_CLOSED = "entity_closed", "The entity was closed."
    ENTITY_CANCELLED = "entity_cancelled", "The entity was cancelled."
    ENTITY_DELETED = "entity_deleted", "The entity was deleted."
    TIME_REMOVED = "time_removed", "The scheduled time was taken away."
    CUSTOMER_CHANGED = "customer_changed", "The entity now belongs to another customer."
    RULE_DISABLED = "rule_disabled", "The rule was switched off."
    RULE_DELETED = "rule_deleted", "The rule was deleted."
    RULE_CHANGED = "rule_changed", "The rule was edited and no longer covers this entity."

    # consent and address
    NO_CONSENT = "no_consent", "The customer has not agreed to this channel."
    NO_CUSTOMER_RECORD = "no_customer_record", "Nothing is known about the customer."
    NO_ADDRESS = "no_address", "The customer has no address for this channel."
    BAD_ADDRESS = "bad_address", "The address is not valid."
    SUPPRESSED_ADDRESS = "suppressed_address", "The address is blocked: opted out, unsubscribed or bounced."
    NOT_ALLOWED = "not_allowed", "This is no production system, and the address is not on its list."
    OPTED_OUT = "opted_out", "The provider says that the recipient opted out."

    # too much
    OVER_CAP = "over_cap", "The customer has had as many messages today as the company allows."
    DUPLICATE_TEXT = "duplicate_text", "The same text went to the same address just before."

    # text
    TEMPLATE_ERROR = "template_error", "The template could not be filled in."
    NO_TEXT = "no_text", "The template has no text for this channel."
    OVER_BUDGET = "over_budget", "The text needs more SMS segments than the company allows."
    NO_SENDER = "no_sender", "The company has no sender identity for this channel."

    # providers
    THROTTLED = "throttled", "The provider asks for a pause."
    UNREACHABLE = "unreachable", "The provider could not be reached."
    PROVIDER_BUSY = "provider_busy", "The provider refused for now."
    ACCOUNT = "account", "The provider refuses the account; the channel is paused."
    INVALID_RECIPIENT = "invalid_recipient", "The provider says that this address does not exist."
    CONTENT = "content", "The provider refused the content."
    REFUSED = "refused", "The provider refused the message."
    NO_ANSWER = "no_answer", "The provider did not say whether it accepted the message."
    INHERITED = "inherited", "The worker stopped while the message was being sent."
    FOUND = "found", "Asked afterwards, the provider had accepted the message."
    NOT_RESENT = "not_resent", "Nobody could say whether the message went out; it was not sent again."
    RESENT = "resent", "Nobody could say whether the e-mail went out; it was sent again with the same id."
    GAVE_UP = "gave_up", "Every attempt was refused until the message was of no more use."

    # input (dead letters)
    UNDECODABLE = "undecodable", "The bytes are not a record of this topic."
    UNKNOWN_SCHEMA = "unknown_schema", "The schema id is not in the registry."
    CONTRACT = "contract", "A field is missing or has a value that the contract does not allow."
    CRASHED = "crashed", "Workers died at this record; it was set aside."
    REPLAYED = "replayed", "No dead letter: notes that the one of this place has been dealt with."
