"""What a person reads: one line for each thing that the shop does, and for each thing that comes of it.

Lines about messages are made of what the delivery log and the providers say, in an order that does not
depend on which of two things of one instant was first: the same seed tells the same story.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from console.demo.account import Slot, slot_of
from console.demo.cast import Person, Shop
from console.demo.ledgers import Message
from console.demo.scenario import SECOND
from schemas.records import FINAL_STATES, Channel, Delivery, DeliveryState, Rule, RuleKind
from streams.domain.reasons import Reason

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CHANNELS = {str(Channel.SMS): "SMS", str(Channel.EMAIL): "e-mail"}
_REASONS = {str(reason): reason.text for reason in Reason}
_LONGEST_TEXT = 240


@dataclass(frozen=True, slots=True)
class Line:
    """``mark``: ``·`` the shop acts, ``+`` something waits, ``~`` held, ``>`` sent, ``x`` not sent, ``!`` a
    worker."""

    at: int
    zone: str
    mark: str
    text: str

    def __str__(self) -> str:
        return f"{self.when}  {self.mark} {self.text}"

    @property
    def when(self) -> str:
        """``Tue  7 Apr 13:00  New York``: shop time at the place."""
        place = self.zone.rpartition("/")[2].replace("_", " ")
        return f"{moment(self.at, self.zone)}  {place:<8}"


def utc(millis: int) -> datetime:
    return datetime.fromtimestamp(millis / 1000, UTC)


def moment(millis: int, zone: str) -> str:
    """``Tue  7 Apr 13:00``, whatever the language of the machine."""
    local = utc(millis).astimezone(ZoneInfo(zone))
    return f"{_DAYS[local.weekday()]} {local.day:>2} {_MONTHS[local.month - 1]} {local:%H:%M}"


class Narrator:
    """Turns transitions into lines. ``slots``: (kind, entity id, rule id) of the messages that are told, so
    that a person can follow: the same customers get others, too, which the summary counts."""

    def __init__(self, shop: Shop, people: Iterable[Person], slots: Iterable[Slot]) -> None:
        self._slots = frozenset(slots)
        self._rules: dict[str, Rule] = {rule.id: rule for rule in shop.rules}
        self._people: Mapping[str, Person] = {person.id: person for person in people}
        self._waiting: dict[tuple[str, str], str] = {}
        self._retried: set[str] = set()
        self._address = shop.company.email_sender_address

    def tell(self, deliveries: Iterable[Delivery], messages: Mapping[str, Message]) -> list[Line]:
        """The lines of what is new in the log. ``messages`` by provider id."""
        told = [delivery for delivery in deliveries if slot_of(delivery) in self._slots]
        told.sort(key=lambda d: (d.at, str(d.kind), d.entity_id, d.rule_id, d.transition, d.delivery_id))
        lines = []
        for delivery in told:
            line = self._line(delivery, messages)
            if line is not None:
                person = self._people[delivery.customer_id]
                lines.append(Line(delivery.at, person.zone, *line))
        return lines

    def _line(self, delivery: Delivery, messages: Mapping[str, Message]) -> tuple[str, str] | None:
        person = self._people[delivery.customer_id]
        rule = self._rules.get(delivery.rule_id)
        what = rule.name or rule.id if rule is not None else delivery.rule_id
        # What ends before it is rendered has no channel in the log: it would have been its rule's.
        channel = _CHANNELS.get(delivery.channel or (rule.channel if rule is not None else ""), "message")
        match delivery.state:
            case DeliveryState.SCHEDULED:
                return self._scheduled(delivery, rule, person, what)
            case DeliveryState.HELD:
                opens = _short(delivery.next_at, person.zone) if delivery.next_at is not None else "later"
                why = _reason(delivery.reason)
                return "~", f"{channel} to {person.name} waits until {opens}  [{what}] {why}"
            case DeliveryState.RETRYING if delivery.delivery_id not in self._retried:
                # The first of several is enough: how many there are is the backoff's affair.
                self._retried.add(delivery.delivery_id)
                return "~", f"{channel} to {person.name} is tried again  [{what}] {_reason(delivery.reason)}"
            case DeliveryState.SENT:
                said = _said(messages.get(delivery.provider_id))
                return ">", f"{channel} to {person.name}{self._way(delivery)}: {said}  [{what}]"
            case DeliveryState.UNKNOWN:
                return (
                    "x",
                    f"{channel} to {person.name}: nobody knows yet  [{what}] {_reason(delivery.reason)}",
                )
            case DeliveryState.BOUNCED:
                return "x", f"{channel} to {person.name} came back  [{what}] {delivery.note}"
            case state if state in FINAL_STATES and delivery.reason != Reason.MOVED:
                return "x", f"{person.name} gets no {channel}  [{what}] {_reason(delivery.reason)}"
        return None

    def _way(self, delivery: Delivery) -> str:
        """Told where the sender is not the usual one, or the way not the first choice."""
        if delivery.provider == SECOND:
            return " by the second provider"
        if delivery.channel != Channel.EMAIL or not (delivery.note or delivery.sender != self._address):
            return ""
        return f" from {delivery.sender}" + (f" ({delivery.note})" if delivery.note else "")

    def _scheduled(
        self, delivery: Delivery, rule: Rule | None, person: Person, what: str
    ) -> tuple[str, str] | None:
        """Told of reminders: they wait for days. A notification that is due at once only waits on paper."""
        if rule is None or rule.kind is not RuleKind.REMINDER or delivery.due_at is None:
            return None
        due = _short(delivery.due_at, person.zone)
        slot = (delivery.entity_id, delivery.rule_id)
        before, self._waiting[slot] = self._waiting.get(slot), due
        if before is None:
            return "+", f"a reminder for {person.name} waits for {due}  [{what}]"
        if before == due:
            return None
        return "+", f"the reminder for {person.name} moves from {before} to {due}  [{what}]"


def _short(millis: int, zone: str) -> str:
    return " ".join(moment(millis, zone).split())


def _reason(code: str) -> str:
    return _REASONS.get(code, code)


def _said(message: Message | None) -> str:
    if message is None:
        return "(the provider has no such message)"
    text = message.subject if message.channel is Channel.EMAIL else message.text
    text = " ".join(text.split())
    return f'"{text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"}"'
