from __future__ import annotations

from agents.unread import Spot, Unread, Want

ORDERS = [Spot("orders", number) for number in range(3)]
TIMERS = Spot("timers", 0)
CONSENTS = Spot("consents", 0)


def test_a_group_that_is_up_to_date_passes_at_once() -> None:
    unread = Unread()
    unread.input_ends({ORDERS[0]: 5, ORDERS[1]: 0, ORDERS[2]: 9})
    unread.inputs({ORDERS[0]: 5, ORDERS[2]: 12})
    unread.own_ends({TIMERS: 7})
    unread.own({TIMERS: 7})
    assert unread.done


def test_nothing_anywhere_is_nothing_to_wait_for() -> None:
    unread = Unread()
    unread.input_ends({ORDERS[0]: 0})
    assert unread.want is Want.OWN_ENDS
    unread.own_ends({TIMERS: 0})
    assert unread.done


def test_every_partition_is_waited_for_also_one_of_which_nothing_is_known() -> None:
    unread = Unread()
    unread.input_ends({ORDERS[0]: 5, ORDERS[1]: 3, ORDERS[2]: 9})
    unread.inputs({ORDERS[0]: 5, ORDERS[2]: 8})
    assert unread.want is Want.INPUTS
    assert unread.left() == {ORDERS[1]: (None, 3), ORDERS[2]: (8, 9)}
    assert str(unread) == "orders[1] at an unknown offset of 3, orders[2] at 8 of 9"
    unread.inputs({ORDERS[1]: 3})
    assert unread.left() == {ORDERS[2]: (8, 9)}
    unread.inputs({ORDERS[2]: 9})
    assert unread.left() == {}


def test_what_the_inputs_caused_is_waited_for_as_well() -> None:
    """The command lies above the end that the timers had at the assignment: they are asked for it only when
    the inputs are through."""
    unread = Unread()
    unread.input_ends({ORDERS[0]: 1})
    unread.inputs({ORDERS[0]: 1})
    assert unread.want is Want.OWN_ENDS
    unread.own_ends({TIMERS: 8, CONSENTS: 4})
    unread.own({TIMERS: 7, CONSENTS: 4})
    assert not unread.done
    assert unread.left() == {TIMERS: (7, 8)}
    unread.own({TIMERS: 8})
    assert unread.done


def test_many_are_not_all_named() -> None:
    unread = Unread()
    unread.input_ends({Spot("orders", number): 1 for number in range(64)})
    assert str(unread).endswith("orders[4] at an unknown offset of 1 and 59 more")
    assert str(Unread()) == "not known yet: the ends of all partitions of the inputs"
