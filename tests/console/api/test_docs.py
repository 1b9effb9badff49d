"""``docs/console.md``: its commands are sent as they stand there, and what it names is real."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path

from prometheus_client import generate_latest

from console.api.metrics import ConsoleMetrics
from console.service.bulk import Action, Result
from streams.settings import Settings, environment_name
from tests.console.api.conftest import Answer, Spot

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "console.md").read_text("utf-8")
HOST = "http://127.0.0.1:6068/api/v1"


def curl(spot: Spot, line: str) -> Answer:
    """As curl would send it; knows the options that the page uses."""
    words = iter(shlex.split(line.replace("$TOKEN", "carillon_editor")))
    assert next(words) == "curl"
    method, url, data = "GET", "", None
    headers: dict[str, str] = {}
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        elif word == "-d":
            data = next(words).encode()
        else:
            assert word.startswith(HOST), word
            url = word.removeprefix(HOST)
    return spot.call(method, url, raw=data, headers=headers)


def test_every_command_of_the_page_works(shared: Spot) -> None:
    lines = re.findall(r"^curl .*$", PAGE, re.MULTILINE)
    assert len(lines) >= 10
    for line in lines:
        answer = curl(shared, line)
        # This console has no provider, and its editor no number.
        good = (422,) if "/test-messages" in line else (200, 201, 204)
        assert answer.status in good, (line, answer)
        if "/rules/bulk" not in line and "?" in line and "audit" not in line:
            assert answer.json["items"], line


def test_its_pictures_are_there() -> None:
    named = re.findall(r"\]\((images/[\w.]+)\)", PAGE)
    there = (DOCS / "images").glob("*")
    assert sorted(named) == sorted(f"images/{one.name}" for one in there)
    assert named
    for name in named:
        picture = (DOCS / name).read_bytes()
        assert picture.startswith(b"\x89PNG"), name
        assert len(picture) < 200_000, name


def test_settings_metrics_codes_and_results_are_real() -> None:
    names = {environment_name(item.name) for item in fields(Settings)}
    assert set(re.findall(r"CARILLON_[A-Z_]+", PAGE)) <= names
    metrics = generate_latest(ConsoleMetrics().registry).decode()
    shown = set(re.findall(r"`(carillon_console_\w+)(?:\{.*?\})?`", PAGE))
    known = re.findall(r"^# TYPE (carillon_console_\w+?)(?:_total|_created)? ", metrics, re.MULTILINE)
    assert shown == set(known)
    for word in (*Action, *Result):
        assert f"`{word}`" in PAGE
