"""What a company does not want to send: the same again, too many, and outside production to strangers."""

from __future__ import annotations

import msgspec
import pytest

from schemas.records import Channel, EntityKind, Trigger
from streams.domain.allowed import Allowed
from streams.domain.messages import Rejected, RetryAt
from streams.domain.repeats import LONGEST_DAY
from streams.stages.firing import Options
from streams.stages.recents import RECENT
from tests.support.shop import DAY, HOUR, MINUTE, ann, at, change, facts, notification, shop
from tests.support.topology import Topology, accepting

ORDER = EntityKind.ORDER
TUESDAY = at("2026-04-07 10:00")
ANY = notification(Trigger.STATUS_CHANGED, id_="any")
READY = notification(Trigger.STATUS_CHANGED_TO, id_="ready", status_id="ready")
CREATED = notification(Trigger.CREATED, id_="created")


def opened(*rules: object, options: Options | None = None, **company: int) -> Topology:
    world = Topology(TUESDAY) if options is None else Topology(TUESDAY, options=options)
    first, *others = shop()
    world.reference(msgspec.structs.replace(first, **company), *others, *rules)  # type: ignore[arg-type]  # records
    world.customer(ann())
    return world


def becomes_ready(world: Topology, entity_id: str = "1") -> None:
    """Both rules speak, in one round."""
    made = change(2, facts("ready"), world.now, entity_id=entity_id, before=facts("new"))
    world.change(ORDER, made)


def test_an_any_and_a_ready_rule_with_the_same_text_send_it_once() -> None:
    world = opened(ANY, READY, duplicate_window=5 * MINUTE)
    becomes_ready(world)
    assert sorted(world.finals) == [("sent", "accepted"), ("suppressed", "duplicate_text")]
    assert len(world.sent) == 1


def test_without_the_guard_both_go() -> None:
    world = opened(ANY, READY)
    becomes_ready(world)
    assert len(world.sent) == 2
    assert not any(store.scan("meta", RECENT, RECENT + b"\xff", 1) for store in world.stores)


def test_the_guard_outlives_a_restart_and_ends_with_its_time() -> None:
    world = opened(READY, duplicate_window=5 * MINUTE)

    def becomes_ready_again(version: int) -> None:
        for status, before in (("ready", "new"), ("new", "ready")):
            world.change(ORDER, change(version, facts(status), world.now, before=facts(before)))
            version += 1

    becomes_ready_again(2)
    world.restart()
    becomes_ready_again(4)
    world.after(5 * MINUTE)
    becomes_ready_again(6)
    assert world.finals == [("sent", "accepted"), ("suppressed", "duplicate_text"), ("sent", "accepted")]


@pytest.mark.parametrize("cap", [1, 2])
def test_a_customer_has_so_many_a_day(cap: int) -> None:
    world = opened(CREATED, customer_daily_cap=cap)
    world.change(ORDER, *(change(1, facts(), world.now, entity_id=f"{number}") for number in range(5)))
    assert sorted(world.finals) == [("sent", "accepted")] * cap + [("suppressed", "over_cap")] * (5 - cap)
    world.after(DAY)
    world.change(ORDER, change(1, facts(), world.now, entity_id="next day"))
    assert world.finals[-1] == ("sent", "accepted")


def test_what_was_refused_does_not_count_and_a_retry_does_not_stop_itself() -> None:
    world = opened(CREATED, customer_daily_cap=1, duplicate_window=HOUR)
    world.provider = lambda message: Rejected("test", "refused")
    world.change(ORDER, change(1, facts(), world.now))
    assert world.finals == [("failed", "refused")]
    answers = iter([RetryAt("test", "unreachable")])
    world.provider = lambda message: next(answers, None) or accepting(message)
    world.change(ORDER, change(1, facts(), world.now, entity_id="2"))
    world.after(10 * MINUTE)
    assert world.finals[1:] == [("sent", "accepted")]


def test_it_is_forgotten_in_time() -> None:
    world = opened(CREATED, customer_daily_cap=9)
    world.change(ORDER, change(1, facts(), world.now))

    def remembered() -> int:
        return sum(len(store.scan("meta", RECENT, RECENT + b"\xff", 9)) for store in world.stores)

    assert remembered() == 1
    world.after(LONGEST_DAY - HOUR)
    assert remembered() == 1
    world.after(DAY + 2 * HOUR)
    assert remembered() == 0


def test_outside_production_only_who_is_on_the_list_is_written_to() -> None:
    allowed = {Channel.SMS: Allowed(["+49*"])}
    mail = msgspec.structs.replace(CREATED, id="mail", channel=Channel.EMAIL)
    world = opened(CREATED, mail, options=Options(allowed=allowed))
    world.change(ORDER, change(1, facts(), world.now))
    assert sorted(world.finals) == [("sent", "accepted"), ("suppressed", "not_allowed")]
