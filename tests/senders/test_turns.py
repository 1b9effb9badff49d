from __future__ import annotations

from collections import Counter
from functools import partial

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Channel
from senders.lanes import Lane
from senders.pacing import Bucket
from senders.pauses import Pause, Pauses, pause_key
from senders.shares import Report, Shares
from senders.turns import Turns
from streams.domain.messages import Accepted
from streams.stages.ready import Room
from tests.senders.test_lanes import Way

SECOND = 1_000


def test_where_there_is_room_for_all_nobody_has_less() -> None:
    waits = {"a": 1, "b": 1}
    paced = Lane(Channel.SMS, [Way("a", Bucket(1.0, 2))], 10, waiting=lambda: waits)
    assert (paced.room(0), paced.wait(0)) == (Room(2, "a"), None)
    waits["c"] = 1
    assert (paced.room(0), paced.wait(0)) == (Room(2, "a", first=["a", "b"]), 100)
    free = Lane(Channel.SMS, [Way("a")], 1, waiting=lambda: waits)
    assert free.room(0) == Room(1, "a"), "what is under way comes back soon"


def test_who_has_waited_longest_goes_first() -> None:
    turns = Turns(Channel.SMS, {})
    for company in ("a", "b", "c"):
        turns.began(company, 0)
    assert turns.first(1, ["a", "b", "c"], ()) == ["a"]
    turns.began("a", 0)
    assert turns.first(1, ["a", "b", "c"], ()) == ["b"]
    assert turns.first(1, ["a", "b", "c", "new"], ()) == ["new"]
    assert turns.first(3, ["a", "b", "c", "y", "x"], ()) == ["x", "y", "b"]
    assert turns.first(1, ["a", "c"], ()) == ["c"], "b has nothing waiting any more"
    assert turns.first(2, ["a", "b", "c"], {"b"}) == ["c", "a"], "b may not"


def test_a_paused_company_and_one_without_tokens_take_nobodys_turn() -> None:
    pauses = Pauses()
    pauses.apply(pause_key(Channel.SMS, "a"), msgspec.json.encode(Pause(since=1)))
    lane = Lane(
        *(Channel.SMS, [Way("way", Bucket(1.0, 2))], 10, None, pauses),
        waiting=lambda: dict.fromkeys("abcd", 1),
        rates={"b": 60},
    )
    lane.begin("way", 0, "b")
    assert lane.room(0) == Room(1, "way", {"a": 0, "b": 0}, ["c"])


@given(st.lists(st.integers(1, 50), min_size=2, max_size=5), st.integers(1, 3))
def test_an_account_serves_companies_evenly(blast: list[int], tokens: int) -> None:
    """Whatever they have waiting, and wherever it lies: nobody waits for another's second turn."""
    waiting = {f"c{number}": count for number, count in enumerate(blast)}
    lane = Lane(Channel.SMS, [Way("a", Bucket(tokens, tokens))], 100, waiting=lambda: waiting)
    served: Counter[str] = Counter()
    for second in range(sum(blast)):
        now = second * SECOND
        room = lane.room(now)
        first = room.first if room.first is not None else waiting
        limits = {company: room.count if company in first else 0 for company in waiting}
        for _ in range(room.count):
            may = [one for one in waiting if limits[one] > 0]
            if not may:
                break
            company = min(may, key=lambda one: served[one])  # a partition takes companies in turns too
            limits[company] -= 1
            waiting[company] -= 1
            served[company] += 1
            if not waiting[company]:
                del waiting[company], limits[company]
            lane.end(lane.begin("a", now, company), Accepted("a", "1"), now)
        still = [served[company] for company in waiting]
        assert max(still, default=0) - min(still, default=0) <= tokens
    assert served == Counter({f"c{number}": count for number, count in enumerate(blast)})


def test_a_company_with_a_rate_has_its_own_tokens() -> None:
    rates = {"slow": 60}
    waits = {"slow": 10, "fast": 10}
    lane = Lane(Channel.SMS, [Way("a")], 10, waiting=lambda: waits, rates=rates)
    assert lane.room(0).companies == {"slow": 1}
    first = lane.begin("a", 0, "slow")
    assert lane.room(0).companies == {"slow": 0}
    assert lane.wait(0) == SECOND, "then it is worth looking again"
    lane.end(first, Accepted("a", "1"), 0)
    assert lane.room(0).companies == {"slow": 0}, "an answer brings no token"
    assert lane.room(SECOND).companies == {"slow": 1}
    lane.end(lane.begin("a", SECOND, "slow"), None, SECOND)
    assert lane.room(SECOND).companies == {"slow": 1}, "it was withdrawn"
    rates["slow"] = 600
    assert lane.room(2 * SECOND).companies == {"slow": 3}, "the new rate, a quarter of a second's worth"
    del rates["slow"]
    assert lane.room(2 * SECOND).companies == {}


def test_over_all_workers_a_company_keeps_to_its_rate() -> None:
    workers = {name: Shares(name) for name in ("one", "two")}
    waits = {"one": {"slow": 3}, "two": {"slow": 1}}
    lanes = {
        name: Lane(
            Channel.SMS, [Way("a")], 10, shares, waiting=partial(waits.__getitem__, name), rates={"slow": 60}
        )
        for name, shares in workers.items()
    }
    sent: Counter[str] = Counter()
    for window in range(64):
        for name, lane in lanes.items():
            report = Report(name, window, lane.backlog())
            assert report.backlog == {"sms/company/slow": waits[name]["slow"]}
            for shares in workers.values():
                shares.saw(report)
        for now in range(window * SECOND, (window + 1) * SECOND, SECOND // 20):
            for name, lane in lanes.items():
                for _ in range(lane.room(now).companies["slow"]):
                    lane.end(lane.begin("a", now, "slow"), Accepted("a", "1"), now)
                    sent[name] += 1
    assert 58 <= sent.total() <= 62
    assert sent["one"] > 2 * sent["two"], "by what waits"
