"""``carillon dead-letters``: what is shown, what goes back, and what is refused, on records as the agents
write them. That a worker takes what goes back is told in tests/integration/test_operations.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec
import pytest

from console.letters import OF
from console.repairs import as_text, from_editor, hex_dump
from schemas.codec import Codec, encode_json
from schemas.records import Company, Customer, DeadLetter, EntityKind, Timer, TimerOp
from schemas.registry import EmbeddedRegistry
from streams.domain.ids import customer_key
from streams.kafka.topics import MAX_VALUE
from streams.settings import Settings
from tests.console.conftest import Carillon
from tests.console.test_feed import produce
from tests.support.kafka_records import RawRecord, read_all
from tests.support.shop import DAY, ann, at, change, facts, shop

CODEC = Codec(EmbeddedRegistry())
NIGHT = at("2026-04-07 20:00")
GOOD = change(3, facts(), NIGHT, entity_id="R-1")
BROKEN = encode_json(GOOD).replace(b'"status_id":"new"', b'"status_id":""')


def letter(offset: int = 17, value: bytes = BROKEN, **changes: object) -> DeadLetter:
    record = DeadLetter(
        topic="orders",
        partition=2,
        offset=offset,
        timestamp=NIGHT,
        error="contract",
        detail="after.status_id: must not be empty",
        key=b"acme/R-1",
        value=value,
        at=NIGHT,
    )
    return msgspec.structs.replace(record, **changes)


def set_aside(settings: Settings, *letters: DeadLetter) -> None:
    produce(settings, "dead-letters", [(each.key, CODEC.encode(each)) for each in letters])


def records(settings: Settings, topic: str) -> list[RawRecord]:
    return read_all(settings.broker, settings.topic_prefix + topic)


@pytest.fixture
def acme(own_topics: Settings) -> Settings:
    company = next(record for record in shop() if isinstance(record, Company))
    produce(own_topics, "companies", [(b"acme", CODEC.encode(company))])
    return own_topics


# --- list and show


@pytest.mark.embedded
def test_the_list_says_where_and_why(own_topics: Settings, carillon: Carillon) -> None:
    assert "no dead letters" in carillon("dead-letters", "list").output
    strange = letter(detail="after.status_id: \x1b[31mis missing", key=b"acme/1")
    twice = letter(at=NIGHT + 1, detail="after.status_id: \x1b[31mis missing", key=b"acme/1")
    other = msgspec.structs.replace(strange, topic=own_topics.topic_prefix + "leads", at=NIGHT + DAY)
    set_aside(own_topics, strange, twice, other)
    shown = carillon("dead-letters", "list", "--topic", "orders").stdout
    assert "orders/2/17  Tue 7 Apr 2026 18:00  acme/1  contract  after.status_id: [31mis missing" in shown
    assert "\n1 dead letter\n" in shown
    assert "leads/2/17" in carillon("dead-letters", "list", "--since", "2026-04-08").stdout
    assert "no dead letters" in carillon("dead-letters", "list", "--until", "2026-04-07").stdout
    assert "no dead letters" in carillon("dead-letters", "list", "--error", "crashed").stdout
    listed = [json.loads(line) for line in carillon("dead-letters", "list", "--json").stdout.splitlines()]
    assert [each["id"] for each in listed] == ["orders/2/17", "leads/2/17"]
    assert {each["settled_at"] for each in listed} == {None}
    wrong = carillon("dead-letters", "list", "--since", "yesterday")
    assert wrong.exit_code == 2
    assert "neither a length of time (24h, 10d) nor a moment" in wrong.output


@pytest.mark.embedded
def test_one_letter_is_shown_whole(own_topics: Settings, carillon: Carillon, tmp_path: Path) -> None:
    avro = CODEC.encode_change(EntityKind.ORDER, GOOD)
    cut_off = letter(18, avro[:-30], error="undecodable", detail="the bytes do not fit their schema")
    garbage = letter(19, b"\xff\xfe" + bytes(300), error="undecodable", detail="the first byte is 0xff")
    no_json = letter(20, b'{"company": "acme", \x07', error="undecodable", detail="not JSON")
    set_aside(own_topics, letter(), cut_off, garbage, no_json)

    shown = carillon("dead-letters", "show", "orders/2/17").stdout
    assert "came from     topic orders, partition 2, offset 17" in shown
    assert "key           acme/R-1" in shown
    assert "contract: A field is missing or has a value that the contract does not allow." in shown
    assert "a worker would refuse it: after.status_id: must not be empty" in shown
    assert "carillon dead-letters replay orders/2/17 --edit" in shown
    assert f"value (JSON, {len(BROKEN)} bytes):" in shown
    assert '  "entity_id": "R-1",' in shown

    shown = carillon("dead-letters", "show", "orders/2/18").stdout
    assert "value (Avro, schema id " in shown
    assert '"event_id": "R-1-3"' in shown
    assert "! the bytes break off or don't fit their schema at the field " in shown

    kept = tmp_path / "value"
    shown = carillon("dead-letters", "show", "orders/2/19", "--save", str(kept)).stdout
    assert "000000  ff fe 00 00" in shown
    assert "... 46 more" in shown
    assert kept.read_bytes() == garbage.value

    shown = carillon("dead-letters", "show", "orders/2/20").stdout
    assert "\x07" not in shown
    assert "7b 22 63 6f" in shown  # the control character makes it bytes

    told = json.loads(carillon("dead-letters", "show", "orders/2/17", "--json").stdout)
    assert told["decoded"]["after"]["status_id"] == ""
    assert told["refused_today"] == "after.status_id: must not be empty"

    unknown = carillon("dead-letters", "show", "orders/2/99")
    assert unknown.exit_code == 1
    assert "there is no dead letter orders/2/99" in unknown.output
    assert carillon("dead-letters", "show", "orders").exit_code == 2


# --- replay


@pytest.mark.embedded
def test_a_repaired_record_goes_back_to_its_place_and_only_once(
    acme: Settings, carillon: Carillon, tmp_path: Path
) -> None:
    set_aside(acme, letter())
    still = carillon("dead-letters", "replay", "orders/2/17")
    assert still.exit_code == 1
    assert "orders/2/17: refused, nothing was sent: after.status_id: must not be empty" in still.output
    assert records(acme, "orders") == []

    fixed = tmp_path / "fixed.json"
    fixed.write_bytes(b"\n  " + encode_json(GOOD) + b"\n")
    asked = ("dead-letters", "replay", "orders/2/17", "--value", str(fixed))
    planned = carillon(*asked, "--dry-run")
    assert planned.exit_code == 0
    assert "orders/2/17: would be put back" in planned.output
    assert records(acme, "orders") == []

    done = carillon(*asked)
    assert done.exit_code == 0, done.output
    assert "orders/2/17: put back as orders[2] offset 0" in done.output
    [record] = records(acme, "orders")
    assert (record.partition, record.key, record.value) == (2, b"acme/R-1", encode_json(GOOD))
    assert record.headers == [(OF, b"orders/2/17")]

    again = carillon(*asked)
    assert again.exit_code == 0
    assert "orders/2/17: dealt with already: put back as orders[2] offset 0 (--again" in again.output
    assert len(records(acme, "orders")) == 1
    assert "no dead letters (1 dealt with: --all shows them too)" in carillon("dead-letters", "list").output
    assert "put back as orders[2] offset 0" in carillon("dead-letters", "list", "--all").stdout
    assert "dealt with" in carillon("dead-letters", "show", "orders/2/17").stdout

    assert carillon(*asked, "--again").exit_code == 0
    assert [each.offset for each in records(acme, "orders")] == [0, 1]


@pytest.mark.embedded
def test_many_go_back_in_order_by_a_filter_and_what_is_still_wrong_stays(
    acme: Settings, carillon: Carillon
) -> None:
    good = [
        letter(
            number,
            encode_json(change(number, facts(), NIGHT, entity_id="R-1")),
            error="unknown_schema",
            at=NIGHT + number,
        )
        for number in range(1, 8)
    ]
    set_aside(acme, *good, letter(30, error="unknown_schema"), letter(31), letter(32, topic="leads"))
    result = carillon("dead-letters", "replay", "--topic", "orders", "--error", "unknown_schema", "--yes")
    assert result.exit_code == 1
    assert "orders/2/30: refused, nothing was sent: after.status_id" in result.output
    assert "1 refused, 7 put back" in result.output
    assert "1 record could not be put back, see above" in result.output
    back = records(acme, "orders")
    assert [each.value for each in back] == [each.value for each in good]
    assert {each.partition for each in back} == {2}
    open_ = [
        json.loads(line)["id"] for line in carillon("dead-letters", "list", "--json").stdout.splitlines()
    ]
    assert sorted(open_) == ["leads/2/32", "orders/2/30", "orders/2/31"]
    told = carillon("dead-letters", "replay", "--error", "unknown_schema", "--json")
    assert [json.loads(line)["result"] for line in told.stdout.splitlines()] == ["refused"]
    nothing = carillon("dead-letters", "replay", "--error", "crashed")
    assert (nothing.exit_code, nothing.output) == (0, "nothing to put back\n")


@pytest.mark.embedded
def test_avro_is_repaired_in_the_schema_it_came_in(
    acme: Settings, carillon: Carillon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may read the publisher's topic: JSON among its Avro would be their dead letter."""
    bad = msgspec.structs.replace(GOOD, event_id="")
    set_aside(acme, letter(17, CODEC.encode_change(EntityKind.ORDER, bad)))
    editor = tmp_path / "editor.py"
    editor.write_text(
        "import sys\nfile = open(sys.argv[1], 'r+')\ntext = file.read()\n"
        "assert text.startswith('# orders/2/17: after.status_id'), text\n"
        'file.seek(0)\nfile.write(text.replace(\'"event_id": ""\', \'"event_id": "R-1-3"\'))\n'
    )
    monkeypatch.setenv("EDITOR", f"{sys.executable} {editor}")
    monkeypatch.delenv("VISUAL", raising=False)
    result = carillon("dead-letters", "replay", "orders/2/17", "--edit")
    assert result.exit_code == 0, result.output
    [record] = records(acme, "orders")
    assert CODEC.decode_change_value(EntityKind.ORDER, record.value) == GOOD
    assert record.value[0] == 0


