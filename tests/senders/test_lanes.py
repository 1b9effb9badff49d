from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from schemas.records import Channel
from senders.breaker import FAILURES, SHORTEST, State
from senders.lanes import Lane
from senders.pacing import Bucket
from senders.pauses import Pause, Pauses, pause_key
from senders.shares import Report, Shares
from senders.turns import WEIGHT
from streams.domain.messages import Accepted, Inquiry, Message, NotFound, Outcome, RetryAt
from streams.stages.ready import Room


@dataclass
class Way:
    """A provider account that nobody calls here."""

    name: str
    bucket: Bucket | None = None
    channel: Channel = field(default=Channel.SMS)

    async def send(self, message: Message) -> Outcome:
        return Accepted(self.name, "1")

    async def inquire(self, message: Message, since: int, until: int) -> Inquiry:
        return NotFound(self.name)

    async def close(self) -> None:
        pass


def lane(*ways: Way, limit: int = 10, ahead: int = 0) -> Lane:
    return Lane(Channel.SMS, ways, limit, ahead=ahead)


def fail(lane: Lane, provider: str, now: int = 0) -> None:
    for _ in range(FAILURES):
        lane.end(lane.begin(provider, now), RetryAt(provider, "unreachable"), now)


def test_room_is_what_is_not_under_way() -> None:
    one = lane(Way("a"), limit=2)
    assert one.room(0) == Room(2, "a")
    calls = [one.begin("a", 0), one.begin("a", 0)]
    assert one.room(0) == Room(0, "a")
    one.end(calls[0], Accepted("a", "1"), 0)
    assert one.room(0) == Room(1, "a")


def test_what_begins_ahead_comes_by_half_of_it_or_more() -> None:
    """A round for each answer would cost about as much as one for all of them."""
    one = lane(Way("a"), limit=4, ahead=6)
    calls = [one.begin("a", 0) for _ in range(10)]
    rooms = []
    for call in calls:
        one.end(call, Accepted("a", "1"), 0)
        rooms.append(one.room(0).count)
    assert rooms == [0, 0, 3, 4, 5, 6, 7, 8, 9, 10]


def test_what_waited_for_its_turn_is_held_back_while_its_account_is_out() -> None:
    one = lane(Way("a"), ahead=10)
    begun = one.begin("a", 0)
    assert not one.held_back(begun, 0)
    fail(one, "a")
    assert one.held_back(begun, 0)
    probe = one.begin("a", SHORTEST)
    assert one.held_back(begun, SHORTEST), "one call at a time finds out"
    assert not one.held_back(probe, SHORTEST)
    one.end(probe, Accepted("a", "1"), SHORTEST)
    assert not one.held_back(begun, SHORTEST)


def test_what_waited_for_its_turn_is_held_back_when_it_is_paused_meanwhile() -> None:
    pauses = Pauses()
    one = Lane(Channel.SMS, [Way("a")], 10, pauses=pauses)
    begun = {company: one.begin("a", 0, company) for company in ("acme", "other")}
    raw = msgspec.json.encode(Pause(since=1))
    pauses.apply(pause_key(Channel.SMS, "acme"), raw)
    assert [bool(one.held_back(call, 0)) for call in begun.values()] == [True, False]
    pauses.apply(pause_key(Channel.SMS), raw)
    assert all(one.held_back(call, 0) for call in begun.values())


def test_tokens_are_taken_with_the_room_and_given_back_by_what_was_withdrawn() -> None:
    one = lane(Way("a", Bucket(1.0, burst=2)))
    first, _ = one.begin("a", 0), one.begin("a", 0)
    assert (one.room(0), one.wait(0)) == (Room(0, "a"), 1000)
    one.end(first, None, 0)
    assert (one.room(0), one.wait(0)) == (Room(1, "a"), None)


def test_a_channel_whose_only_account_is_out_has_no_room_and_then_one_probe() -> None:
    one = lane(Way("a"))
    fail(one, "a")
    assert (one.room(0), one.wait(0), one.states(0)) == (Room(0, "a"), SHORTEST, {"a": State.OPEN})
    assert one.room(SHORTEST) == Room(1, "a")
    probe = one.begin("a", SHORTEST)
    assert (one.room(SHORTEST), one.wait(SHORTEST)) == (Room(0, "a"), None)
    one.end(probe, Accepted("a", "1"), SHORTEST)
    assert one.room(SHORTEST) == Room(10, "a")


