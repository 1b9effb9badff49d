"""Mistakes that the simulation must notice: each breaks one rule of the order of writes, or of the stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from agents import sender_partition
from agents.entity_partition import EntityPartition
from agents.gate import Gate
from agents.partition import PartitionStore
from agents.sender_partition import SenderPartition
from schemas.records import DeliveryState, Timer
from streams.stages import arming, delivery, receipts, round, slots
from streams.stages.delivery import DeliveryStage
from streams.stages.entity import EntityStage
from streams.stages.fencing import CLAIM, Fence, claim_record
from streams.stages.firing import Firing
from streams.stages.ready import ReadyRows
from streams.stages.receipts import Receipts
from streams.stages.slots import Slot

Break = Callable[["Breaker"], None]


class Breaker:
    """Sets attributes, and puts them back."""

    def __init__(self) -> None:
        self._was: list[tuple[Any, str, Any]] = []

    def set(self, target: Any, name: str, value: Any) -> None:
        self._was.append((target, name, target.__dict__[name]))
        setattr(target, name, value)

    def undo(self) -> None:
        for target, name, value in reversed(self._was):
            setattr(target, name, value)


def _no_offset_check(breaker: Breaker) -> None:
    """Replays are worked on again: nothing below the stored source offset is skipped."""
    step = EntityStage.step

    def again(self: EntityStage, records: Any, changes: Any, next_offset: int, now: int) -> Any:
        self.source = 0
        return step(self, records, changes, next_offset, now)

    breaker.set(EntityStage, "step", again)
    breaker.set(EntityPartition, "source", property(lambda self: 0))


def _ack_before_produce(breaker: Breaker) -> None:
    """The state is written, and the source offset with it, before the commands are produced."""

    async def carry_out(self: EntityPartition, round_: Any) -> None:
        outputs = self._shared.outputs
        await self._state.commit(round_.changelog, round_.writes)
        await outputs.timers(round_.clears)
        await outputs.timers(round_.timers)
        await outputs.deliveries(round_.log)
        await outputs.dead_letters(round_.dead)

    breaker.set(EntityPartition, "_carry_out", carry_out)


def _store_before_changelog(breaker: Breaker) -> None:
    """The store is written without the changelog having acknowledged: a disk that is lost takes it along."""

    async def commit(self: PartitionStore, changelog: Any, writes: Any) -> None:
        self.store.write([*writes])

    breaker.set(PartitionStore, "commit", commit)


def _no_final_check(breaker: Breaker) -> None:
    breaker.set(DeliveryStage, "final_check", lambda self, order, now: None)


def _no_consent_check(breaker: Breaker) -> None:
    """The final check does not look at the consent again."""
    breaker.set(delivery, "refusal", lambda *_: None)


def _no_cancel_check(breaker: Breaker) -> None:
    """The final check does not look whether the message has been withdrawn."""
    check = DeliveryStage.final_check

    def only_consent(self: DeliveryStage, order: Any, now: int) -> Any:
        found = check(self, order, now)
        return found if found is not None and found.state == DeliveryState.SUPPRESSED else None

    breaker.set(DeliveryStage, "final_check", only_consent)


def _no_hold(breaker: Breaker) -> None:
    """What is overdue goes out right after an assignment, whatever lies unread."""

    def at_once(self: Gate) -> None:
        self._deadline = 0.0

    breaker.set(Gate, "assigned", at_once)
    breaker.set(Gate, "paused", at_once)


def _epoch_forgotten(breaker: Breaker) -> None:
    """A restore takes the newest record of each key, whoever wrote it."""

    def admit(self: Fence, records: Any) -> Any:
        found = []
        for offset, key, value, epoch in records:
            if key == CLAIM:
                self._claimed(offset, value)
                continue
            self.epoch = max(self.epoch, epoch or 0)
            found.append((key, value))
        return found

    breaker.set(Fence, "admit", admit)


def _fenced_goes_on(breaker: Breaker) -> None:
    """An owner that sees a newer one's records takes no notice."""
    breaker.set(Fence, "foreign", lambda self, records, own: [])