@pytest.mark.embedded
def test_an_editor_left_without_saving_sends_nothing(
    acme: Settings, carillon: Carillon, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_aside(acme, letter())
    monkeypatch.setenv("EDITOR", "true")
    result = carillon("dead-letters", "replay", "orders/2/17", "--edit")
    assert result.exit_code == 1
    assert "nothing was saved, nothing is put back" in result.output
    assert records(acme, "orders") == []


@pytest.mark.embedded
def test_what_must_not_go_back_is_refused_with_the_reason(
    acme: Settings, carillon: Carillon, tmp_path: Path
) -> None:
    cut = letter(1, b"{" + b"x" * (MAX_VALUE - 1), detail=f"too large (here: the first {MAX_VALUE})")
    timer = Timer(
        op=TimerOp.FACTS,
        company="acme",
        kind=EntityKind.ORDER,
        entity_id="1",
        customer_id="ann",
        entity_version=1,
    )
    ours = letter(4, CODEC.encode(timer), topic="timers", error="crashed", key=b"acme/ann")
    set_aside(
        acme,
        letter(2),
        letter(3, partition=9),
        ours,
        letter(5, topic="nowhere"),
    )
    set_aside(acme, cut)
    fixed = tmp_path / "fixed"

    def replay(name: str, *options: str) -> str:
        result = carillon("dead-letters", "replay", name, *options)
        assert result.exit_code == 1, result.output
        return result.output

    assert "only the beginning of the value is here: give all of a smaller one with --value" in replay(
        "orders/2/1"
    )
    fixed.write_bytes(encode_json(msgspec.structs.replace(GOOD, entity_id="R-2")))
    assert "it speaks of acme/R-2, but its key is acme/R-1" in replay("orders/2/2", "--value", str(fixed))
    fixed.write_bytes(b'{"company": ')
    assert "not JSON" in replay("orders/2/2", "--value", str(fixed))
    assert "topic orders has no partition 9 any more" in replay("orders/9/3")
    assert "topic nowhere has no partition 2" in replay("nowhere/2/5")
    assert "timers is written by Carillon alone" in replay("timers/2/4", "--value", str(fixed))
    json_only = replay("orders/2/2", "--set", "order_format=avro")
    assert "the setting of this topic asks for avro" in json_only
    assert records(acme, "orders") == []

    back = carillon("dead-letters", "replay", "timers/2/4")
    assert back.exit_code == 0, back.output
    assert [each.partition for each in records(acme, "timers")] == [2]


@pytest.mark.embedded
def test_an_older_consent_never_goes_behind_a_newer_one(
    acme: Settings, carillon: Carillon, tmp_path: Path
) -> None:
    """The topic keeps the last record of a key: a yes behind the no would be all that is left of them."""
    yes = ann(version=1)
    letters = [
        letter(n, encode_json(yes), topic="customer-consents", key=b"acme/ann", error="crashed")
        for n in (1, 2, 3)
    ]
    again = [
        letter(n, encode_json(ann(customer_id="bob", version=v)), topic="customer-consents", key=b"acme/bob")
        for n, v in ((11, 2), (12, 1))
    ]
    set_aside(acme, *again)
    both = carillon("dead-letters", "replay", "--error", "contract")
    assert "not put back: version 2 of the customer is known, this is 1" in both.output, both.output
    assert len(records(acme, "customer-consents")) == 1
    gone = msgspec.structs.replace(yes, customer_id="gone")
    letters.append(letter(9, encode_json(gone), topic="customer-consents", key=b"acme/gone", error="crashed"))
    set_aside(acme, *letters)
    assert carillon("dead-letters", "replay", "customer-consents/2/1").exit_code == 0
    assert len(records(acme, "customer-consents")) == 2

    key = customer_key("acme", "ann")
    withdrawn = Customer(company="acme", customer_id="ann", sms_consent=False, version=2)
    produce(acme, "consents", [(key, CODEC.encode(withdrawn)), (customer_key("acme", "gone"), None)])
    planned = carillon("dead-letters", "replay", "customer-consents/2/2", "--dry-run")
    assert "not put back: version 2" in planned.output
    result = carillon("dead-letters", "replay", "customer-consents/2/2")
    assert result.exit_code == 0
    assert "not put back: version 2 of the customer is known, this is 1" in result.output
    deleted = carillon("dead-letters", "replay", "customer-consents/2/9")
    assert "the customer has been deleted since" in deleted.output
    assert len(records(acme, "customer-consents")) == 2
    open_ = [
        json.loads(line)["id"] for line in carillon("dead-letters", "list", "--json").stdout.splitlines()
    ]
    assert open_ == ["customer-consents/2/3"], "what need not go back is dealt with"

    fixed = tmp_path / "fixed.json"
    fixed.write_bytes(b"\n" + encode_json(yes))
    repaired = carillon("dead-letters", "replay", "customer-consents/2/3", "--value", str(fixed), "--dry-run")
    assert "not put back: version 2" in repaired.output
    fixed.write_bytes(encode_json(msgspec.structs.replace(yes, version=3)))
    assert carillon("dead-letters", "replay", "customer-consents/2/3", "--value", str(fixed)).exit_code == 0
    assert len(records(acme, "customer-consents")) == 3


@pytest.mark.embedded
def test_what_will_not_happen_is_said_before(acme: Settings, carillon: Carillon) -> None:
    stranger = msgspec.structs.replace(GOOD, company="nobody")
    old = encode_json(GOOD)
    broken_details = encode_json(GOOD).replace(b'"title":""', b'"title":1')
    avro = CODEC.encode_change(EntityKind.ORDER, GOOD)[:-3]
    set_aside(
        acme,
        letter(1, old, error="crashed"),
        letter(2, encode_json(stranger), error="crashed", key=b"nobody/R-1"),
        letter(3, avro, error="crashed"),
        letter(4, broken_details, error="crashed"),
    )
    said = carillon("dead-letters", "replay", "--error", "crashed", "--dry-run").output
    assert "days ago, and acme tells nobody of changes older than 1.0 days" in said
    assert "the company 'nobody' is not set up: nothing will be sent" in said
    assert "its details can't be read and will be missing in texts" in said
    assert "orders/2/4: refused" in said


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("orders/2/17", "--topic", "orders"),
        ("orders/2/17", "orders/2/18", "--edit"),
        ("--topic", "orders", "--edit"),
        ("orders/2/17", "--edit", "--value", __file__),
    ],
)
def test_wrong_usage(carillon: Carillon, arguments: tuple[str, ...]) -> None:
    assert carillon("dead-letters", "replay", *arguments).exit_code == 2


def test_what_people_see_of_bytes() -> None:
    assert hex_dump(b"ab\x00" + bytes(range(32, 48))) == [
        "000000  61 62 00 20 21 22 23 24 25 26 27 28 29 2a 2b 2c  ab. !\"#$%&'()*+,",
        "000010  2d 2e 2f                                         -./",
    ]
    assert as_text(b"a\tb\n") == "a\tb\n"
    assert as_text(b"a\x1bb") is None
    assert as_text(b"\xff") is None
    assert from_editor("# a\n\n# b\n{}\n") == b"{}"
    assert from_editor("# a\n") == b""
