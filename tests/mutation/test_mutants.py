"""The mistakes that are put into a module."""

from __future__ import annotations

import pytest

from tests.mutation.mutants import mutants


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("return a < b <= c", ["a <= b <= c", "a < b < c", "return None"]),
        ("return a and not b", ["a or not b", "b", "return None"]),
        ("return a + b * 2", ["a - b * 2", "b // 2", "3", "1", "return None"]),
        ("return True", ["False"]),
        ("return", []),
        ("return None", []),
        ("a = b.c", ["pass"]),
        ("if a: continue", ["not a", "pass"]),
        ("while a is None: break", ["a is not None", "pass"]),
        ("a[-1] = 'text'", ["pass", "1", "2", "0"]),
        ("raise ValueError('no')", ["pass"]),
        ("assert a < 1", []),
        ("import os", []),
        ("'a docstring'", []),
        ("b: int | None", []),
    ],
)
def test_the_mistakes_of_a_line(line: str, expected: list[str]) -> None:
    source = f"@cache(1)\ndef f(a: int | str) -> int | None:\n    for x in y:\n        {line}\n"
    found = [mutant for mutant in mutants(source) if mutant.line == 4]
    assert sorted(mutant.became for mutant in found) == sorted(expected)
    assert len(mutants(source)) == len(found)
    assert all(mutant.source != source for mutant in found)


def test_only_one_mistake_at_a_time_and_nothing_removed_outside_of_functions() -> None:
    source = "A = 1\nB = A + 1"
    assert [mutant.source for mutant in mutants(source)] == [
        "A = 2\nB = A + 1",
        "A = 0\nB = A + 1",
        "A = 1\nB = A - 1",
        "A = 1\nB = A + 2",
        "A = 1\nB = A + 0",
    ]