def _claim_without_swap(breaker: Breaker) -> None:
    """A claim counts wherever it comes to lie."""

    async def claim(self: PartitionStore, may_claim: Any) -> None:
        await may_claim()
        epoch = self._epoch = self._fence.epoch = self._fence.epoch + 1
        record = claim_record(epoch, self.position, self._shared.name)
        end = await self._shared.outputs.changelog(self.changelog, self.partition, [record], epoch)
        self._position = end or self.position + 1
        self.store.write(self._noted(anew=True))

    breaker.set(PartitionStore, "_claim", claim)


def _late_records_stay(breaker: Breaker) -> None:
    """Late records of a former owner are not written over."""

    async def leave(self: PartitionStore, keys: Any) -> None:
        pass

    breaker.set(PartitionStore, "_write_over", leave)


def _deletions_not_restored(breaker: Breaker) -> None:
    """A restore leaves out the deletions, as does the reader of consents."""
    admit = Fence.admit

    def only_values(self: Fence, records: Any) -> Any:
        return [(key, value) for key, value in admit(self, records) if value is not None]

    breaker.set(Fence, "admit", only_values)
    writes = sender_partition.consent_writes  # type: ignore[attr-defined]  # where its reader finds it

    def only_customers(store: Any, customers: Any, next_offset: int) -> Any:
        return writes(store, [item for item in customers if item[1] is not None], next_offset)

    breaker.set(sender_partition, "consent_writes", only_customers)


def _fire_before_intent(breaker: Breaker) -> None:
    """The provider is called while the intent is still on its way to the changelog."""
    carry_out = SenderPartition._round

    async def early(self: SenderPartition, step: Any, **more: Any) -> Any:
        def taken(now: int) -> Any:
            made = step(now)
            if made is not None:
                for send in made.sends:
                    self._call(self._send(send, self._capacity.begin(send, now)))
                made.sends = []
            return made

        return await carry_out(self, taken, **more)

    breaker.set(SenderPartition, "_round", early)


def _blocks_nothing(breaker: Breaker) -> None:
    """What went out already is armed again."""
    breaker.set(Slot, "blocks", lambda self, delivery_id: False)


def _order_ignored(breaker: Breaker) -> None:
    """An older change of the entity counts like a newer one."""
    change_of = EntityStage._change

    def anyway(self: Any, record: Any, change: Any, state: Any, round_: Any, now: int) -> Any:
        if state is not None:
            state.version = min(state.version, change.version - 1)
        return change_of(self, record, change, state, round_, now)

    breaker.set(EntityStage, "_change", anyway)


def _clear_misses_in_flight(breaker: Breaker) -> None:
    """A clear leaves alone what is on its way to the provider."""

    def clear(timer: Timer, round_: Any, entities: Any, catalog: Any) -> None:
        calm: Any = _Calm(round_)
        real(timer, calm, entities, catalog)

    class _Calm:
        def __init__(self, round_: Any) -> None:
            self._round = round_
            self.table = self

        def __getattr__(self, name: str) -> Any:
            return getattr(self._round, name, None) or getattr(self._round.table, name)

        def pending_under(self, prefix: bytes) -> Any:
            found = self._round.table.pending_under(prefix)
            return [(key, slot) for key, slot in found if slot.row.state not in slots.IN_FLIGHT]

    real = arming.clear
    breaker.set(delivery, "clear", clear)


def _log_not_repeated(breaker: Breaker) -> None:
    """Log records that may be missing are not produced again at opening."""
    breaker.set(DeliveryStage, "opened", lambda self: self._sweeper.notice_all() or [])


def _moved_is_forgotten(breaker: Breaker) -> None:
    """Rows put behind the cursor are not read again."""
    breaker.set(ReadyRows, "moved", lambda self, names: None)


def _log_after_slots(breaker: Breaker) -> None:
    """Log records follow their slots in the changelog, as once they did."""
    finish = round.DeliveryRound.finish

    def behind(self: Any, source: int | None) -> Any:
        done = finish(self, source)
        tail = [item for item in done.changelog if item[0].startswith(round.LOG)]
        rest = [item for item in done.changelog if not item[0].startswith(round.LOG)]
        done.changelog = [*rest, *tail]
        return done

    breaker.set(round.DeliveryRound, "finish", behind)


def _inherited_is_sent_again(breaker: Breaker) -> None:
    """What another worker was sending when it died is taken for not sent."""

    def again(self: Firing, key: bytes, slot: Slot, row: Any, round_: Any) -> None:
        slot = round_.table.change(key)
        row.state, row.due = "retrying", round_.now
        round_.note(key, slot, row, "retrying", "provider_busy")

    breaker.set(Firing, "_inherited", again)


