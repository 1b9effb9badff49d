"""The count at the end: from the delivery log and from what the providers accepted, not from what anybody
believes. Lost: a message that was owed or begun and of which nobody can say what became of it. Twice: one
that a provider accepted a second time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from console.demo.ledgers import Message
from console.demo.scenario import Expected, Owed
from schemas.records import FINAL_STATES, Delivery, DeliveryState

Slot = tuple[str, str, str]
"""(kind, entity id, rule id)."""


def slot_of(what: Delivery | Owed | Expected) -> Slot:
    return str(what.kind), what.entity_id, what.rule_id


@dataclass(slots=True)
class Book:
    """Every transition that the delivery log has shown, by delivery and by slot."""

    transitions: list[Delivery] = field(default_factory=list)
    by_slot: dict[Slot, list[Delivery]] = field(default_factory=dict)
    by_delivery: dict[str, list[Delivery]] = field(default_factory=dict)

    def add(self, deliveries: Iterable[Delivery]) -> None:
        for delivery in deliveries:
            self.transitions.append(delivery)
            self.by_slot.setdefault(slot_of(delivery), []).append(delivery)
            self.by_delivery.setdefault(delivery.delivery_id, []).append(delivery)

    def ends(self) -> dict[str, Delivery]:
        """The state that each delivery is in: its final one if it has one, else its latest."""
        return {name: _end(history) for name, history in self.by_delivery.items()}


def _end(history: Sequence[Delivery]) -> Delivery:
    finals = [delivery for delivery in history if delivery.state in FINAL_STATES]
    return max(finals or history, key=lambda delivery: delivery.transition)


@dataclass(frozen=True, slots=True)
class Account:
    """``lost`` and ``twice`` are the ids (or slots) concerned, with why."""

    lost: tuple[str, ...]
    twice: tuple[str, ...]
    accepted: int
    """Messages in the providers' ledgers."""
    repeated: int
    """E-mails that went again under their own Message-ID, as nobody could say whether they had arrived."""
    pending: int
    by_outcome: Counter[tuple[str, str, str]]
    """(channel, state, reason) of every delivery."""


def settle(
    book: Book,
    messages: Sequence[Message],
    owed: Sequence[Owed],
    pending_at_workers: int,
    channels: Mapping[str, str],
) -> Account:
    """Adds up. ``pending_at_workers`` is what the workers say they still keep; it must cover what the log
    shows without an end. ``channels``: of each rule, for a message that ended before it had one."""
    ends = book.ends()
    lost = [
        f"{item.kind} {item.entity_id}, rule {item.rule_id}: nothing in the delivery log"
        for item in owed
        if slot_of(item) not in book.by_slot
    ]
    accepted = {message.provider_id for message in messages}
    lost += [
        f"delivery {name}: sent, but {end.provider or 'the provider'} has no message {end.provider_id!r}"
        for name, end in ends.items()
        if end.state is DeliveryState.SENT and end.provider_id not in accepted
    ]
    open_ends = [name for name, end in ends.items() if end.state not in FINAL_STATES]
    if len(open_ends) > pending_at_workers:
        lost.append(f"{len(open_ends)} deliveries have no end, the workers keep {pending_at_workers}")
    return Account(
        lost=tuple(lost),
        twice=tuple(_twice(book, messages)),
        accepted=len(accepted),
        repeated=len(messages) - len(accepted),
        pending=len(open_ends),
        by_outcome=Counter(
            (end.channel or channels.get(end.rule_id, ""), str(end.state), end.reason)
            for end in ends.values()
        ),
    )


def _twice(book: Book, messages: Sequence[Message]) -> Iterable[str]:
    """Copies: the same words to the same address, accepted more often than there are deliveries that say they
    were sent so (two rules may remind of the same appointment with the same words). A delivery may end more
    than once, as it may be armed again, but only once in ``sent``."""
    groups: dict[tuple[str, str, str], set[str]] = {}
    for message in messages:
        words = (message.to, message.subject, message.text)
        # One Message-ID that was accepted again is shown once by mail programs, and counted apart.
        groups.setdefault(words, set()).add(message.provider_id)
    sent = Counter(
        delivery.provider_id for delivery in book.transitions if delivery.state is DeliveryState.SENT
    )
    for (to, subject, text), ids in groups.items():
        claimed = sum(1 for provider_id in ids if sent[provider_id])
        if len(ids) > max(1, claimed):
            yield f"{to} got {len(ids)} times: {subject or text}"
    for name, history in book.by_delivery.items():
        times = sum(1 for delivery in history if delivery.state is DeliveryState.SENT)
        if times > 1:
            yield f"delivery {name} was sent {times} times"


@dataclass(frozen=True, slots=True)
class Checked:
    expected: Expected
    happened: bool


def check(expected: Sequence[Expected], book: Book, messages: Sequence[Message]) -> list[Checked]:
    """Each line of the checklist against the log and the providers."""
    texts = {message.provider_id: f"{message.subject}\n{message.text}" for message in messages}
    return [Checked(item, _happened(item, book, texts) is not item.never) for item in expected]


def _happened(item: Expected, book: Book, texts: dict[str, str]) -> bool:
    return any(
        delivery.state is item.state
        and delivery.at <= item.by
        and item.reason in ("", delivery.reason)
        and item.at in (None, delivery.at)
        and item.sender in ("", delivery.sender)
        and item.provider in ("", delivery.provider)
        and (item.state is not DeliveryState.SENT or _says(item, texts.get(delivery.provider_id)))
        for delivery in book.by_slot.get(slot_of(item), ())
    )


def _says(item: Expected, text: str | None) -> bool:
    return text is not None and all(part in text for part in item.contains)
