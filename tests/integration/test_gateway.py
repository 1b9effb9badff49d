"""From a customer's STOP to the message that does not go: gateway and worker as processes on one broker."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_string
from mailbox import Maildir
from pathlib import Path
from urllib.parse import urlencode

import msgspec
import pytest
from twilio.request_validator import RequestValidator

from console.demo.processes import Child, Processes, read_ready
from deploy.fakes.sms import TOKEN
from schemas.records import Channel, Delivery, EntityKind, Trigger
from streams.clock import FileClock
from streams.domain.links import Links, MessageRef, Purpose
from streams.settings import environment_name
from tests.senders import dsn_samples as samples
from tests.support.cluster import DEADLINE, Cluster, Worker, embedded_cluster
from tests.support.shop import MINUTE, C, ann, at, change, facts, notification, shop

pytestmark = pytest.mark.embedded

PUBLIC = "https://hooks.example"
KEY = "the link key"
LINKS = Links(PUBLIC, [KEY.encode()])
ANN = "+48501111222"
SHOP = "+48500000000"
NOON = at("2026-04-07 12:00")


@dataclass(slots=True)
class Gateway:
    child: Child
    url: str

    def post(self, path: str, form: dict[str, str], *, signed: bool = False) -> int:
        request = urllib.request.Request(self.url + path, data=urlencode(form).encode())
        if signed:
            signature = RequestValidator(TOKEN).compute_signature(PUBLIC + path, form)
            request.add_header("X-Twilio-Signature", signature)
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def text(self, body: str, number: int) -> None:
        form = {"MessageSid": f"SM{number:032x}", "From": ANN, "To": SHOP, "Body": body}
        assert self.post("/v1/sms/incoming", form, signed=True) == 200


OF_LINKS = {
    environment_name("public_url"): PUBLIC,
    environment_name("link_key"): "env:TEST_LINK_KEY",
    "TEST_LINK_KEY": KEY,
    environment_name("email_domain"): "carillon.example",
}


def environment(cluster: Cluster, data: Path) -> dict[str, str | None]:
    return cluster.environment(data) | OF_LINKS | {environment_name("gateway_port"): "0"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("gateway")
    clock = folder / "clock"
    FileClock(clock, start=NOON)
    with embedded_cluster(folder, clock=clock) as cluster:
        cluster.publish(shop())
        cluster.publish(
            notification(Trigger.CREATED, id_=channel, channel=channel, template_id="t")
            for channel in Channel
        )
        cluster.customers([ann()])
        cluster.own[1] = OF_LINKS
        yield cluster


@pytest.fixture(scope="module")
def worker(cluster: Cluster) -> Worker:
    return cluster.start()[0]


@pytest.fixture(scope="module")
def gateway(cluster: Cluster) -> Iterator[Gateway]:
    processes = Processes(cluster.folder / "logs")
    data = cluster.folder / "gateway"
    child = processes.start("gateway", ["-m", "console", "gateway"], environment(cluster, data))
    try:
        where = read_ready(data / "gateway.json", child, deadline=DEADLINE)

        def ready() -> bool:
            child.check()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{where['web_port']}/ready", timeout=10):
                    return True
            except urllib.error.HTTPError:
                return False

        cluster.until(ready, "the gateway to be ready")
        yield Gateway(child, f"http://127.0.0.1:{where['port']}")
        child.popen.terminate()
        assert child.popen.wait(DEADLINE) == 0
        log = child.log.read_text()
        for secret in (ANN[1:], "mail.example", KEY, TOKEN):
            assert secret not in log
    finally:
        processes.stop_all()


def order(cluster: Cluster, id_: str) -> dict[str, tuple[str, str]]:
    """State and reason by channel of what a new order of Ann's comes to, a minute later."""
    clock = FileClock(cluster.folder / "clock")
    clock.set(clock.now() + MINUTE)
    cluster.changes(EntityKind.ORDER, [change(1, facts(), clock.now(), entity_id=id_)])

    def ends() -> dict[str, Delivery]:
        cluster.read()
        return {record.rule_id: record for record in cluster.finals() if record.entity_id == id_}

    cluster.until(lambda: len(ends()) == 2, f"both messages of {id_} to end")
    return {rule: (record.state, record.reason) for rule, record in ends().items()}


