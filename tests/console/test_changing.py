"""``carillon rules``, ``templates``, ``pending`` and ``deliveries`` on a broker, and what the audit says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from console.connection import Connection
from schemas.records import AuditEntry, DeliveryState
from streams.settings import Settings
from tests.console.api.conftest import DAY, both_companies, delivery, publication
from tests.console.conftest import Carillon
from tests.support.shop import C


@pytest.fixture
def connection(own_topics: Settings) -> Connection:
    connection = Connection(own_topics)
    connection.publish([publication(record) for record in both_companies()])
    return connection


def audit(connection: Connection) -> list[AuditEntry]:
    found = (connection.decode("audit", AuditEntry, record) for record in connection.records("audit"))
    return [one for one in found if one is not None]


@pytest.mark.embedded
def test_many_rules_are_changed_and_the_audit_says_by_whom(
    connection: Connection, carillon: Carillon
) -> None:
    dry = carillon("rules", "disable", C, "born", "rem", "--dry-run")
    assert (dry.exit_code, dry.output) == (0, "would be changed born\nwould be changed rem\n")
    assert audit(connection) == []
    done = carillon("rules", "disable", C, "born", "lost", "--as", "maria")
    assert (done.exit_code, done.output) == (1, "changed born\nnot found lost\n")
    rule = connection.catalog(("rules",)).rule(C, "born")
    assert rule is not None
    assert (rule.enabled, rule.changed_by) == (False, "maria")
    (entry,) = audit(connection)
    assert (entry.user, entry.way, entry.kind, entry.record_id) == ("maria", "cli", "rule", "born")
    assert [(each.field, each.new) for each in entry.fields] == [("enabled", "no")]
    again = carillon("rules", "disable", C, "born", "--json")
    assert json.loads(again.output)["result"] == "unchanged"


@pytest.mark.embedded
def test_templates_and_sending_methods_are_changed_and_copies_made(
    connection: Connection, carillon: Carillon
) -> None:
    assert carillon("rules", "change", C, "born").exit_code == 2
    assert carillon("rules", "change", C, "born", "--template", "when").output == "changed born\n"
    refused = carillon("rules", "change", C, "born", "--channel", "email")
    assert refused.exit_code == 1
    assert "refused born: template_id: template 'when' can't be sent as email" in refused.output
    copied = carillon("rules", "copy", C, "born", "--to", "north")
    assert "refused born to north: locations: 'north' is already covered" in copied.output
    assert carillon("rules", "delete", C, "born", "lost").exit_code == 1
    assert carillon("rules", "delete", C, "born").output == "deleted born\n"
    assert [entry.what for entry in audit(connection)] == ["update", "delete"]


@pytest.mark.embedded
def test_templates_are_listed_shown_checked_and_deleted(connection: Connection, carillon: Carillon) -> None:
    listed = carillon("templates", "list", C).output.splitlines()
    assert [line.split()[0] for line in listed] == ["template", "t", "when"]
    assert json.loads(carillon("templates", "list", C, "--json").output.splitlines()[1])["id"] == "when"
    assert "--- en sms\nSee you {{ entity.date }}" in carillon("templates", "show", C, "when").output
    assert carillon("templates", "show", C, "none").exit_code == 1
    assert carillon("templates", "check", C).exit_code == 0
    used = carillon("templates", "delete", C, "t")
    assert (used.exit_code, "used by 'born'" in used.output) == (1, True)
    carillon("rules", "delete", C, "born")
    assert carillon("templates", "delete", C, "t").output == "deleted t\n"
    assert carillon("templates", "list", "nobody").exit_code == 1


@pytest.mark.embedded
def test_messages_are_found_and_counted(connection: Connection, carillon: Carillon) -> None:
    one = json.loads(carillon("pending", C, "--json").output)
    assert (one["entity_id"], one["local"][:10]) == ("A-1", DAY)
    assert carillon("pending", C, "--by", "day").output.splitlines()[1].split() == [DAY, DAY, "1"]
    assert json.loads(carillon("pending", C, "--by", "location", "--json").output)["name"] == "North"
    assert len(carillon("pending", C, "--day", "2026-04-07").output.splitlines()) == 1
    sent = delivery(1, DeliveryState.SENT, transition=1, reason="accepted")
    connection.publish([publication(sent)])
    told = carillon("deliveries", C, "--id", f"{1:032x}").output
    assert "sent  The provider has accepted the message." in told
    assert "scheduled  The message is waiting for its moment." in told
    states = [
        json.loads(line)["state"]
        for line in carillon("deliveries", C, "--customer", "ann", "--json").output.splitlines()
    ]
    assert sorted(states) == ["sent", "suppressed"]
    assert len(carillon("deliveries", C, "--entity", "appointment/A-2").output.splitlines()) == 2
    assert carillon("deliveries", C, "--id", "nothing").exit_code == 1


@pytest.mark.embedded
def test_applying_a_file_is_in_the_audit(own_topics: Settings, carillon: Carillon) -> None:
    shop = Path(__file__).parents[2] / "examples" / "shop.yaml"
    who = "maria@spokeandwheel.example"
    assert carillon("apply", str(shop), "--as", who).exit_code == 0
    found = audit(Connection(own_topics))
    assert len(found) == 40
    assert {(entry.user, entry.way, entry.what) for entry in found} == {(who, "cli", "create")}
    secrets = {each.new for entry in found for each in entry.fields if each.field == "secret"}
    assert secrets <= {"(not shown)"}
