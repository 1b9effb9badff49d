"""What an operator does at night, on a real worker: a record that nobody could read is found, repaired and
put back, and the customer gets the text once; and the books are compared with the provider's."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from console.cli import main
from deploy.fakes.sms import ACCOUNT, TOKEN
from schemas.codec import encode_json
from schemas.records import Delivery, DeliveryState, EntityKind, Template, TemplateText, Trigger, Unit
from streams.domain.ids import entity_key, log_key
from tests.support.cluster import Cluster, embedded_cluster
from tests.support.shop import HOUR, C, ann, change, facts, notification, reminder, shop

pytestmark = pytest.mark.embedded


def now() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A worker at work, and a shop that texts about every new order, with the order's number in the text."""
    with embedded_cluster(tmp_path_factory.mktemp("operations")) as cluster:
        cluster.publish(shop())
        text = TemplateText(sms="Got {{ entity.number }}", subject="Got", body="{{ entity.number }}")
        cluster.publish([Template(id="got", company=C, texts={"en": text}, version=1)])
        cluster.publish(
            [
                notification(Trigger.CREATED, id_="greet", template_id="got"),
                reminder(1, Unit.HOURS, EntityKind.ORDER, id_="soon", template_id="got"),
            ]
        )
        cluster.customers([ann()])
        cluster.start()
        yield cluster


def run(cluster: Cluster, *arguments: str) -> tuple[int, str, str]:
    """``carillon ARGUMENTS`` with the workers' settings: exit code, what it prints, what it complains of."""
    done = CliRunner().invoke(main, arguments, env=cluster.environment(cluster.folder / "nothing"))
    assert isinstance(done.exception, SystemExit | None), done.exc_info
    return done.exit_code, done.stdout, done.stderr


def lines(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def finals(cluster: Cluster, entity_id: str) -> list[tuple[str, str]]:
    return [(str(one.state), one.rule_id) for one in cluster.finals() if one.entity_id == entity_id]


def texts(cluster: Cluster, number: str) -> int:
    return sum(f"Got {number}" == entry["body"] for entry in cluster.texts())


def test_a_poison_record_is_repaired_and_the_customer_gets_the_text_once(
    cluster: Cluster, tmp_path: Path
) -> None:
    good = change(1, facts(scheduled=now() + 9 * HOUR), now(), entity_id="R-1")
    poison = encode_json(good).replace(b'"status_id":"new"', b'"status_id":""')
    behind = encode_json(change(1, facts(), now(), entity_id="behind"))
    key = entity_key(C, "R-1")
    cluster.send("orders", [(key, poison), (key, behind)])
    cluster.until(lambda: texts(cluster, "Nbehind") == 1, "the one behind it")
    assert texts(cluster, "NR-1") == 0

    code, listed, _ = run(cluster, "dead-letters", "list", "--json")
    assert code == 0
    [letter] = lines(listed)
    assert letter["error"] == "contract"
    assert letter["detail"] == "after.status_id: must not be empty"

    broken, fixed = tmp_path / "broken.json", tmp_path / "fixed.json"
    code, shown, _ = run(cluster, "dead-letters", "show", letter["id"], "--save", str(broken))
    assert code == 0
    assert "a worker would refuse it: after.status_id: must not be empty" in shown
    assert broken.read_bytes() == poison
    fixed.write_bytes(poison.replace(b'"status_id":""', b'"status_id":"new"'))

    code, said, _ = run(cluster, "dead-letters", "replay", letter["id"])
    assert code == 1
    assert "refused, nothing was sent" in said
    code, said, errors = run(cluster, "dead-letters", "replay", letter["id"], "--value", str(fixed))
    assert code == 0, errors
    assert f"put back as orders[{letter['partition']}]" in said
    cluster.until(lambda: texts(cluster, "NR-1") == 1, "the text of the repaired order")

    # Once more, against all advice: the record lies there twice, and is known.
    code, said, errors = run(
        cluster, "dead-letters", "replay", letter["id"], "--value", str(fixed), "--again"
    )
    assert code == 0, errors
    cluster.changes(EntityKind.ORDER, [change(1, facts(), now(), entity_id="after")])
    cluster.until(lambda: texts(cluster, "Nafter") == 1, "the one after it")
    cluster.caught_up()
    cluster.read()
    assert finals(cluster, "R-1") == [("sent", "greet")]
    assert texts(cluster, "NR-1") == 1
    assert run(cluster, "dead-letters", "list", "--json")[1] == ""


def test_the_books_of_a_worker_add_up_until_somebody_writes_in_them(cluster: Cluster) -> None:
    """Behind the other test: three texts sent, and a reminder in nine hours."""
    cluster.changes(EntityKind.ORDER, [change(1, facts(), now(), entity_id="one-more")])
    cluster.until(lambda: finals(cluster, "one-more"), "a final state")
    cluster.caught_up()
    code, said, errors = run(cluster, "reconcile", "--grace", "0s")
    assert (code, errors) == (0, ""), said
    assert "everything adds up" in said

    post(cluster, "Got None-more")
    post(cluster, "Who sent this?")
    lost = Delivery(
        delivery_id="0" * 32,
        transition=1,
        state=DeliveryState.SCHEDULED,
        company=C,
        kind=EntityKind.ORDER,
        entity_id="gone",
        entity_version=1,
        rule_id="greet",
        rule_version=1,
        customer_id="ann",
        channel="sms",
        anchor="gone-1",
        at=now(),
    )
    cluster.send("delivery-log", [(log_key(C, "order", "gone"), cluster.codec.encode(lost))])
    code, said, errors = run(cluster, "reconcile", "--grace", "0s", "--json")
    assert code == 1, errors
    assert sorted((each["kind"], each["entity"]) for each in lines(said)) == [
        ("accepted_twice", "order/one-more"),
        ("lost", "order/gone"),
        ("stranger", ""),
    ]


def post(cluster: Cluster, body: str) -> None:
    """Sends a text by the account, past Carillon."""
    request = urllib.request.Request(
        f"{cluster.sms_url}/2010-04-01/Accounts/{ACCOUNT}/Messages.json",
        data=urllib.parse.urlencode({"To": ann().phone, "From": "+48500000000", "Body": body}).encode(),
        headers={"Authorization": "Basic " + b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 201
