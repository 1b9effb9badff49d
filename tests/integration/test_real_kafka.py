"""Two workers on a real Apache Kafka: the main path, kills in the middle of a burst, restarts of the broker,
and the example day, published by a client that is not ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from deploy.local_kafka import LocalKafka
from examples.shift_day import main as shift_day
from schemas.records import DeliveryState
from tests.support.burst import SETTINGS, Burst, clock_file
from tests.support.cluster import DEADLINE, TOPIC_OF, kafka_cluster
from tests.support.local_kafka import PROPERTIES, need_kafka

pytestmark = pytest.mark.kafka

ROOT = Path(__file__).parents[2]
_numbers = count(1)

NewBurst = Callable[[LocalKafka], Burst]


@pytest.fixture
def new_burst(tmp_path: Path) -> Iterator[NewBurst]:
    """A shop that is set up on the given broker."""
    with ExitStack() as stack:

        def new(kafka: LocalKafka) -> Burst:
            clock, path = clock_file(tmp_path)
            prefix = f"it{next(_numbers)}."
            cluster = kafka_cluster(kafka.bootstrap, tmp_path, prefix, SETTINGS, clock=path)
            burst = Burst(stack.enter_context(cluster), clock)
            burst.set_up()
            return burst

        yield new


@pytest.fixture
def own_kafka() -> Iterator[LocalKafka]:
    """A broker that this test may kill."""
    need_kafka()
    with LocalKafka(properties=PROPERTIES) as kafka:
        yield kafka


def test_two_workers_and_nothing_amiss(local_kafka: LocalKafka, new_burst: NewBurst) -> None:
    burst = new_burst(local_kafka)
    workers = burst.cluster.start(1, 2)
    burst.publish()
    burst.finish(*workers)
    log = burst.cluster.log
    assert not [record for record in log if record.state == DeliveryState.UNKNOWN]
    shares = [len(worker.status()["positions"][burst.cluster.prefix + "timers"]) for worker in workers]
    assert shares == [2, 2]
    assert [burst.cluster.terminate(worker) for worker in workers] == [0, 0]


def test_one_of_two_is_killed_and_comes_back_without_its_disk(
    local_kafka: LocalKafka, new_burst: NewBurst
) -> None:
    burst = new_burst(local_kafka)
    cluster = burst.cluster
    first, second = cluster.start(1, 2)
    burst.publish()
    burst.until_under_way()
    cluster.kill(first)
    cluster.lose_disk(1)
    first = cluster.launch(1)
    burst.finish(first, second)


def test_both_are_killed_one_after_the_other(local_kafka: LocalKafka, new_burst: NewBurst) -> None:
    burst = new_burst(local_kafka)
    cluster = burst.cluster
    first, second = cluster.start(1, 2)
    burst.publish()
    burst.until_under_way()
    cluster.kill(second)
    before = len(cluster.texts())
    cluster.until(lambda: len(cluster.texts()) > before, "the other to go on")
    cluster.kill(first)
    first, second = cluster.start(1, 2)
    burst.finish(first, second)
    assert any(record.reason == "inherited" for record in cluster.log)


def test_one_is_told_to_stop(local_kafka: LocalKafka, new_burst: NewBurst) -> None:
    burst = new_burst(local_kafka)
    cluster = burst.cluster
    first, second = cluster.start(1, 2)
    burst.publish()
    burst.until_under_way()
    assert cluster.terminate(first) == 0
    burst.finish(second)
    assert not [record for record in cluster.log if record.reason in {"inherited", "resent"}]


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_the_broker_is_restarted(own_kafka: LocalKafka, new_burst: NewBurst, how: str) -> None:
    """The workers go on; one that gives up says so by its exit code, and its successor finishes."""
    burst = new_burst(own_kafka)
    cluster = burst.cluster
    cluster.start(1, 2)
    burst.publish()
    burst.until_under_way()
    cluster.supervise()
    node = own_kafka.nodes[0]
    if how == "killed":
        node.kill()
    else:
        node.stop()
    own_kafka.restart(1)
    burst.finish()


SENT_WHATEVER_THE_HOUR = {
    ("R-1001", "order-received"): "zlecenie R-1001. Damy znać",
    ("R-1001", "order-in-repair"): "Zaczynamy pracę nad zleceniem R-1001.",
    ("R-1002", "order-received"): "Hi Inês, Spoke & Wheel has your order R-1002.",
    ("R-1002", "order-in-repair"): "we have begun with order R-1002",
    ("R-1003", "order-received"): "Hi Grace, Spoke & Wheel has your order R-1003.",
    ("R-1003", "order-moved"): "Your order R-1003 is now planned for",
    ("R-1001", "order-review"): "",
    ("A-501", "appointment-booked"): "",
}
NOT_SENT = {
    ("R-1004", "order-received"): "no_consent",
    ("R-1004", "order-cancelled"): "no_consent",
    ("R-1005", "order-received"): "no_address",
}


def test_the_example_day_published_by_kcat(local_kafka: LocalKafka, tmp_path: Path) -> None:
    """What examples/README.md says, word for word, with a client whose partitioner is not ours (CRC32)."""
    kcat = shutil.which("kcat")
    if kcat is None and os.environ.get("CI") != "true":
        pytest.skip("no kcat on this machine (apt install kcat); CI would not skip this")
    assert kcat is not None, "CI needs kcat: apt install kcat"
    prefix = f"day{next(_numbers)}."
    with kafka_cluster(local_kafka.bootstrap, tmp_path, prefix, topics=False) as cluster:
        given = os.environ | cluster.environment(tmp_path / "none")
        environment = {name: value for name, value in given.items() if value is not None}

        def run(*command: str) -> str:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=DEADLINE, check=False
            )
            assert done.returncode == 0, (command, done.stdout, done.stderr)
            return done.stdout

        carillon = (sys.executable, "-m", "console")
        run(*carillon, "topics", "create")
        shop = str(ROOT / "examples" / "shop.yaml")
        run(*carillon, "apply", shop, "--as", "maria@spokeandwheel.example", "--yes")
        day = tmp_path / "day"
        shift_day([str(day)])
        workers = cluster.start(1, 2)
        for topic, file in [("customer-consents", "customers"), *((t, t) for t in TOPIC_OF.values())]:
            lines = str(day / f"{file}.jsonl")
            run(kcat, "-P", "-b", cluster.bootstrap, "-t", prefix + topic, "-K", "\\t", "-l", lines)
        cluster.finished(len(SENT_WHATEVER_THE_HOUR) + len(NOT_SENT))
        cluster.caught_up(*workers)

        assert cluster.dead_letters() == []
        finals = {(record.entity_id, record.rule_id): record for record in cluster.finals()}
        for name, reason in NOT_SENT.items():
            assert (finals[name].state, finals[name].reason) == (DeliveryState.SUPPRESSED, reason), name
        texts = {entry["sid"]: entry["body"] for entry in cluster.texts()}
        for name, words in SENT_WHATEVER_THE_HOUR.items():
            assert finals[name].state == DeliveryState.SENT, finals[name]
            assert words in texts.get(finals[name].provider_id, ""), name
        assert not [text for text in texts.values() if "{{" in text or "None" in text]
        mails = "".join(entry["data"] for entry in cluster.mails())
        assert "zofia@customers.example" in mails
        # What is not final is held for opening hours, or waits for a reminder's moment.
        waiting = sum(worker.status()["pending"] for worker in workers)
        cluster.check(open_=waiting)
        feed = run(*carillon, "feed", "order/R-1001")
        assert "Order received" in feed or "order-received" in feed, feed
        assert [cluster.terminate(worker) for worker in workers] == [0, 0]
