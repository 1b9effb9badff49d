"""The page for those who set it up, against the code."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from prometheus_client import generate_latest

from agents.gateway.metrics import GatewayMetrics
from streams.domain.bounces import ROWS
from streams.domain.keywords import HELP, START, STOP
from streams.domain.links import Purpose
from streams.settings import Settings, environment_name

PAGE = (Path(__file__).parents[3] / "docs" / "gateway.md").read_text("utf-8")


def test_every_word_is_in_the_table() -> None:
    rows = [line.strip("| ").split(" | ") for line in PAGE.split("## Words")[1].splitlines() if "| " in line]
    told = [[set(cell.split(", ")) for cell in row[1:]] for row in rows[2:8]]
    assert told == [[set(table[language]) for table in (STOP, START, HELP)] for language in STOP]


def test_settings_paths_metrics_and_codes_are_real() -> None:
    names = {environment_name(item.name) for item in fields(Settings)}
    assert set(re.findall(r"CARILLON_[A-Z_]+", PAGE)) <= names
    for purpose in Purpose:
        assert f"`POST {purpose}<token>`" in PAGE
    metrics = generate_latest(GatewayMetrics().registry).decode()
    shown = set(re.findall(r"`(carillon_\w+)(?:\{.*?\})?`", PAGE.split("| metric | |")[1]))
    known = re.findall(r"^# HELP (carillon_\w+)", metrics, re.MULTILINE)
    assert shown == {name for name in known if not name.endswith("_created")}
    for row, _ in ROWS:
        if not row.endswith(".") and row not in ("5.1.9",):
            assert row in PAGE
