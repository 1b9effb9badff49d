from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console import shop_forms as forms
from schemas.records import Interval, Unit


def span(opens: int, closes: int) -> Interval:
    return Interval(opens=opens, closes=closes)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("24 hours", (24, Unit.HOURS)),
        ("1 hour", (1, Unit.HOURS)),
        ("1 day", (1, Unit.DAYS)),
        (" 3 Days ", (3, Unit.DAYS)),
        ("90minutes", (90, Unit.MINUTES)),
        ("0 minutes", (0, Unit.MINUTES)),
    ],
)
def test_delays(text: str, expected: tuple[int, Unit]) -> None:
    assert forms.parse_delay(text) == expected


@pytest.mark.parametrize(
    "text", ["", "soon", "hours", "-1 hours", "1.5 hours", "24", "1 hour 5 minutes", "٣ hours"]
)
def test_no_delays(text: str) -> None:
    with pytest.raises(ValueError, match="is no time; write a number and a unit, such as '24 hours'"):
        forms.parse_delay(text)


@pytest.mark.parametrize("text", ["1 week", "10 seconds", "10 ms", "1 m"])
def test_delays_have_three_units(text: str) -> None:
    with pytest.raises(ValueError, match=f"'{text}' is no delay; write minutes, hours or days"):
        forms.parse_delay(text)


@given(st.integers(0, 10_000), st.sampled_from(Unit))
def test_delays_come_back(amount: int, unit: Unit) -> None:
    assert forms.parse_delay(forms.format_delay(amount, unit)) == (amount, unit)


def test_one_is_singular() -> None:
    assert forms.format_delay(1, Unit.DAYS) == "1 day"
    assert forms.format_delay(2, Unit.DAYS) == "2 days"
    assert forms.format_length(3_600_000) == "1 hour"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10 minutes", 600_000),
        ("24 hours", 86_400_000),
        ("1 day", 86_400_000),
        ("90 seconds", 90_000),
        ("5 ms", 5),
        ("0 hours", 0),
    ],
)
def test_lengths(text: str, expected: int) -> None:
    assert forms.parse_length(text) == expected


def test_no_lengths() -> None:
    with pytest.raises(ValueError, match="'1 week' is no length of time; write seconds, minutes, hours or"):
        forms.parse_length("1 week")


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (0, "0 hours"),
        (86_400_000, "24 hours"),
        (5_400_000, "90 minutes"),
        (61_000, "61 seconds"),
        (1, "1 ms"),
    ],
)
def test_lengths_are_written_in_the_largest_whole_unit(length: int, text: str) -> None:
    assert forms.format_length(length) == text


@given(st.integers(0, 10**11))
def test_lengths_come_back(length: int) -> None:
    assert forms.parse_length(forms.format_length(length)) == length


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("09:00-18:00", (span(540, 1080),)),
        ("9:00 - 12:30,13:00-18:00", (span(540, 750), span(780, 1080))),
        ("22:00-02:00", (span(1320, 120),)),
        ("00:00-24:00", (span(0, 1440),)),
        ("00:00-00:00", (span(0, 0),)),
        ("23:59-00:01", (span(1439, 1),)),
        ("closed", ()),
        (" Closed", ()),
    ],
)
def test_intervals(text: str, expected: tuple[Interval, ...]) -> None:
    assert forms.parse_intervals(text) == expected


@pytest.mark.parametrize("text", ["", "9-18", "09:00", "09:00-18:00-19:00", "09:00-18:00,", "9am-6pm"])
def test_no_intervals(text: str) -> None:
    with pytest.raises(ValueError, match="is no opening time; write 'HH:MM-HH:MM', such as '09:00-18:00'"):
        forms.parse_intervals(text)


@pytest.mark.parametrize("text", ["24:00-08:00", "09:60-10:00", "09:00-10:60", "09:00-24:01", "25:00-26:00"])
def test_no_times_of_the_day(text: str) -> None:
    with pytest.raises(ValueError, match=f"'{text}' is not a time of the day; the last minute is 23:59"):
        forms.parse_intervals(text)


minutes = st.integers(0, 1439)
intervals = st.builds(span, minutes, st.integers(0, 1440))
days_hours = st.lists(intervals, max_size=3).map(tuple)


@given(days_hours)
def test_intervals_come_back(given_intervals: tuple[Interval, ...]) -> None:
    assert forms.parse_intervals(forms.format_intervals(given_intervals)) == given_intervals


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mon", (0,)),
        ("Sunday", (6,)),
        ("mon-fri", (0, 1, 2, 3, 4)),
        ("fri - mon", (4, 5, 6, 0)),
        ("tue-tue", (1,)),
        ("mon, wednes ,sat-sun", (0, 2, 5, 6)),
    ],
)
def test_days(text: str, expected: tuple[int, ...]) -> None:
    assert forms.parse_days(text) == expected


@pytest.mark.parametrize("text", ["", "mo", "foo", "mon-", "-fri", "mon-fri-sun", "mon,", "mondays"])
def test_no_days(text: str) -> None:
    with pytest.raises(ValueError, match="is no day of the week; write mon, tue, wed, thu, fri, sat or sun"):
        forms.parse_days(text)


def test_a_week_in_one_text() -> None:
    assert forms.parse_week("mon-fri: 09:00-12:00, 13:00-18:00, sat: 10:00-14:00") == [
        ("mon-fri", "09:00-12:00, 13:00-18:00"),
        ("sat", "10:00-14:00"),
    ]
    with pytest.raises(
        ValueError, match="'09:00-18:00' names no day; write 'mon-fri: 09:00-18:00, sat: 10:00"
    ):
        forms.parse_week("09:00-18:00")


def test_a_week_is_written_in_ranges() -> None:
    day, short = (span(540, 1080),), (span(600, 840),)
    assert forms.format_week((day, day, day, (), day, short, short)) == {
        "mon-wed": "09:00-18:00",
        "fri": "09:00-18:00",
        "sat-sun": "10:00-14:00",
    }
    assert forms.format_week(((),) * 7) == {}


@given(st.tuples(*[days_hours] * 7))
def test_weeks_come_back(week: tuple[tuple[Interval, ...], ...]) -> None:
    read: list[tuple[Interval, ...]] = [()] * 7
    for days, text in forms.format_week(week).items():
        for day in forms.parse_days(days):
            read[day] = forms.parse_intervals(text)
    assert tuple(read) == week
