"""What must not be told: passwords and tokens nowhere; customers' names and addresses, and the texts of
messages, in no log line, no metric, and no topic but those that are made for them.

A worker that logs as much as it can does everything that goes well, and meets everything that quotes what it
was given: providers' refusals, records that are no records, errors that nobody foresaw.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from deploy.fakes.mail import At, Fault, MailFake
from schemas.records import Channel, EntityKind, Template, TemplateText, Trigger
from streams.kafka.tail import Tail, TailRecord
from streams.kafka.topics import topic_plan
from streams.settings import Settings
from tests.security.people import HASH_KEY, NAMES, PASSWORD, PERSONAL, REGISTRY, SECRETS, TEXT, told
from tests.support.burst import clock_file
from tests.support.cluster import Cluster, Worker, embedded_cluster
from tests.support.shop import HOUR, MINUTE, ann, change, facts, notification, reminder, shop

pytestmark = pytest.mark.embedded

PEOPLE = {
    "zyx": ann(
        customer_id="zyx",
        name="Zyxelda Quibbleworth",
        phone="+48501987123",
        email="zyx.quibble@mail.example",
    ),
    "bad": ann(
        customer_id="bad",
        name="Bertram Featherstonehaugh",
        phone="+48501987124",
        email="b.feathers@mail.example",
    ),
    "out": ann(
        customer_id="out", name="Zyxelda Quibbleworth", phone="+48501987125", email="kafkaesque@mail.example"
    ),
    "mute": ann(
        customer_id="mute", name="Zyxelda Quibbleworth", phone="+48501987126", email="wrenfield@mail.example"
    ),
}
MADE_FOR_ADDRESSES = {"customer-consents", "consents", "suppressions", "orders", "dead-letters"}
"""Customers themselves, those who must not be written to, and what a publisher wrote by mistake, byte for
byte, where it wrote it and where it was set aside."""


class Relay:
    """A mail server that asks for a password, on a loop of its own."""

    def __init__(self) -> None:
        self.fake = MailFake(users={"relay": PASSWORD})
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    @contextmanager
    def running(self) -> Iterator[MailFake]:
        self.thread.start()
        asyncio.run_coroutine_threadsafe(self.fake.start(), self.loop).result(10)
        try:
            yield self.fake
        finally:
            asyncio.run_coroutine_threadsafe(self.fake.stop(), self.loop).result(10)
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(10)
            self.loop.close()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    folder = tmp_path_factory.mktemp("leaks")
    clock, path = clock_file(folder)
    (folder / "hash_key").write_text(HASH_KEY)
    with Relay().running() as relay:
        refuse(relay)
        settings = {
            "log_level": "DEBUG",
            "smtp_port": str(relay.port),
            "smtp_user": "relay",
            "smtp_password": "env:TEST_PASSWORD",
            "registry_user": "reader",
            "registry_password": "env:TEST_REGISTRY",
            "hash_key": f"file:{folder / 'hash_key'}",
            "sms_timeout": "1000",
        }
        with embedded_cluster(folder, settings, clock=path) as cluster:
            cluster.own[1] = {"TEST_PASSWORD": PASSWORD, "TEST_REGISTRY": REGISTRY}
            set_up(cluster)
            (worker,) = cluster.start()
            day(cluster, clock.now())
            cluster.until(lambda: len(cluster.read()) >= 8, "the first messages")
            for _ in range(9):
                cluster.caught_up(worker)
                clock.set(clock.now() + 15 * MINUTE)
            cluster.finished(12)
            pages = [worker.get(path)[1] for path in ("/status", "/metrics", "/live", "/ready")]
            found = Seen(cluster, worker, pages)
            found.exit_code = cluster.terminate(worker)
            yield found


def refuse(relay: MailFake) -> None:
    """Refusals that quote the recipient in every way."""
    relay.script(
        At.RCPT,
        Fault.REPLY,
        "550 5.1.1 <B.Feathers@mail.example>: user b.feathers (Bertram Featherstonehaugh) unknown",
        to="b.feathers@mail.example",
        times=0,
    )
    relay.script(
        At.DOT,
        Fault.REPLY,
        f"554 5.7.1 Message to kafkaesque@mail.example looks like spam: '{TEXT} Nout is'",
        to="kafkaesque@mail.example",
        times=0,
    )
    relay.script(At.KEPT, Fault.CLOSE, to="wrenfield@mail.example", times=0)


def set_up(cluster: Cluster) -> None:
    cluster.publish(shop())
    body = f"Dear {{{{ customer.name }}}}, your {TEXT} {{{{ entity.number }}}} is {{{{ entity.status }}}}."
    text = TemplateText(sms=body, subject=f"About the {TEXT} {{{{ entity.number }}}}", body=body)
    cluster.publish([Template(id="t", company="acme", texts={"en": text}, version=2)])
    cluster.publish(
        [
            notification(Trigger.CREATED),
            notification(Trigger.CREATED, id_="mail", channel=Channel.EMAIL),
            reminder(1, entity=EntityKind.ORDER, template_id="t"),
        ]
    )
    cluster.customers(PEOPLE.values())
    cluster.script_sms(
        opted_out=["+48501987125"],
        behaviours=[
            {
                "fault": "refuse",
                "times": 0,
                "to": "+48501987124",
                "status": 400,
                "code": 21211,
                "message": "'To' +48 501 987 124 is not valid (Dear Bertram Featherstonehaugh, your)",
            },
            {"fault": "accept_hang", "times": 0, "to": "+48501987126"},
            {
                "fault": "refuse",
                "method": "GET",
                "times": 1,
                "status": 500,
                "code": 20500,
                "message": "internal error at +48501987126",
            },
        ],
    )


def day(cluster: Cluster, now: int) -> None:
    cluster.changes(
        EntityKind.ORDER,
        [change(1, facts("new", now + 2 * HOUR, customer), now, entity_id=customer) for customer in PEOPLE],
    )
    # Records that are none, with somebody's data in each.
    customer = {"company": "acme", "customer_id": "x", "name": NAMES[0], "phone": "+48501987127"}
    cluster.send(
        "customer-consents",
        [
            (b"acme/x", json.dumps(customer | {"version": "+48501987127"}).encode()),
            (b"acme/+48501987127", b"Zyxelda Quibbleworth,+48501987127,kafkaesque@mail.example"),
        ],
    )
    order = {"company": "acme", "entity_id": "1", "operation": "+48501987127", "event_id": "e", "version": 1}
    cluster.send("orders", [(b"acme/1", json.dumps(order | {"occurred_at": now}).encode())])
    block = {"company": "acme", "channel": "+48501987128", "address": "kafkaesque@mail.example"}
    cluster.send(
        "suppressions",
        [
            (
                b"acme/sms/+48501987128",
                json.dumps(block | {"reason": "x", "since": 1, "version": 1}).encode(),
            ),
            (b"acme/kafkaesque@mail.example/+48501987128", None),
        ],
    )


class Seen:
    def __init__(self, cluster: Cluster, worker: Worker, pages: list[str]) -> None:
        self.cluster = cluster
        self.worker = worker
        self.pages = pages
        self.exit_code = -1

    @property
    def output(self) -> str:
        return self.cluster.output(self.worker)

    def topics(self) -> dict[str, list[TailRecord]]:
        found = {}
        for topic in (plan.name for plan in topic_plan(Settings())):
            tail = Tail(self.cluster.bootstrap, {}, topic)
            found[topic] = tail.read_to_end()
            tail.close()
        return found


def test_the_day_met_all_that_it_should(seen: Seen) -> None:
    """Or the other tests see nothing because nothing happened."""
    assert seen.exit_code == 0
    ends = {(record.channel, str(record.state), record.reason) for record in seen.cluster.finals()}
    assert ends >= {
        ("sms", "sent", "accepted"),
        ("email", "sent", "accepted"),
        ("sms", "failed", "invalid_recipient"),
        ("email", "failed", "invalid_recipient"),
        ("sms", "failed", "opted_out"),
        ("email", "failed", "content"),
        ("sms", "sent", "found"),
        ("email", "unknown_closed", "not_resent"),
    }
    letters = {letter.topic for letter in seen.cluster.dead_letters()}
    assert letters == {"customer-consents", "orders"}
    assert "suppressions offset" in seen.output
    assert " DEBUG " in seen.output


def test_no_secret_in_any_topic_page_or_line(seen: Seen) -> None:
    assert not told(seen.output, SECRETS)
    assert not told("\n".join(seen.pages), SECRETS)
    for topic, records in seen.topics().items():
        for record in records:
            assert not told((record.key + record.value).decode("latin-1"), SECRETS), topic


def test_no_customer_and_no_text_in_any_line_or_page(seen: Seen) -> None:
    assert not told(seen.output, PERSONAL)
    assert not told("\n".join(seen.pages), PERSONAL)


def test_customers_are_only_in_the_topics_that_are_made_for_them(seen: Seen) -> None:
    found: dict[str, set[str]] = {}
    for topic, records in seen.topics().items():
        for record in records:
            content = (record.key + b"\n" + record.value).decode("latin-1").lower()
            found.setdefault(topic, set()).update(v for v in PERSONAL if v.lower() in content)
    assert {topic for topic, values in found.items() if values - {TEXT}} <= MADE_FOR_ADDRESSES
    assert {topic for topic, values in found.items() if TEXT in values} == {"templates"}
    assert found["delivery-log"] == set()
    assert found["consents"] >= set(NAMES), "the search would find them"


def test_dead_letters_say_why_without_saying_whose(seen: Seen) -> None:
    for letter in seen.cluster.dead_letters():
        assert not told(letter.detail + letter.error, PERSONAL)
        assert not told(repr(letter), PERSONAL)


def test_the_delivery_log_shows_addresses_masked(seen: Seen) -> None:
    shown = {record.address_masked for record in seen.cluster.log if record.address_masked}
    assert "+48 ••• ••• 123" in shown
    assert "z…@m….example" in shown
    notes = {record.note for record in seen.cluster.log if record.note}
    assert any(note.startswith("rcpt: 550 5.1.1") for note in notes)
    assert any(note.startswith("HTTP 400, code 21211") for note in notes)
    assert not told("\n".join(notes), PERSONAL)