def _rules_not_applied(breaker: Breaker) -> None:
    """A rule that is edited leaves the reminders of booked entities as they are."""
    breaker.set(EntityStage, "rules_changed", lambda self, rules: None)
    breaker.set(DeliveryStage, "reference_changed", lambda self, names: None)


def _report_told_twice(breaker: Breaker) -> None:
    """What a provider says again is told again."""
    news = Receipts._news

    def anew(self: Receipts, slot: Slot, event: Any, state: Any) -> bool:
        held, slot.head.receipts = slot.head.receipts, []
        try:
            return news(self, slot, event, state)
        finally:
            slot.head.receipts = held

    breaker.set(Receipts, "_news", anew)


def _late_bounce_counts(breaker: Breaker) -> None:
    """A phone that has the message is no proof against a carrier that gave up."""
    breaker.set(receipts, "RANK", {DeliveryState.BOUNCED: 2, DeliveryState.DELIVERED: 1})


def _reports_not_kept(breaker: Breaker) -> None:
    """A report that is faster than the answer is forgotten."""
    breaker.set(receipts.Receipts, "_note", _only_of_the_gone)


def _only_of_the_gone(
    self: Receipts, key: bytes, slot: Slot, event: Any, state: Any, round_: Any, in_flight: Any
) -> None:
    if slot.row is None or slot.row.delivery_id != event.delivery_id:
        _NOTE(self, key, slot, event, state, round_, in_flight)


_NOTE = Receipts._note

MUTANTS: Mapping[str, Break] = {
    "source offset ignored": _no_offset_check,
    "ack before produce": _ack_before_produce,
    "store without changelog": _store_before_changelog,
    "no final check": _no_final_check,
    "no consent check": _no_consent_check,
    "no cancel check": _no_cancel_check,
    "no hold": _no_hold,
    "fire before intent": _fire_before_intent,
    "epoch forgotten": _epoch_forgotten,
    "fenced goes on": _fenced_goes_on,
    "claim without swap": _claim_without_swap,
    "late records stay": _late_records_stay,
    "deletions not restored": _deletions_not_restored,
    "sent ids forgotten": _blocks_nothing,
    "version order ignored": _order_ignored,
    "clear misses in flight": _clear_misses_in_flight,
    "log not repeated": _log_not_repeated,
    "moved rows forgotten": _moved_is_forgotten,
    "log records after slots": _log_after_slots,
    "inherited is sent again": _inherited_is_sent_again,
    "rule edits not applied": _rules_not_applied,
    "reports told twice": _report_told_twice,
    "late bounce counts": _late_bounce_counts,
    "fast reports forgotten": _reports_not_kept,
}

FOCUS: Mapping[str, tuple[str, ...]] = {
    "ack before produce": ('self.send("timers"',),
    "log not repeated": ("outputs.deliveries(round_.log)",),
    "log records after slots": ("self._state.commit(round_.changelog",),
    "inherited is sent again": ("answer = await sender.send(",),
    "epoch forgotten": ("outputs.changelog(self.changelog",),
    "fenced goes on": ("outputs.changelog(self.changelog",),
}
"""Where workers are killed when a mistake shows only there: parts of the source lines of awaits."""

HOW: Mapping[str, Mapping[str, Any]] = {
    "source offset ignored": {"calm": True},  # where somebody dies, repeats may be
    "no final check": {"calm": True, "ambush": True},
    "no consent check": {"calm": True, "ambush": True},
    "no cancel check": {"calm": True, "ambush": True},
    "clear misses in flight": {"calm": True, "ambush": True},
    "no hold": {"calm": True, "ambush": True},
    "version order ignored": {"calm": True, "shuffled": True},
    "rule edits not applied": {"traits": ("edits", "far")},
    "deletions not restored": {"traits": ("forgotten",)},
    "claim without swap": {"traits": ("zombies", "wakes", "many")},
    "late records stay": {"traits": ("zombies", "far", "amnesia")},
}
"""The days on which they show soonest (see ``run.told``)."""


@contextmanager
def broken(name: str) -> Iterator[None]:
    breaker = Breaker()
    try:
        MUTANTS[name](breaker)
        yield
    finally:
        breaker.undo()
