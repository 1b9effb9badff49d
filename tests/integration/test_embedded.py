"""The main path and what must not stop it: a real worker on the embedded broker, with the real clock."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from schemas.codec import Codec, encode_json
from schemas.records import (
    Change,
    Channel,
    DeadLetter,
    Delivery,
    DeliveryState,
    Details,
    EntityKind,
    Rule,
    Template,
    TemplateText,
    Trigger,
    Unit,
)
from streams.domain.catalog import Reference
from streams.domain.ids import entity_key
from streams.settings import environment_name
from tests.support.cluster import DEADLINE, Cluster, Worker, embedded_cluster
from tests.support.shop import HOUR, MINUTE, C, ann, change, facts, notification, reminder, shop, status_of

pytestmark = pytest.mark.embedded

YEAR_9999 = 253_370_764_800_000
ROOT = Path(__file__).parents[2]


def now() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One worker and a shop with rules for orders; each test has entities of its own."""
    # Nobody is waited for who never comes: an unknown customer, in these tests, stays unknown.
    settings = {"consent_wait": "500"}
    with embedded_cluster(tmp_path_factory.mktemp("embedded"), settings) as cluster:
        cluster.publish(shop())
        cluster.publish(
            [
                notification(Trigger.CREATED, id_="greet"),
                notification(Trigger.STATUS_CHANGED_TO, id_="mail", status_id="ready", channel=Channel.EMAIL),
            ]
        )
        cluster.customers([ann()])
        yield cluster


@pytest.fixture(scope="module")
def worker(cluster: Cluster) -> Worker:
    return cluster.start()[0]


def booking(rule: Rule) -> list[Reference]:
    """The rule with a template of its own: no two texts are alike, so that a copy is seen as one."""
    text = TemplateText(sms=f"{rule.id}: {{{{ entity.number }}}}, {{{{ entity.time }}}}")
    return [Template(id=rule.template_id, company=C, texts={"en": text}, version=1), rule]


def final(cluster: Cluster, entity_id: str, rule: str) -> Delivery | None:
    cluster.read()
    found = [r for r in cluster.finals() if (r.entity_id, r.rule_id) == (entity_id, rule)]
    return found[0] if found else None


def wait_for(cluster: Cluster, entity_id: str, rule: str) -> Delivery:
    cluster.until(lambda: final(cluster, entity_id, rule), f"{rule} of {entity_id} to end")
    found = final(cluster, entity_id, rule)
    assert found is not None
    return found


def texts_about(cluster: Cluster, number: str) -> list[str]:
    return [entry["body"] for entry in cluster.texts() if re.search(rf"\b{number}\b", entry["body"])]


@pytest.mark.parametrize("as_json", [False, True], ids=["avro", "json"])
def test_an_order_becomes_a_text_and_an_email(cluster: Cluster, worker: Worker, as_json: bool) -> None:
    id_ = "main-json" if as_json else "main-avro"
    born, ready = facts("new"), facts("ready")
    cluster.changes(
        EntityKind.ORDER,
        [change(1, born, now(), entity_id=id_), change(2, ready, now(), before=born, entity_id=id_)],
        as_json=as_json,
    )
    text, mail = wait_for(cluster, id_, "greet"), wait_for(cluster, id_, "mail")
    assert (text.state, text.channel, text.attempt) == (DeliveryState.SENT, "sms", 1)
    assert (mail.state, mail.channel, mail.attempt) == (DeliveryState.SENT, "email", 1)
    # The text speaks of the order as it is when it goes: the second change may have come in by then.
    assert texts_about(cluster, f"N{id_}")[0] in {f"Ann: N{id_} New", f"Ann: N{id_} Ready"}
    mails = [entry for entry in cluster.mails() if f"N{id_}" in entry["data"]]
    assert len(mails) == 1
    assert mails[0]["to"] == ["ann@mail.example"]
    assert f"Subject: About N{id_}" in mails[0]["data"]
    states = [record.state for record in cluster.of(id_) if record.rule_id == "mail"]
    assert states == [DeliveryState.SCHEDULED, DeliveryState.SENDING, DeliveryState.SENT]


def test_an_edited_rule_rearms_what_is_booked(cluster: Cluster, worker: Worker) -> None:
    kind = EntityKind.APPOINTMENT
    cluster.publish(booking(reminder(5, Unit.MINUTES, id_="edit", template_id="edit")))
    when = now() + HOUR + 2_000
    booked = facts(status_of("new", kind), when)
    cluster.changes(kind, [change(1, booked, now(), entity_id="edit")])
    cluster.until(
        lambda: [r for r in cluster.read() if r.entity_id == "edit" and r.state == DeliveryState.SCHEDULED],
        "the reminder to be armed",
    )
    assert cluster.of("edit")[0].due_at == when - 5 * MINUTE
    # One hour before is two seconds after the booking: in time, however slow this machine is.
    cluster.publish([reminder(1, id_="edit", template_id="edit", version=2)])
    sent = wait_for(cluster, "edit", "edit")
    assert (sent.state, sent.rule_version, sent.due_at) == (DeliveryState.SENT, 2, when - HOUR)
    assert sent.at >= when - HOUR, "early"


