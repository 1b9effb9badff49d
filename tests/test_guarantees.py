"""``docs/guarantees.md`` names tests; each of them exists, and each promise has all that the page is for."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "guarantees.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
NAMED = sorted(set(re.findall(r"`(tests/[\w/.]+)::(\w+)`", PAGE)))


@pytest.mark.parametrize(("file", "name"), NAMED, ids=lambda value: value.rpartition("/")[2])
def test_the_test_exists(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    functions = {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert name in functions


def test_every_promise_is_there_in_order() -> None:
    promises = [title.split()[0] for title in SECTIONS if re.match(r"P\d ", title)]
    assert promises == [f"P{number}" for number in range(1, 9)]


@pytest.mark.parametrize("title", SECTIONS)
def test_a_promise_says_what_it_takes_what_it_is_not_and_what_shows_it(title: str) -> None:
    section = SECTIONS[title]
    for part in ("**Guaranteed.**", "**It takes** ", "**Not promised.**", "**Shown by**"):
        assert section.count(part) == 1, part
    assert len(re.findall(r"^- `tests/", section, re.MULTILINE)) >= 3


def test_files_that_are_named_exist() -> None:
    for path in re.findall(r"`((?:tests|streams)/[\w/.]+\.py)`", PAGE):
        assert (ROOT / path).exists(), path
    for link in re.findall(r"\]\(([\w/.-]+\.md)\)", PAGE):
        assert (ROOT / "docs" / link).exists(), link
