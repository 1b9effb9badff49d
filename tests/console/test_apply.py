"""``carillon apply``, ``export`` and ``rules`` against a broker: what is published is what the file says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import console.apply
import console.rules
from console.cli import main
from streams.kafka.offsets import end_offsets
from streams.kafka.topics import REFERENCE_TOPICS
from streams.settings import Settings
from tests.console.conftest import Carillon

SHOP = Path(__file__).parents[2] / "examples" / "shop.yaml"
MARIA = "maria@spokeandwheel.example"


def written(settings: Settings) -> dict[str, int]:
    """Records ever written, by reference topic."""
    names = [settings.topic_prefix + name for name in REFERENCE_TOPICS]
    ends = end_offsets(settings.broker, {}, names)
    return {name.removeprefix(settings.topic_prefix): sum(ends[name].values()) for name in names}


@pytest.mark.embedded
def test_a_shop_is_applied_once_changed_and_exported(
    own_topics: Settings, carillon: Carillon, tmp_path: Path
) -> None:
    dry = carillon("apply", str(SHOP), "--as", MARIA, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "+ rule order-ready" in dry.output
    assert "nothing was written" in dry.output
    assert set(written(own_topics).values()) == {0}

    first = carillon("apply", str(SHOP), "--as", MARIA)
    assert first.exit_code == 0, first.output
    assert "published: 40 new" in first.output
    before = written(own_topics)
    assert before["rules"] == 13

    second = carillon("apply", str(SHOP), "--as", MARIA)
    assert second.exit_code == 0
    assert "no changes" in second.output
    assert written(own_topics) == before

    edited = tmp_path / "shop.yaml"
    edited.write_text(SHOP.read_text("utf-8").replace("before: 24 hours", "before: 48 hours"), "utf-8")
    changed = carillon("apply", str(edited), "--as", MARIA, "--yes")
    assert "~ rule appointment-in-24-hours\n    before: 24 hours → 48 hours\n" in changed.output
    assert "published: 1 changed" in changed.output
    assert written(own_topics) == before | {"rules": 14}

    exported = carillon("export", "spoke-and-wheel")
    assert exported.exit_code == 0
    copy = tmp_path / "exported.yaml"
    copy.write_text(exported.stdout, "utf-8")
    assert "before: 48 hours" in exported.stdout
    assert "no changes" in carillon("apply", str(copy), "--as", MARIA).output


@pytest.mark.embedded
def test_rules_are_listed_deleted_and_come_back(own_topics: Settings, carillon: Carillon) -> None:
    assert carillon("apply", str(SHOP), "--as", MARIA).exit_code == 0
    listed = carillon("rules", "list", "spoke-and-wheel")
    assert "status changed to order-closed, 1 hour later" in listed.output
    rules = [
        json.loads(line)
        for line in carillon("rules", "list", "spoke-and-wheel", "--json").stdout.splitlines()
    ]
    assert len(rules) == 13
    assert {rule["changed_by"] for rule in rules} == {MARIA}

    refused = carillon("rules", "delete", "spoke-and-wheel", "order-moved", "order-mvoed")
    assert refused.exit_code == 1
    assert "no rule order-mvoed" in refused.output
    assert written(own_topics)["rules"] == 13

    assert carillon("rules", "delete", "spoke-and-wheel", "order-moved", "--yes").exit_code == 0
    assert "order-moved" not in carillon("rules", "list", "spoke-and-wheel").output
    again = carillon("apply", str(SHOP), "--as", MARIA)
    assert "+ rule order-moved" in again.output
    assert "published: 1 new" in again.output

    unknown = carillon("rules", "list", "nobody")
    assert unknown.exit_code == 1
    assert "there are: spoke-and-wheel" in unknown.output


@pytest.mark.embedded
def test_what_the_file_lacks_goes_only_with_prune(
    own_topics: Settings, carillon: Carillon, tmp_path: Path
) -> None:
    assert carillon("apply", str(SHOP), "--as", MARIA).exit_code == 0
    text = SHOP.read_text("utf-8")
    without = tmp_path / "shop.yaml"
    without.write_text(text[: text.index("  lead-greeting:\n    name: Greeting")], "utf-8")
    assert "no changes" in carillon("apply", str(without), "--as", MARIA).output
    pruned = carillon("apply", str(without), "--as", MARIA, "--prune")
    assert "- rule lead-greeting\n" in pruned.output
    assert "published: 1 deleted" in pruned.output
    assert "lead-greeting" not in carillon("rules", "list", "spoke-and-wheel").output


@pytest.mark.embedded
def test_a_person_is_asked_and_a_no_writes_nothing(
    own_topics: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.apply, "may_ask", lambda: True)
    monkeypatch.setattr(console.rules, "may_ask", lambda: True)
    arguments = ["apply", str(SHOP), "--as", MARIA]
    no = CliRunner().invoke(main, arguments, input="n\n")
    assert no.exit_code == 1
    assert "Publish these changes (40 new)?" in no.output
    assert set(written(own_topics).values()) == {0}
    assert "published: 40 new" in CliRunner().invoke(main, arguments, input="y\n").output
    kept = CliRunner().invoke(main, ["rules", "delete", "spoke-and-wheel", "order-moved"], input="n\n")
    assert kept.exit_code == 1
    assert written(own_topics)["rules"] == 13


@pytest.mark.embedded
def test_without_access_to_a_mailbox_nothing_is_published(own_topics: Settings, carillon: Carillon) -> None:
    for arguments in ([], ["--as", "jan@spokeandwheel.example"]):
        refused = carillon("apply", str(SHOP), *arguments)
        assert refused.exit_code == 1
        assert "rules.lead-greeting.mailbox: " in refused.output
        assert "has no access to maria@spokeandwheel.example" in refused.output
    assert set(written(own_topics).values()) == {0}


def test_every_mistake_of_a_file_is_told_with_its_line_before_any_broker_is_asked(
    carillon: Carillon, tmp_path: Path
) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text("company:\n  id: acme\n  nmae: Acme\nrules: []\n", "utf-8")
    result = carillon("apply", str(path), "--set", "broker=127.0.0.1:1")
    assert result.exit_code == 1
    assert "line 3: company.nmae: is not known here; did you mean 'name'?" in result.output
    assert "line 4: rules: must be a mapping" in result.output
    assert "nothing was written" in result.output


def test_a_broker_that_is_not_there_is_a_sentence(carillon: Carillon) -> None:
    result = carillon("rules", "list", "acme", "--set", "broker=127.0.0.1:1")
    assert result.exit_code == 1
    assert "broker 127.0.0.1:1" in result.output
    assert "CARILLON_BROKER" in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
