from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.records import Channel, EntityKind, Rule, RuleKind, Trigger
from streams.domain.catalog import Catalog
from streams.stages import ready
from streams.stages.ready import ReadyRows, Room
from streams.stages.slots import SlotName, due_key, name_of, slot_key
from streams.state.memory import MemoryStore

SMS, EMAIL = Channel.SMS, Channel.EMAIL
ALL = {SMS: Room(1_000_000, "p"), EMAIL: Room(1_000_000, "p")}


def rule(company: str, channel: Channel, version: int = 1) -> Rule:
    return Rule(
        id=channel.value,
        company=company,
        kind=RuleKind.NOTIFICATION,
        entity=EntityKind.ORDER,
        trigger=Trigger.CREATED,
        channel=channel,
        template_id="t",
        version=version,
    )


class Rows:
    """The due rows of one partition."""

    def __init__(self, *companies: str) -> None:
        self.store = MemoryStore(["due"])
        self.catalog = Catalog()
        for company in companies:
            for channel in Channel:
                self.catalog.apply(rule(company, channel))
        self.ready = ReadyRows(self.store, self.catalog)

    def put(self, company: str, number: int, due: int = 0, rule_id: str = "sms") -> tuple[int, bytes]:
        key = slot_key(SlotName(company, EntityKind.ORDER, f"{number:06}", "ann", rule_id, "e"))
        self.store.write([("due", due_key(due, key), b"row")])
        self.ready.moved([(due, key)])
        return due, key

    def take(self, rooms: dict[Channel, Room], limit: int = 500, now: int = 10) -> list[str]:
        """Companies and numbers of what was taken; it is gone then."""
        names = self.ready.take(now, rooms, limit)
        self.store.write([("due", due_key(*name), None) for name in names])
        return [f"{name_of(key).company}{int(name_of(key).entity_id)}" for _, key in names]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SCAN": 4, "AHEAD": 3, "MOST": 40, "MANY": 10, "FEW": 2}.items():
        monkeypatch.setattr(ready, name, value)


def test_nothing_is_taken_for_a_channel_without_room_and_all_for_the_other() -> None:
    rows = Rows("a")
    for number in range(3):
        rows.put("a", number)
        rows.put("a", number, rule_id="email")
    assert rows.take({SMS: Room(0, "p"), EMAIL: Room(9, "p")}) == ["a0", "a1", "a2"]
    assert (rows.ready.queued, rows.ready.waiting(SMS)) == (3, {"a": 3})
    assert rows.take({}) == []
    assert rows.take(ALL) == ["a0", "a1", "a2"]


def test_a_channel_with_more_room_than_is_looked_at_does_not_keep_the_other_waiting() -> None:
    rows = Rows("a", "b")
    for number in range(20):
        rows.put("a", number)
    rows.put("b", 7, due=1, rule_id="email")
    assert "b7" in rows.take({SMS: Room(1_000, "p"), EMAIL: Room(16, "p")}, limit=5)


def test_new_rows_go_at_once_while_there_is_room_and_nobody_waits() -> None:
    rows = Rows("a", "b")

    def at_once(rooms: dict[Channel, Room], *names: tuple[str, int, str]) -> list[str]:
        keys = [slot_key(SlotName(c, EntityKind.ORDER, f"{n}", "ann", rule_, "e")) for c, n, rule_ in names]
        going = rows.ready.at_once([(0, key) for key in keys], rooms)
        return [name_of(key).company + name_of(key).entity_id for key in going]

    new = [("a", 1, "sms"), ("a", 2, "sms"), ("b", 3, "sms"), ("a", 4, "email"), ("a", 5, "no such rule")]
    assert at_once({}, *new) == []
    assert at_once(ALL, *new) == ["a1", "a2", "b3", "a4"]
    assert at_once({SMS: Room(2, "p"), EMAIL: Room(0, "p")}, *new) == ["a1", "a2"]
    assert at_once(ALL | {SMS: Room(9, "p", {"a": 5})}, *new) == ["b3", "a4"]
    rows.put("b", 9)
    assert rows.take({}) == []  # it has been seen, and waits
    assert at_once(ALL, *new) == ["a4"]
    rows.take(ALL)
    assert at_once(ALL, *new) == ["a1", "a2", "b3", "a4"]


def test_new_rows_are_behind_what_waits_in_the_store(small: None) -> None:
    rows = Rows("a")
    for number in range(30):
        rows.put("a", number)
    key = slot_key(SlotName("a", EntityKind.ORDER, "31", "ann", "sms", "e"))
    while rows.take({SMS: Room(10, "p")}):
        waits = bool(rows.ready.queued)
        assert rows.ready.at_once([(0, key)], ALL) == ([] if waits else [key])


@pytest.mark.usefixtures("small")
def test_rows_that_have_begun_before_they_were_read_are_passed_over() -> None:
    rows = Rows("a")
    begun = [rows.put("a", number, due=5) for number in range(3)]
    rows.ready.sending(begun)
    rows.put("a", 3, due=5)
    rows.ready.moved(begun[:1])  # it was refused, and lies where it lay
    assert rows.take({}) == []
    assert (rows.ready.queued, rows.ready.waiting(SMS)) == (2, {"a": 2})
    rows.ready.sending(begun[1:])  # they are behind the cursor already
    rows.ready.moved(begun[1:])
    assert sorted(rows.take(ALL)) == ["a0", "a1", "a2", "a3"]


