from __future__ import annotations

from agents.health import Stalls


def test_what_does_not_move_although_it_has_to_is_found_and_the_rest_is_not() -> None:
    stalls = Stalls(longest_gap=10)
    for now in range(0, 31, 5):
        busy = {"orders[0]": 17, "orders[1]": now, "leads[0]": 3}
        if now > 20:
            del busy["leads[0]"]  # nothing left to do
        stalls.saw(now, busy)
    (found,) = stalls.longer_than(30)
    assert (found.what, found.place, found.began, found.seconds) == ("orders[0]", "17", 0, 30)
    assert [stall.what for stall in stalls.longer_than(1)] == ["orders[0]"]
    assert stalls.seconds("orders[1]") == 0
    assert stalls.seconds("leads[0]") == 0


def test_one_step_begins_the_count_anew() -> None:
    stalls = Stalls(longest_gap=10)
    stalls.saw(0, {"orders[0]": 17})
    stalls.saw(9, {"orders[0]": 17})
    stalls.saw(10, {"orders[0]": 18})
    assert not stalls.longer_than(0.1)
    stalls.saw(15, {"orders[0]": 18})
    assert stalls.seconds("orders[0]") == 5


def test_hours_in_which_nobody_looked_count_for_little() -> None:
    """The brokers were away, or the machine slept: the partition had no chance."""
    stalls = Stalls(longest_gap=10)
    stalls.saw(0, {"orders[0]": 17})
    stalls.saw(7200, {"orders[0]": 17})
    assert stalls.seconds("orders[0]") == 10
    assert stalls.age("orders[0]", 7200) == 7200


def test_waiting_for_somebody_else_is_no_standstill() -> None:
    stalls = Stalls(longest_gap=10)
    stalls.saw(0, {"orders[0]": 17})
    for now in range(1, 100):
        stalls.saw(now, {"orders[0]": 17}, excused=True)
    assert stalls.seconds("orders[0]") == 0
    stalls.saw(100, {"orders[0]": 17})  # the look before was excused, this one is not
    assert stalls.seconds("orders[0]") == 1