def test_a_new_rule_arms_what_was_booked_before_it(cluster: Cluster, worker: Worker) -> None:
    kind = EntityKind.APPOINTMENT
    when = now() + HOUR + 2_000
    cluster.changes(kind, [change(1, facts(status_of("new", kind), when), now(), entity_id="later")])
    cluster.caught_up(worker)
    cluster.publish(booking(reminder(60, Unit.MINUTES, id_="new-rule", template_id="new-rule")))
    assert wait_for(cluster, "later", "new-rule").state == DeliveryState.SENT


def broken(codec: Codec) -> list[tuple[str, bytes | None, str]]:
    """(entity id, value, error code of the dead letter): what can't be worked on at all."""
    good = change(1, facts(), now(), entity_id="x")
    return [
        ("bad-bytes", b"\xff\xfe\x00 no record", "undecodable"),
        ("bad-empty", b"", "undecodable"),
        ("bad-cut", encode_json(good)[:-20], "undecodable"),
        ("bad-schema", b"\x00\x00\x0f\x42\x3f\x01\x02", "unknown_schema"),
        ("bad-missing", b'{"company": "acme", "entity_id": "bad-missing"}', "contract"),
        ("bad-9999", encode_json(change(1, facts(scheduled=YEAR_9999), now(), entity_id="x")), "contract"),
        ("bad-avro", codec.encode_change(EntityKind.ORDER, good)[:9], "undecodable"),
    ]


def strange() -> list[tuple[Change, str | None]]:
    """(change, reason in the delivery log or None): well formed, and about what is not there."""

    def order(id_: str, **changes: object) -> Change:
        fields = {"status": "new", "scheduled": None, "customer": "ann", "location": "north"} | changes
        return change(1, facts(**fields), now(), entity_id=id_)  # type: ignore[arg-type]  # names as in facts

    return [
        (order("odd-location", location="nowhere"), "unknown_location"),
        (order("odd-status", status="no-such"), "unknown_status"),
        (order("odd-customer", customer="nobody"), "no_customer_record"),
        (order("odd-none", customer=""), "no_customer"),
    ]


def test_bad_records_stop_nothing(cluster: Cluster, worker: Worker) -> None:
    """All in one partition (one key), with good records between and behind them."""
    key = entity_key(C, "one-key")
    values: list[bytes | None] = []
    bad = broken(cluster.codec)
    for number, (_, value, _) in enumerate(bad):
        fine = change(1, facts(), now(), entity_id=f"fine-{number}")
        values += [value, None, encode_json(fine)]
    odd = strange()
    values += [encode_json(one) for one, _ in odd]
    values.append(encode_json(change(1, facts(scheduled=-5), now(), entity_id="odd-negative")))
    stranger = encode_json(change(1, facts(), now(), entity_id="odd-company")).replace(b"acme", b"nobody")
    values.append(stranger)
    values.append(encode_json(change(1, facts(), now(), entity_id="behind")))
    cluster.send("orders", [(key, value) for value in values])

    assert wait_for(cluster, "behind", "greet").state == DeliveryState.SENT
    for number in range(len(bad)):
        assert wait_for(cluster, f"fine-{number}", "greet").state == DeliveryState.SENT
    for one, reason in odd:
        if reason is not None:
            found = wait_for(cluster, one.entity_id, "greet")
            assert (found.state, found.reason) == (DeliveryState.SUPPRESSED, reason), one.entity_id
        else:
            assert wait_for(cluster, one.entity_id, "greet").state == DeliveryState.SENT, one.entity_id

    letters = {letter.value: letter for letter in cluster.dead_letters() if letter.key == key}
    for name, raw, code in bad:
        letter = letters[raw or b""]
        assert (letter.topic, letter.error) == ("orders", code), name
        assert letter.detail
        assert letter.timestamp > 0
    places = {(letter.partition, letter.offset) for letter in letters.values()}
    assert len({partition for partition, _ in places}) == 1
    assert len(places) == len(letters) == len(bad) + 1, [(one.error, one.detail) for one in letters.values()]
    negative = next(letter for letter in letters.values() if b"odd-negative" in letter.value)
    assert negative.error == "contract"
    assert "scheduled_at" in negative.detail or "scheduled_at" in str(negative)
    assert f'carillon_dead_letters_total{{topic="orders"}} {len(letters)}.0' in worker.get("/metrics")[1]


def huge(id_: str, size: int) -> Change:
    details = Details(number=f"N{id_}", title="x" * size)
    return msgspec.structs.replace(change(1, facts(), now(), entity_id=id_), details=details)