@pytest.mark.usefixtures("small")
def test_what_is_to_be_passed_over_does_not_fill_the_memory() -> None:
    """Neither where rows go before they are read, nor while nothing is read."""
    rows = Rows("a")
    for number in range(100):
        rows.ready.sending([(5, b"%d" % number)])
        assert len(rows.ready._sending) <= 10
    assert rows.take(ALL) == []
    assert not rows.ready._sending


def test_one_company_after_the_other() -> None:
    rows = Rows("a", "b", "c")
    for number in range(1_000):
        rows.put("a", number)
    rows.put("b", 0)
    rows.put("c", 0)
    assert rows.take({SMS: Room(4, "p")}) == ["a0", "b0", "c0", "a1"]


def test_what_a_company_may_have_bounds_its_own_only() -> None:
    rows = Rows("a", "b", "c")
    for number in range(4):
        for company in "abc":
            rows.put(company, number)
    assert rows.take({SMS: Room(9, "p", {"a": 1, "b": 0})}) == ["a0", "c0", "c1", "c2", "c3"]
    assert rows.take({SMS: Room(9, "p", {"a": 0, "b": 0})}) == []
    assert len(rows.take(ALL)) == 7


def test_only_those_go_whose_turn_it_is() -> None:
    rows = Rows("a", "b", "c")
    for number in range(3):
        for company in "abc":
            rows.put(company, number)
    assert rows.take({SMS: Room(3, "p", first=["c", "no", "a"])}) == ["c0", "a0", "c1"]
    assert rows.take({SMS: Room(9, "p", {"a": 1}, ["a", "c"])}) == ["a1", "c2"]
    assert rows.take({SMS: Room(9, "p", first=["c"])}) == []
    assert rows.take(ALL) == ["b0", "a2", "b1", "b2"]
    key = slot_key(SlotName("b", EntityKind.ORDER, "9", "ann", "sms", "e"))
    assert rows.ready.at_once([(0, key)], {SMS: Room(9, "p", first=["a"])}) == []
    assert rows.ready.at_once([(0, key)], {SMS: Room(9, "p", first=["b"])}) == [key]


def test_a_row_whose_rule_came_or_changed_its_channel_goes_by_the_channel_it_has_now() -> None:
    rows = Rows()
    rows.put("a", 1)
    rows.put("a", 2, rule_id="email")
    assert rows.take({}, limit=0) == []  # read, without a rule
    rows.catalog.apply(rule("a", SMS))
    rows.catalog.apply(rule("a", EMAIL))
    assert rows.take({SMS: Room(0, "p"), EMAIL: Room(1, "p")}) == ["a2"], "SMS are closed"
    assert rows.take(ALL) == ["a1"]


def test_a_row_without_a_rule_needs_no_room() -> None:
    rows = Rows()
    rows.put("a", 1)
    assert rows.take({}) == ["a1"]


@pytest.mark.usefixtures("small")
def test_a_blast_is_not_kept_in_memory_and_is_not_in_the_way() -> None:
    rows = Rows("a", "b")
    for number in range(300):
        rows.put("a", number)
    rows.put("b", 0, due=5)
    for _ in range(100):
        rows.take({})
    assert rows.ready.waiting(SMS) == {"a": 10, "b": 1}
    assert rows.take({SMS: Room(2, "p")}) == ["a0", "b0"]
    seen: list[str] = []
    for _ in range(300):
        seen += rows.take({SMS: Room(3, "p")})
        assert rows.ready.queued <= 11
    assert seen == [f"a{number}" for number in range(1, 300)]
    assert (rows.ready.queued, rows.ready.next_due()) == (0, None)


@pytest.mark.usefixtures("small")
def test_rows_that_come_back_are_not_kept_in_memory_either() -> None:
    rows = Rows("a")
    rows.put("a", 999, due=10)
    assert rows.take(ALL) == ["a999"]  # the cursor is past them
    for number in range(100):
        rows.put("a", number)
    assert rows.ready.waiting(SMS) == {"a": 10}
    seen: list[str] = []
    for _ in range(100):
        seen += rows.take({SMS: Room(3, "p")})
    assert sorted(seen) == sorted(f"a{number}" for number in range(100))


@pytest.mark.usefixtures("small")
def test_many_companies_share_what_memory_there_is() -> None:
    companies = [f"c{number}-" for number in range(60)]
    rows = Rows(*companies)
    for company in companies:
        for number in range(10):
            rows.put(company, number)
    for _ in range(1_000):
        rows.take({})
    assert rows.ready.queued <= 40 + 60 * 2
    seen: Counter[str] = Counter()
    for _ in range(1_000):
        seen.update(rows.take({SMS: Room(5, "p")}))
    assert (len(seen), set(seen.values())) == (600, {1})


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_row_is_taken_once_whatever_room_there_was(data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"SCAN": 3, "AHEAD": 2, "MOST": 12, "MANY": 5, "FEW": 1}.items():
            patch.setattr(ready, name, value)
        rows, now, put = Rows("a", "b"), 10, 0
        seen: Counter[str] = Counter()
        wanted: set[str] = set()
        for _ in range(data.draw(st.integers(1, 12))):
            now += 1
            for _ in range(data.draw(st.integers(0, 15))):
                company = data.draw(st.sampled_from("aab"))
                put += 1
                rows.put(
                    company, put, data.draw(st.integers(0, now + 3)), data.draw(st.sampled_from(Channel))
                )
                wanted.add(f"{company}{put}")
            rooms = {channel: Room(data.draw(st.integers(0, 4)), "p") for channel in Channel}
            seen.update(rows.take(rooms, data.draw(st.integers(1, 6)), now))
        for _ in range(2 * put + 20):
            seen.update(rows.take(ALL, 5, now + 100))
        assert set(seen) == wanted
        assert set(seen.values()) <= {1}