def known(cluster: Cluster, worker: Worker, count: int) -> None:
    """Waits until the worker has read so many records of the suppressions."""
    cluster.until(
        lambda: worker.status()["positions"].get("suppressions", {}).get("0", 0) >= count,
        f"{count} suppressions to be known",
    )


SENT = ("sent", "accepted")
BLOCKED = ("suppressed", "suppressed_address")


def test_stop_is_obeyed_until_start_and_so_are_an_unsubscription_and_a_bounce(
    cluster: Cluster, worker: Worker, gateway: Gateway
) -> None:
    assert order(cluster, "before") == {"sms": SENT, "email": SENT}

    gateway.text("STOP", 1)
    known(cluster, worker, 1)
    assert order(cluster, "stopped") == {"sms": BLOCKED, "email": SENT}

    gateway.text("Start, please", 2)
    known(cluster, worker, 2)
    assert order(cluster, "started") == {"sms": SENT, "email": SENT}

    (mail,) = [entry for entry in cluster.mails() if "Subject: About Nstarted" in entry["data"]]
    headers = message_from_string(mail["data"])
    link = re.sub(r"[<>\s]", "", str(headers["List-Unsubscribe"]))
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    ref = LINKS.find(Purpose.UNSUBSCRIBE, link)
    assert ref is not None
    assert (ref.company, ref.customer_id, ref.rule_id) == (C, "ann", "email")
    path = link.removeprefix(PUBLIC)
    assert gateway.post(path, {"List-Unsubscribe": "One-Click"}) == 200
    known(cluster, worker, 3)
    assert order(cluster, "unsubscribed") == {"sms": SENT, "email": BLOCKED}

    assert gateway.post("/v1/sms/incoming", {"From": ANN, "To": SHOP, "Body": "STOP"}) == 403
    assert order(cluster, "forged") == {"sms": SENT, "email": BLOCKED}


def reference(record: Delivery) -> MessageRef:
    return MessageRef(
        company=record.company,
        kind=record.kind,
        entity_id=record.entity_id,
        customer_id=record.customer_id,
        rule_id=record.rule_id,
        event_id=record.anchor,
        delivery_id=record.delivery_id,
        address="cora@mail.example",
    )


def test_receipts_and_bounces_come_into_the_delivery_log_once(
    cluster: Cluster, worker: Worker, gateway: Gateway, tmp_path: Path
) -> None:
    """Also when another worker takes the partition over and hears all of it again."""
    assert worker.ready()
    cluster.customers([msgspec.structs.replace(ann(), customer_id="cora", email="cora@mail.example")])
    clock = FileClock(cluster.folder / "clock")
    clock.set(clock.now() + MINUTE)
    new = change(1, facts(customer="cora"), clock.now(), entity_id="reported")
    cluster.changes(EntityKind.ORDER, [new])

    def of(state: str) -> dict[str, Delivery]:
        cluster.read()
        return {record.rule_id: record for record in cluster.of("reported") if record.state == state}

    cluster.until(lambda: len(of("sent")) == 2, "both messages to be sent")
    sent = of("sent")

    def report(status: str) -> None:
        path = LINKS.receipts(reference(sent["sms"])).removeprefix(PUBLIC).partition("#")[0]
        form = {"MessageSid": sent["sms"].provider_id, "MessageStatus": status, "ErrorCode": "30003"}
        assert gateway.post(path, form, signed=True) < 300

    report("undelivered")
    mail = samples.as_bytes(samples.GMAIL, LINKS.unsubscribe(reference(sent["email"])))
    assert pipe(mail, environment(cluster, tmp_path)).returncode == 0
    cluster.until(lambda: len(of("bounced")) == 2, "both messages to have come back")
    assert of("bounced")["sms"].note == "30003"

    assert cluster.terminate(worker) == 0
    second = cluster.start(2)[0]
    cluster.until(second.ready, "the next worker")
    assert pipe(mail, environment(cluster, tmp_path / "again")).returncode == 0
    report("sent")
    report("delivered")
    cluster.until(lambda: "sms" in of("delivered"), "the text to have arrived after all")
    records = {(r.delivery_id, r.transition): (r.rule_id, r.state) for r in cluster.of("reported")}
    told = [step for step in records.values() if step[1] in ("bounced", "delivered")]
    assert sorted(told) == [("email", "bounced"), ("sms", "bounced"), ("sms", "delivered")]


