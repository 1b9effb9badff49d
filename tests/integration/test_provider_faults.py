"""Providers that are slow, or hang, under a worker on a real Apache Kafka: what does not need them goes on,
and in the end nothing is lost and nothing goes twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from deploy.local_kafka import LocalKafka
from schemas.records import DeliveryState
from tests.support.faults import MailControl, NewLoad, loads

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

ORDERS = 40


@pytest.fixture
def new_load(tmp_path: Path) -> Iterator[NewLoad]:
    with loads(tmp_path) as new:
        yield new


def test_no_text_is_answered_in_time(local_kafka: LocalKafka, new_load: NewLoad) -> None:
    """Some are accepted long after our time-out, some at once and never answered, some never accepted.
    E-mails go as ever."""
    load = new_load(local_kafka.bootstrap, {"sms_timeout": "2000"})
    cluster = load.cluster
    [worker] = cluster.start(1)
    cluster.script_sms(
        behaviours=[
            {"fault": "hang", "times": 10},
            {"fault": "accept_hang", "times": 10},
            {"fault": "hold", "times": 0},
        ]
    )
    load.publish(ORDERS)
    cluster.until(lambda: len(cluster.mails()) == ORDERS, "the e-mails")
    assert load.accepted() <= 10
    # Each of the scripted ones, and some that are held; then the breaker leaves the others in the store.
    cluster.until(lambda: load.known(DeliveryState.UNKNOWN) > 20, "texts of which nobody knows")
    cluster.script_sms(clear=True, release=True)
    row = load.finish("SMS provider answers too late or never", worker, members=1)
    assert (row.closed, row.resent) == (10, 0)


PHASES = ("connect", "ehlo", "mail", "rcpt", "data", "body", "dot", "kept")


def test_the_mail_relay_hangs_in_every_phase(local_kafka: LocalKafka, new_load: NewLoad) -> None:
    """Texts go as ever. The answer to a final dot is waited for two minutes; the worker is told to stop
    before, and its successor sends again what may or may not have been accepted."""
    load = new_load(local_kafka.bootstrap, {"smtp_timeout": "2000"})
    cluster = load.cluster
    [worker] = cluster.start(1)
    with closing(MailControl(cluster)) as control:
        control.script(behaviours=[{"at": phase, "fault": "hang", "times": 1} for phase in PHASES])
    load.publish(ORDERS)
    texts = sum(not due.cancelled for due in load.due.values()) - ORDERS
    cluster.until(lambda: load.accepted() == texts, "the texts")
    cluster.until(lambda: len(cluster.mails()) >= ORDERS // 2, "the breaker to find that it works again")
    assert cluster.terminate(worker) == 0
    cluster.start(1)
    row = load.finish("mail relay hangs in each phase of SMTP", members=1)
    assert (row.closed, row.resent) == (0, 1), "the one that was kept without an answer goes twice, by policy"


def test_a_blast_of_one_company_over_a_slow_provider_delays_no_other(
    local_kafka: LocalKafka, new_load: NewLoad
) -> None:
    load = new_load(local_kafka.bootstrap, {"sms_in_flight": "8"}, companies=("acme", "bolt"))
    cluster = load.cluster
    [worker] = cluster.start(1)
    cluster.script_sms(behaviours=[{"fault": "delay", "times": 0, "seconds": 0.3}])
    load.publish(150, company="acme")
    load.goes_on(20)
    load.publish(4, company="bolt")
    cluster.until(lambda: load.accepted("bolt", "new-sms") == 4, "the other company's texts")
    assert load.accepted("acme", "new-sms") < 120, "it had to wait for the blast"
    cluster.script_sms(clear=True)
    row = load.finish("one company's blast over a slow SMS provider", worker, members=1)
    assert (row.closed, row.resent) == (0, 0)
