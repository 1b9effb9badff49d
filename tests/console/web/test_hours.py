"""The picture of a week."""

from __future__ import annotations

from console.web.hours import bar
from schemas.records import Hours, Interval


def test_what_goes_over_midnight_goes_on_the_next_day() -> None:
    night = Hours(weekdays=((), (), (), (), (), (), (Interval(opens=1320, closes=120),)))
    assert '<rect x="1320" y="0" width="120"' in bar(night, 6)
    assert '<rect x="0" y="0" width="120"' in bar(night, 0)
    assert "rect" not in bar(night, 1)


def test_around_the_clock() -> None:
    whole = Hours(weekdays=(*(((Interval(opens=0, closes=0),),) * 7),))
    assert '<rect x="0" y="0" width="1440"' in bar(whole, 3)
    assert bar(whole, 3).count("rect") == 2  # opened and closed, once