def test_the_second_steps_in_while_the_first_is_out() -> None:
    two = lane(Way("a"), Way("b"))
    assert two.room(0) == Room(10, "a")
    fail(two, "a")
    assert two.room(0) == Room(10, "b")
    assert two.room(SHORTEST) == Room(1, "a"), "one probes"
    probe = two.begin("a", SHORTEST)
    assert two.room(SHORTEST) == Room(9, "b"), "while the others go on"
    two.end(probe, Accepted("a", "1"), SHORTEST)
    assert two.room(SHORTEST) == Room(10, "a")


def test_what_the_first_does_not_take_goes_elsewhere_at_once_when_it_is_out() -> None:
    """In low traffic one message might be every probe, and wait for the first account's return."""
    two, refused = lane(Way("a"), Way("b")), RetryAt("a", "unreachable")
    ends = [two.end(two.begin("a", 0), refused, 0) for _ in range(FAILURES)]
    assert ends == [False] * (FAILURES - 1) + [True], "as soon as its breaker is open"
    assert two.end(two.begin("a", SHORTEST), refused, SHORTEST), "a probe that failed"
    assert not two.end(two.begin("b", SHORTEST), RetryAt("b", "unreachable"), SHORTEST), "b still works"
    assert not two.end(two.begin("a", SHORTEST), None, SHORTEST)
    fail(two, "b", SHORTEST)
    assert not two.end(two.begin("b", SHORTEST), RetryAt("b", "unreachable"), SHORTEST), "nobody is left"
    one = lane(Way("a"))
    fail(one, "a")
    assert not one.end(one.begin("a", SHORTEST), refused, SHORTEST)


def test_the_second_is_not_for_what_the_first_is_only_too_slow_for() -> None:
    two = lane(Way("a", Bucket(1.0)), Way("b"))
    two.begin("a", 0)
    assert two.room(0) == Room(0, "a")


def test_nobody_is_left() -> None:
    two = lane(Way("a"), Way("b"))
    fail(two, "a")
    fail(two, "b", 500)
    assert (two.room(500), two.wait(500)) == (Room(0, "a"), SHORTEST - 500)


def test_what_another_account_says_is_not_this_ones() -> None:
    """A company's mailbox and the service's mail server are both the e-mail channel."""
    one = lane(Way("smtp"))
    for _ in range(FAILURES * 2):
        one.end(one.begin("smtp", 0), RetryAt("gmail", "account", pause_channel=True), 0)
    assert one.room(0) == Room(10, "smtp")


def test_who_has_it_is_asked() -> None:
    two = lane(Way("a"), Way("b"))
    asked = [two.sender(name).name for name in ("b", "a", "", "gone")]
    assert asked == ["b", "a", "a", "a"]


def test_what_is_paused_has_no_room() -> None:
    pauses = Pauses()
    one = Lane(Channel.SMS, [Way("a")], 10, pauses=pauses)
    raw = msgspec.json.encode(Pause(since=1))
    pauses.apply(pause_key(Channel.SMS, "acme"), raw)
    assert (one.room(0), one.states(0)) == (Room(10, "a", {"acme": 0}), {"a": "closed"})
    pauses.apply(pause_key(Channel.SMS), raw)
    assert (one.room(0), one.states(0)) == (Room(0, "a"), {"a": "paused"})
    pauses.apply(pause_key(Channel.SMS), None)
    assert one.room(0).count == 10


def test_a_rate_is_shared_and_what_waits_for_it_is_told() -> None:
    shares = Shares("me")
    waits = {"acme": 100_000, "small": 1}
    one = Lane(Channel.SMS, [Way("a", Bucket(2.0, 1)), Way("b")], 10, shares, waiting=lambda: waits)
    assert one.backlog() == {"sms/a": 2 * WEIGHT}, "companies, not messages"
    assert one.room(0) == Room(0, "a"), "nobody has told yet that we are there"
    for window in range(5):
        shares.saw(Report("me", window, {}))
        shares.saw(Report("other", window, {}))
    assert one.room(4_000) == Room(1, "a", first=["acme"]), "one of the two has its turn"
