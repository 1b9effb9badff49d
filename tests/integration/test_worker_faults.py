"""Workers under load on a real Apache Kafka that are killed, told to stop, added, removed, and frozen in the
middle of a send until somebody else has taken over."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from random import Random

import pytest

from deploy.local_kafka import LocalKafka
from schemas.records import DeliveryState
from streams.domain.reasons import Reason
from tests.support.cluster import Worker
from tests.support.faults import Load, MailControl, NewLoad, connections, frozen, loads, seeds, tell
from tests.support.shop import MINUTE

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

_PATIENCE = 120.0


@pytest.fixture
def new_load(tmp_path: Path) -> Iterator[NewLoad]:
    with loads(tmp_path) as new:
        yield new


@pytest.mark.parametrize("seed", seeds())
def test_three_workers_are_killed_and_stopped_at_random(
    local_kafka: LocalKafka, new_load: NewLoad, seed: int
) -> None:
    """Seven times one of them: kill -9, kill -9 and the disk is lost, or SIGTERM; the next one sometimes
    before the last one is back. With even seeds they are static members of their group."""
    tell(f"seed {seed}; to choose others: CARILLON_FAULT_SEEDS=1,2,3")
    random = Random(seed)
    load = new_load(local_kafka.bootstrap, seed=seed)
    cluster = load.cluster
    cluster.script_sms(behaviours=[{"fault": "delay", "times": 0, "seconds": 0.3}])
    if seed % 2 == 0:
        cluster.own |= {number: {"CARILLON_INSTANCE_ID": f"w{number}"} for number in (1, 2, 3)}
        cluster.supervise()  # one that was taken for dead ends, and is started again
    workers = {worker.number: worker for worker in cluster.start(1, 2, 3)}
    load.start()
    down: list[int] = []
    for _ in range(7):
        load.goes_on(random.randint(1, 25))
        time.sleep(random.uniform(0, 0.5))  # the moment of the fault; nothing is waited for
        number = random.choice([n for n in workers if n not in down])
        how = random.choice(["kill", "kill", "lose disk", "stop"])
        tell(f"worker {number}: {how}")
        if how == "stop":
            code = cluster.terminate(workers[number])
            # One that has not got as far as to listen to signals simply ends by it.
            began = "carillon" in cluster.output(workers[number])
            assert code == 0 or (code == -signal.SIGTERM and not began), cluster.output(workers[number])
        else:
            cluster.kill(workers[number])
        if how == "lose disk":
            cluster.lose_disk(number)
        down.append(number)
        if len(down) == 2 or random.random() < 0.6:
            for one in down:
                workers[one] = cluster.launch(one)
            down.clear()
    for one in down:
        workers[one] = cluster.launch(one)
    load.finish("three workers, kill -9, SIGTERM and lost disks at random", members=3)


def test_workers_come_and_go(local_kafka: LocalKafka, new_load: NewLoad) -> None:
    """From one to three, and back to one that was not the first; nobody leaves anything unknown behind."""
    load = new_load(local_kafka.bootstrap)
    cluster = load.cluster
    [first] = cluster.start(1)
    load.start()
    load.goes_on(10)
    [second] = cluster.start(2)
    load.goes_on(10)
    [third] = cluster.start(3)
    load.goes_on(10)
    assert cluster.terminate(first) == 0
    load.goes_on(10)
    assert cluster.terminate(third) == 0
    load.goes_on(10)
    row = load.finish("workers added and removed, 1 to 3 to 1", second, members=1)
    assert (row.closed, row.resent) == (0, 0)
    assert not [record for record in cluster.log if record.state == DeliveryState.UNKNOWN]


HELD = 8


@pytest.mark.parametrize("when", ["before it is asked about", "after"])
def test_a_worker_wakes_while_its_texts_are_being_sent(
    local_kafka: LocalKafka, new_load: NewLoad, when: str
) -> None:
    """The provider has the requests and has not decided. Another worker takes over (and, in the second case,
    asks, hears of nothing and closes them); then the first wakes, and the provider accepts."""
    load = new_load(local_kafka.bootstrap, {"sms_timeout": "60000"})
    cluster = load.cluster
    cluster.supervise()  # who finds out that it was away may end, and is started again
    [first] = cluster.start(1)
    cluster.script_sms(behaviours=[{"fault": "hold", "times": HELD}])
    load.start()
    cluster.until(lambda: cluster.script_sms() == HELD, "requests to be held")
    with frozen(first.child.pid):
        taken_over(load, cluster.launch(2), when == "after")
        assert connections(first.child.pid, port_of(cluster.sms_url)) >= HELD
    assert cluster.script_sms(release=True) == HELD
    load.start()
    load.goes_on()
    row = load.finish(f"frozen within a send of SMS, awake {when}", members=2)
    # Besides those that were held: intents of which the provider had not heard when the worker was frozen.
    assert row.closed >= (HELD if when == "after" else 0)
    if when != "after":
        closed = load.ended(DeliveryState.UNKNOWN_CLOSED)
        assert not closed & load.accepted_texts(), "the provider was asked, and had it"


@pytest.mark.parametrize("when", ["before it is sent again", "after"])
def test_a_worker_wakes_while_its_mails_are_being_sent(
    local_kafka: LocalKafka, new_load: NewLoad, when: str
) -> None:
    """The relay has yet to answer RCPT: what the worker says when it wakes is the message itself. In the
    second case the other one has sent it again by then, under the same Message-ID."""
    load = new_load(local_kafka.bootstrap, {"smtp_timeout": "60000"})
    cluster = load.cluster
    cluster.supervise()
    with closing(MailControl(cluster)) as control:
        [first] = cluster.start(1)
        control.script(behaviours=[{"at": "rcpt", "fault": "hold", "times": HELD}])
        load.start()
        cluster.until(lambda: control.script() == HELD, "mails to be held")
        with frozen(first.child.pid):
            taken_over(load, cluster.launch(2), when == "after")
            assert connections(first.child.pid, cluster.mail_port) >= HELD
        assert control.script(release=True) == HELD
        load.start()
        load.goes_on()
        row = load.finish(f"frozen within a send of e-mail, awake {when}", members=2)
    assert row.closed == 0
    if when == "after":
        assert row.resent >= HELD, "the first did not go on with what it was saying"


def taken_over(load: Load, second: Worker, to_the_end: bool) -> None:
    """The second worker has what the frozen one was sending, and brings it to its end if so wished."""
    cluster = load.cluster
    cluster.until(second.ready, "the other to take over", deadline=_PATIENCE)
    cluster.until(lambda: inherited(load) >= HELD, "the sends to be inherited")
    load.stop()
    if to_the_end:
        load.settle(second)


def inherited(load: Load) -> int:
    return len({one.delivery_id for one in load.cluster.read() if one.reason == Reason.INHERITED})


def test_a_worker_is_replaced_while_it_is_alive(local_kafka: LocalKafka, new_load: NewLoad) -> None:
    """Two processes under one instance id, as when an orchestrator lost sight of a machine: the group gives
    everything to the second at once, and the first learns of it some time later. It must not send meanwhile
    what the second sends, and must end: else they would take the place from each other for ever."""
    load = new_load(local_kafka.bootstrap)
    cluster = load.cluster
    cluster.script_sms(behaviours=[{"fault": "delay", "times": 0, "seconds": 0.2}])
    cluster.own |= {number: {"CARILLON_INSTANCE_ID": "one"} for number in (1, 2)}
    [first] = cluster.start(1)
    load.start(16)
    load.goes_on(10)
    cluster.let_go(first)
    [second] = cluster.start(2)
    load.goes_on(10)
    load.finish("a second worker with the same instance id", second, members=1)
    cluster.until(lambda: first.child.popen.poll() is not None, "the first to end")
    assert first.child.popen.returncode > 0
    # Whichever it sees first: its membership, or the other's claims.
    told = cluster.output(first)
    assert "another process has joined" in told or "has taken over from" in told


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def test_a_worker_wakes_between_its_intents_and_the_calls(local_kafka: LocalKafka, new_load: NewLoad) -> None:
    """The broker takes its time to acknowledge the intents, the worker is frozen before it hears of it, and
    somebody else takes over. When it wakes it is told that it may go on, and must not: it is no longer the
    owner, and sends nothing at all."""
    load = new_load(local_kafka.bootstrap, running=False)
    cluster = load.cluster
    cluster.supervise()
    [first] = cluster.start(1)
    load.publish(30, soon=(60_000, 60_000))
    at_once = sum(name[2] != "soon" for name in load.due)
    reminders = sum(name[2] == "soon" and not due.cancelled for name, due in load.due.items())
    cluster.until(lambda: load.known(DeliveryState.SENT) == at_once, "all but the reminders")
    cluster.caught_up(first)
    with ExitStack() as asleep:
        with frozen(local_kafka.nodes[0].pid):
            load.clock.jump(MINUTE)
            cluster.until(lambda: first.status()["in_flight"] >= reminders, "rounds that wait for the broker")
            asleep.enter_context(frozen(first.child.pid))
        second = cluster.launch(2)
        cluster.until(second.ready, "the other to take over", deadline=_PATIENCE)
        cluster.until(lambda: inherited(load) > 0, "the intents to be inherited")
        before = load.accepted(rule="soon")
    row = load.finish("frozen between intents and provider calls", members=2)
    assert row.closed == inherited(load)
    assert load.accepted(rule="soon") == reminders - row.closed
    tell(f"{row.closed} of {reminders} were inherited; {before} were sent by the other")
