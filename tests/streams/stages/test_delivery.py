"""A partition's messages from their commands to the providers' answers, round by round."""

from __future__ import annotations

import pytest

from schemas.codec import Codec, encode_json
from schemas.records import Channel, ClearScope, DeliveryState, EntityKind, Timer, TimerOp, Trigger
from schemas.registry import EmbeddedRegistry
from streams.domain.catalog import Catalog
from streams.domain.ids import customer_key
from streams.domain.messages import Accepted, Outcome, Rejected, RetryAt, Unknown
from streams.domain.reasons import Reason
from streams.stages.customers import consent_writes
from streams.stages.delivery import DeliveryStage
from streams.stages.firing import Options, Withdrawn
from streams.stages.ready import Room
from streams.stages.round import DeliveryRound, SendOrder
from streams.stages.slots import FAMILIES
from streams.state.memory import MemoryStore
from tests.support.shop import C, ann, at, change, facts, notification, shop

NOW = at("2026-04-07 13:00")
ROOM = {Channel.SMS: Room(100, "test")}
FULL = {Channel.SMS: Room(0, "test")}


class One:
    """The stage of one partition, with Ann, whose orders are told of at once."""

    def __init__(self) -> None:
        self.store = MemoryStore(FAMILIES)
        self.catalog = Catalog()
        for reference in (*shop(), notification(Trigger.CREATED)):
            self.catalog.apply(reference)
        self.restart()
        self.store.write(consent_writes(self.store, [(customer_key(C, "ann"), ann())], 1))

    def restart(self) -> None:
        """As after a crash: only what the store has is left."""
        read = Codec(EmbeddedRegistry()).decode_change_value
        self.stage = DeliveryStage(self.store, self.catalog, Options(inherited_after=0), read)

    def done(self, round_: DeliveryRound | None) -> list[SendOrder]:
        """The round is carried out; what is to be sent."""
        assert round_ is not None
        self.store.write([*round_.writes, *round_.after(self.stage.pending)])
        self.stage.committed(round_)
        self.store.write(self.stage.logged(round_))
        return round_.sends

    def order(self, *names: str, rooms: dict[Channel, Room] = ROOM) -> list[SendOrder]:
        return self.commands([armed(name) for name in names], rooms)

    def commands(self, timers: list[Timer], rooms: dict[Channel, Room] = ROOM) -> list[SendOrder]:
        source = self.stage.source
        batch = list(enumerate(timers, source))
        return self.done(self.stage.commands(batch, source + len(batch), NOW, rooms))


def armed(name: str) -> Timer:
    return Timer(
        op=TimerOp.ARM,
        company=C,
        kind=EntityKind.ORDER,
        entity_id=name,
        customer_id="ann",
        entity_version=1,
        rule_id="r",
        rule_version=1,
        anchor=name,
        event_id=name,
        occurred_at=NOW,
        status_id="new",
        change=encode_json(change(1, facts(), NOW, entity_id=name)),
    )


def cleared(name: str) -> Timer:
    return Timer(
        op=TimerOp.CLEAR,
        company=C,
        kind=EntityKind.ORDER,
        entity_id=name,
        customer_id="ann",
        entity_version=2,
        scope=ClearScope.ALL,
        reason=str(Reason.ENTITY_DELETED),
        occurred_at=NOW,
    )


@pytest.fixture
def one() -> One:
    return One()


def test_what_goes_with_its_command_is_not_looked_at_once_more(one: One) -> None:
    """It would take a turn of the room that there is, and while it waits others would not go at once."""
    assert len(one.order("a", "b")) == 2
    assert one.stage.due(NOW + 5, FULL) is None
    assert (one.stage.queued, one.stage.next_due()) == (0, None)
    assert len(one.order("c")) == 1, "nobody waits"


def test_what_went_with_its_command_comes_back_when_it_was_refused(one: One) -> None:
    """Also in the very millisecond, when its place in the order of what is due is the same."""
    (order,) = one.order("a")
    again = RetryAt("test", "provider_busy", elsewhere=True, called=False)
    one.done(one.stage.outcomes([(order, again)], NOW))
    (order,) = one.done(one.stage.due(NOW, ROOM))
    assert order.attempt == 2
    one.done(one.stage.outcomes([(order, Accepted("test", "1"))], NOW))
    assert one.stage.pending == 0


def test_what_a_former_owner_began_is_looked_at_though_a_command_changed_it_first(one: One) -> None:
    one.order("a")
    one.restart()
    one.commands([cleared("a")])
    one.done(one.stage.due(NOW, ROOM))
    round_ = one.stage.due(NOW, ROOM)
    assert round_ is not None
    assert len(round_.inquiries) == 1, "nobody knows whether it went out"


def test_answers_wait_for_a_round_that_is_made_anyway(one: One) -> None:
    (order,) = one.order("a")
    answers = [(order, Accepted("test", "1"))]
    assert one.stage.due(NOW, ROOM, answers=answers, alone=False) is None
    one.order("b", rooms=FULL)
    round_ = one.stage.due(NOW, ROOM, answers=answers, alone=False)
    assert round_ is not None
    assert [(record.entity_id, record.state) for record in round_.log] == [("a", "sent"), ("b", "sending")]


@pytest.mark.parametrize(
    "answer",
    [
        Withdrawn("rule_disabled", DeliveryState.CANCELLED),
        Accepted("test", "1"),
        Rejected("test", "refused"),
        RetryAt("test", "throttled"),
        RetryAt("test", "provider_busy", elsewhere=True, called=False),
        Unknown("test", "no_answer"),
    ],
    ids=["withdrawn", "accepted", "rejected", "refused for now", "not called", "unknown"],
)
@pytest.mark.parametrize("checked", [True, False])
def test_what_messages_were_decided_on_is_kept_only_while_they_are_on_their_way(
    one: One, answer: Outcome | Withdrawn, checked: bool
) -> None:
    """Whatever becomes of them, and whether or not they came to their final check."""
    (order,) = one.order("a")
    assert set(one.stage._decided) == {order.key}
    if checked:
        assert one.stage.final_check(order, NOW) is None
    one.done(one.stage.outcomes([(order, answer)], NOW))
    assert (one.stage.in_flight, one.stage._decided) == (0, {})