def test_a_name_of_a_megabyte_stops_nothing(cluster: Cluster, worker: Worker) -> None:
    """What an input topic can hold fits into ours; what it can't by default is set aside."""
    key = entity_key(C, "one-key")
    values = [encode_json(huge("large", 1024 * 1024 - 1000)), encode_json(huge("larger", 1024 * 1024 + 1000))]
    values.append(encode_json(change(1, facts(), now(), entity_id="after-huge")))
    cluster.send("orders", [(key, value) for value in values])
    cluster.send(
        "customer-consents", [(b"acme/big", encode_json(ann(customer_id="big", name="y" * 1_100_000)))]
    )
    assert wait_for(cluster, "after-huge", "greet").state == DeliveryState.SENT
    assert wait_for(cluster, "large", "greet").state == DeliveryState.SENT

    def set_aside() -> list[DeadLetter]:
        return [letter for letter in cluster.dead_letters() if "bytes, at most" in letter.detail]

    cluster.until(lambda: len(set_aside()) == 2, "the two that are too large to be set aside")
    letters = {letter.topic: letter for letter in set_aside()}
    assert values[1].startswith(letters["orders"].value)
    assert "here: the first" in letters["customer-consents"].detail


def metric(worker: Worker, name: str, **labels: str) -> float:
    """The value of a sample of /metrics; of several that fit, their sum."""
    found = 0.0
    for family in text_string_to_metric_families(worker.get("/metrics")[1]):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                found += sample.value
    return found


def test_a_worker_shows_how_it_is_doing(cluster: Cluster, worker: Worker) -> None:
    kind = EntityKind.APPOINTMENT
    booked = change(1, facts(status_of("new", kind), now() + 9 * HOUR), now(), entity_id="shown")
    cluster.publish(booking(reminder(2, id_="shown", template_id="shown")))
    cluster.changes(kind, [booked])
    cluster.until(lambda: [r for r in cluster.read() if r.rule_id == "shown"], "the reminder to be armed")
    cluster.changes(EntityKind.ORDER, [change(1, facts(), now(), entity_id="shown-order")])
    wait_for(cluster, "shown-order", "greet")
    cluster.caught_up(worker)

    code, health = worker.get("/health")
    assert (code, json.loads(health)["ready"]) == (200, True)
    status = worker.status()
    assert status["pending"] >= 1
    assert now() < status["next_due"] <= now() + 7 * HOUR
    assert status["in_flight"] == status["queued"] == status["sweeping"] == 0
    assert set(status["positions"]["timers"]) == {"0", "1", "2", "3"}
    assert status["positions"]["rules"]["0"] >= 3

    assert metric(worker, "carillon_pending") == status["pending"]
    assert metric(worker, "carillon_lag_records") == 0
    assert metric(worker, "carillon_transitions_total", transition="sent.accepted") >= 1
    assert metric(worker, "carillon_transitions_total", transition="scheduled.armed") >= 2
    assert metric(worker, "carillon_provider_outcomes_total", channel="sms", outcome="accepted") >= 1
    late = metric(worker, "carillon_lateness_seconds_count")
    assert late >= metric(worker, "carillon_transitions_total", transition="sent.accepted")
    assert metric(worker, "carillon_changes_total", kind="order", result="accepted") >= 1
    assert metric(worker, "carillon_partitions", topic="timers") == 4
    assert metric(worker, "carillon_partitions", topic="orders") == 3
    assert metric(worker, "carillon_reference_age_seconds") < 60


WRONG = [
    ({"sms_timeout": "soon"}, "CARILLON_SMS_TIMEOUT: expected a whole number, got 'soon'"),
    ({"smtp_tls": "perhaps"}, "CARILLON_SMTP_TLS: expected one of starttls, tls, none"),
    ({"sms_tokn": "x"}, "CARILLON_SMS_TOKN: there is no such setting (did you mean CARILLON_SMS_TOKEN?)"),
    ({"sms_token": "in-clear"}, "CARILLON_SMS_TOKEN: expected env:NAME, file:PATH or vault:MOUNT/PATH#FIELD"),
    ({"partitions": "7"}, "timers: it has 4 partitions, but the setting partitions says 7"),
    ({"topic_prefix": "no-such."}, "no-such.orders: the topic does not exist: carillon topics create"),
]


@pytest.mark.parametrize(("settings", "said"), WRONG, ids=[next(iter(given)) for given, _ in WRONG])
def test_wrong_settings_stop_the_start_by_name(
    cluster: Cluster, tmp_path: Path, settings: dict[str, str], said: str
) -> None:
    environment = os.environ | cluster.environment(tmp_path / "data")
    environment |= {environment_name(name): value for name, value in settings.items()}
    done = subprocess.run(
        [sys.executable, "-m", "console", "worker"],
        env={name: value for name, value in environment.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode not in {0, -9}
    assert said in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert "in-clear" not in done.stderr, "a secret must not be repeated"


def test_at_the_end_log_and_ledgers_agree(cluster: Cluster, worker: Worker) -> None:
    """Behind all the tests above: one final state each; what still waits is the reminder of nine hours."""
    cluster.caught_up(worker)
    cluster.check(open_=worker.status()["pending"])
    assert cluster.terminate(worker) == 0
