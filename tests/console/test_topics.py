"""``carillon topics`` and settings that are wrong."""

from __future__ import annotations

import json

import pytest

from streams.kafka.topics import topic_plan
from streams.settings import Settings
from tests.console.conftest import PLANNED, Carillon


@pytest.mark.embedded
def test_topics_are_checked_and_a_wrong_count_is_told(
    command_broker: str, carillon: Carillon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARILLON_BROKER", command_broker)
    monkeypatch.setenv("CARILLON_TOPIC_PREFIX", PLANNED)
    monkeypatch.setenv("CARILLON_PARTITIONS", "3")
    created = carillon("topics", "create")
    assert created.exit_code == 0, created.output
    assert f"0 topics created, {len(topic_plan(Settings()))} existed" in created.output
    assert carillon("topics", "check").exit_code == 0
    wrong = carillon("topics", "check", "--set", "partitions=5")
    assert wrong.exit_code == 1
    timers = next(line for line in wrong.output.splitlines() if line.startswith(f"{PLANNED}timers:"))
    assert "it has 3 partitions, but the setting partitions says 5" in timers
    assert "Set partitions back" in timers
    lines = carillon("topics", "check", "--set", "partitions=5", "--json").stdout.splitlines()
    assert {json.loads(line)["topic"] for line in lines} >= {PLANNED + "delivery-log"}


@pytest.mark.embedded
def test_missing_topics_are_named_with_what_to_do(command_broker: str, carillon: Carillon) -> None:
    options = ("--set", f"broker={command_broker}", "--set", "topic_prefix=none-")
    missing = carillon("topics", "check", *options)
    assert missing.exit_code == 1
    assert "none-rules: the topic does not exist: carillon topics create" in missing.output
    feed = carillon("feed", "order/1", *options)
    assert feed.exit_code == 1
    assert "carillon topics create" in feed.output


def test_the_plan_is_shown_without_a_broker(carillon: Carillon) -> None:
    shown = carillon("topics", "list", "--set", "partitions=12", "--set", "broker=127.0.0.1:1")
    assert shown.exit_code == 0
    assert ["timers", "12", "1", "14", "days", "Carillon"] in [
        line.split() for line in shown.output.splitlines()
    ]
    names = [json.loads(line)["name"] for line in carillon("topics", "list", "--json").stdout.splitlines()]
    assert names == [topic.name for topic in topic_plan(Settings())]


@pytest.mark.parametrize("command", [("worker",), ("topics", "check"), ("feed", "order/1")])
def test_a_wrong_setting_stops_the_start_with_its_name_and_what_is_expected(
    carillon: Carillon, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CARILLON_PARTITIONS", "many")
    monkeypatch.setenv("CARILLON_BROKR", "localhost:9092")
    wrong = carillon(*command)
    assert wrong.exit_code == 1
    assert "CARILLON_PARTITIONS: expected a whole number, got 'many'" in wrong.output
    assert "CARILLON_BROKR: there is no such setting (did you mean CARILLON_BROKER?)" in wrong.output
    monkeypatch.delenv("CARILLON_PARTITIONS")
    monkeypatch.delenv("CARILLON_BROKR")
    assert (
        "smtp_tls: expected one of starttls, tls, none, got 'maybe'"
        in carillon(*command, "--set", "smtp_tls=maybe").output
    )
    pair = carillon(*command, "--set", "smtp_tls")
    assert pair.exit_code == 2
    assert "expected NAME=VALUE, got 'smtp_tls'" in pair.output


@pytest.mark.embedded
def test_a_changelog_that_has_no_owner_is_given_up_once(command_broker: str, carillon: Carillon) -> None:
    options = ("--set", f"broker={command_broker}", "--set", f"topic_prefix={PLANNED}")
    done = carillon("topics", "give-up", "timers-changelog", "2", *options)
    assert done.exit_code == 0, done.output
    assert f"{PLANNED}timers-changelog[2]: what it held is given up" in done.output
    again = carillon("topics", "give-up", "timers-changelog", "2", *options)
    assert again.exit_code == 1
    assert f"{PLANNED}timers-changelog[2] is in use" in again.output
    missing = carillon("topics", "give-up", "timers-changelog", "99", *options)
    assert missing.exit_code == 1
    assert "timers-changelog[99]" in missing.output