def pipe(mail: bytes, given: dict[str, str | None], *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """As a mail server calls it."""
    merged = {**os.environ, **given}
    return subprocess.run(
        [sys.executable, "-m", "console", "gateway", "bounce", *arguments],
        input=mail,
        env={key: value for key, value in merged.items() if value is not None},
        capture_output=True,
        timeout=DEADLINE * 2,
        check=False,
    )


def test_a_mail_pipe(cluster: Cluster, tmp_path: Path) -> None:
    given = environment(cluster, tmp_path)
    ref = MessageRef(
        company=C,
        kind="order",
        entity_id="bounced",
        customer_id="bob",
        rule_id="email",
        event_id="",
        delivery_id="0" * 32,
        address="bob@mail.example",
    )
    mail = samples.as_bytes(samples.GMAIL, LINKS.unsubscribe(ref))
    done = pipe(b"From MAILER-DAEMON Tue Apr  7 10:00:00 2026\n" + mail, given)
    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    assert b"bounces: 1, addresses blocked: 1" in done.stderr
    box = tmp_path / "box"
    box.write_bytes(
        b"".join(
            b"From MAILER-DAEMON Tue Apr  7 10:00:00 2026\n" + one.replace(b"\r\n", b"\n") + b"\n"
            for one in (mail, samples.as_bytes(samples.OUT_OF_OFFICE))
        )
    )
    done = pipe(b"", given, "--mbox", str(box))
    assert done.returncode == 0, done.stderr
    assert b"bounces: 1, addresses blocked: 1, not about our mail: 1" in done.stderr
    assert b"mail.example" not in done.stderr


def test_a_maildir(cluster: Cluster, tmp_path: Path) -> None:
    given = environment(cluster, tmp_path)
    box = Maildir(tmp_path / "box")
    for sample in (samples.POSTFIX, samples.OUT_OF_OFFICE):
        box.add(samples.as_bytes(sample))
    unreachable = given | {environment_name("broker"): "127.0.0.1:1"}
    assert pipe(b"", unreachable, "--maildir", str(tmp_path / "box")).returncode == os.EX_TEMPFAIL
    assert len(list((tmp_path / "box" / "new").iterdir())) == 2, "kept while no broker answers"
    done = pipe(b"", given, "--maildir", str(tmp_path / "box"))
    assert done.returncode == 0, done.stderr
    assert [message.get_flags() for message in Maildir(tmp_path / "box")] == ["S", "S"]
    said = b"bounces: 1, addresses blocked: 0, not about our mail: 1"
    assert said in done.stderr, "a report that returns no link of ours is noted and blocks nothing"
    assert b"not about our mail: 0" in pipe(b"", given, "--maildir", str(tmp_path / "box")).stderr


def test_a_mail_is_kept_while_no_broker_answers(cluster: Cluster, tmp_path: Path) -> None:
    given = environment(cluster, tmp_path) | {environment_name("broker"): "127.0.0.1:1"}
    done = pipe(samples.as_bytes(samples.POSTFIX), given)
    assert done.returncode == os.EX_TEMPFAIL
    assert b"127.0.0.1:1" in done.stderr
    assert b"Traceback" not in done.stderr
