# ruff: noqa: E501  # tables of mistakes, one a line
from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any, TypeVar

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from console.shopfile import (
    ChangeItem,
    FieldChange,
    FileProblem,
    ShopFile,
    check,
    difference,
    dump,
    load,
    parse,
)
from schemas.records import (
    Channel,
    Company,
    EntityKind,
    Hours,
    Interval,
    Location,
    Mailbox,
    Record,
    Rule,
    RuleKind,
    Status,
    StatusKind,
    Template,
    TemplateText,
    Trigger,
    Unit,
)
from streams.domain.catalog import Catalog, ReferenceType

EXAMPLE = Path(__file__).parents[2] / "examples" / "shop.yaml"
MARIA = "maria@spokeandwheel.example"
NOW = 1_700_000_000_000

HEAD = """\
company: {id: shop, name: Shop, language: en, zone: UTC}
"""
SMALL = """\
company:
  id: shop
  name: Shop
  language: en
  zone: Europe/Warsaw
  hours: {mon-fri: 09:00-18:00}
locations:
  north: {name: North}
statuses:
  order:
    ready: {names: {en: Ready}}
mailboxes:
  front: {address: front@shop.example, users: [ann]}
templates:
  hello:
    texts:
      en: {sms: Hello}
rules:
  greet:
    entity: order
    trigger: created
    channel: sms
    template: hello
"""


def shop_of(text: str) -> ShopFile:
    shop = parse(text)
    assert isinstance(shop, ShopFile), [str(problem) for problem in shop]
    return shop


def problems_of(text: str) -> list[FileProblem]:
    problems = parse(text)
    assert isinstance(problems, list)
    return problems


def published(text: str, catalog: Catalog | None = None, now: int = NOW, **options: Any) -> Catalog:
    catalog = catalog or Catalog()
    publish(difference(shop_of(text), catalog, now, "ann", **options), catalog)
    return catalog


def publish(items: list[ChangeItem], catalog: Catalog) -> None:
    types: dict[str, ReferenceType] = {
        "company": Company,
        "location": Location,
        "status": Status,
        "mailbox": Mailbox,
        "template": Template,
        "rule": Rule,
    }
    for item in items:
        if item.record is None:
            assert catalog.remove(types[item.kind], item.company, item.id)
        else:
            assert catalog.apply(item.record)


# --- the example -------------------------------------------------------------------------------------


def example() -> ShopFile:
    shop = load(EXAMPLE)
    assert isinstance(shop, ShopFile), shop
    return shop


def test_the_example_can_be_applied_and_applied_again() -> None:
    shop, catalog = example(), Catalog()
    assert check(shop, catalog, MARIA) == []
    publish(difference(shop, catalog, NOW, MARIA), catalog)
    assert difference(shop, catalog, NOW + 1, MARIA) == []
    assert difference(shop, catalog, NOW + 1, MARIA, prune=True) == []
    assert check(shop, catalog, None) == []


def test_the_example_shows_every_trigger_and_both_channels() -> None:
    shop = example()
    assert {rule.trigger for rule in shop.rules} == set(Trigger) - {Trigger.STATUS_CHANGED}
    assert {rule.entity for rule in shop.rules} == set(EntityKind)
    assert {rule.channel for rule in shop.rules} == set(Channel)
    assert {place.zone for place in shop.locations} == {"Europe/Warsaw", "Europe/Lisbon", "America/New_York"}
    assert all(set(template.texts) == {"en", "pl"} for template in shop.templates)
    assert len(shop.rules) >= 12


def test_only_maria_may_choose_her_mailbox() -> None:
    (problem,) = check(example(), Catalog(), "eve")
    assert problem.field == "rules.lead-greeting.mailbox"
    assert EXAMPLE.read_text().splitlines()[problem.line - 1].strip() == "mailbox: maria"


def test_the_example_written_and_read_makes_no_difference() -> None:
    shop, catalog = example(), Catalog()
    publish(difference(shop, catalog, NOW, MARIA), catalog)
    again = shop_of(dump(catalog, shop.company.id))
    assert difference(again, catalog, NOW, MARIA, prune=True) == []
    empty = Catalog()
    publish(difference(again, empty, NOW, MARIA), empty)
    assert set(empty.rules_of(shop.company.id)) == set(catalog.rules_of(shop.company.id))


# --- reading -----------------------------------------------------------------------------------------


def test_friendly_forms_become_records() -> None:
    shop = shop_of(
        dedent("""\
        company:
          id: shop
          name: Shop
          language: en
          zone: Europe/Warsaw
          currency: PLN
          hours: "mon-fri: 09:00-12:00, 13:00-18:00, sat: 10:00-14:00"
          sms_sender: Shop
          email_sender_name: The Shop
          email_sender_address: a@shop.example
          max_event_age: 2 days
          quiet_hours: 22:00-08:00
          customer_daily_cap: 3
          duplicate_window: 10 minutes
          segment_budget: 2
          smart_encoding: no
          sms_help: Call us
        locations:
          north: {name: North, zone: Europe/Lisbon, address: 1 Road, phone: "+351", hours: {fri: 22:00-02:00, closed: [2026-12-24]}}
          south: {name: South}
        statuses:
          order:
            ready: {names: {en: Ready, no: Klar}}
            done: {kind: Closed, names: {en: Done}}
          lead:
            lost: {kind: cancelled, names: {en: Lost}}
        mailboxes:
          front: {address: front@shop.example, provider: gmail, secret: env:X, users: [ann, no], connected: no}
        templates:
          t: {name: T, texts: {en: {sms: s, subject: u, body: b}, no: {sms: n}}}
        rules:
          a:
            name: A
            entity: Order
            trigger: status changed to
            status: ready
            delay: 2 days
            working_hours_only: yes
            channel: E-Mail
            mailbox: front
            template: t
            locations: [north]
            only_if_still: true
            max_lateness: 30 minutes
            enabled: no
          b: {entity: appointment, before: 24 hours, channel: sms, template: t, locations: all}
          c: {entity: appointment, trigger: before-time, before: 1 day, channel: email, template: t}
        """)
    )
    nine, one = Interval(opens=540, closes=720), Interval(opens=780, closes=1080)
    week = (((nine, one),) * 5) + ((Interval(opens=600, closes=840),), ())
    assert shop.company == Company(
        id="shop",
        name="Shop",
        language="en",
        zone="Europe/Warsaw",
        currency="PLN",
        hours=Hours(weekdays=week),
        sms_sender="Shop",
        email_sender_name="The Shop",
        email_sender_address="a@shop.example",
        max_event_age=172_800_000,
        quiet_hours=(Interval(opens=1320, closes=480),),
        customer_daily_cap=3,
        duplicate_window=600_000,
        segment_budget=2,
        smart_encoding=False,
        sms_help="Call us",
        version=0,
    )
    friday = ((), (), (), (), (Interval(opens=1320, closes=120),), (), ())
    assert shop.locations == (
        Location(
            id="north",
            company="shop",
            name="North",
            zone="Europe/Lisbon",
            address="1 Road",
            phone="+351",
            hours=Hours(weekdays=friday, closed_dates=("2026-12-24",)),
            version=0,
        ),
        Location(
            id="south",
            company="shop",
            name="South",
            zone="Europe/Warsaw",
            hours=Hours(weekdays=week),
            version=0,
        ),
    )
    assert [(s.id, s.entity, s.kind, s.names) for s in shop.statuses] == [
        ("ready", EntityKind.ORDER, StatusKind.OPEN, {"en": "Ready", "no": "Klar"}),
        ("done", EntityKind.ORDER, StatusKind.CLOSED, {"en": "Done"}),
        ("lost", EntityKind.LEAD, StatusKind.CANCELLED, {"en": "Lost"}),
    ]
    assert shop.mailboxes == (
        Mailbox(
            id="front",
            company="shop",
            address="front@shop.example",
            secret_ref="env:X",
            users=("ann", "no"),
            connected=False,
            version=0,
        ),
    )
    assert shop.connection_unsaid == frozenset()
    assert shop.templates == (
        Template(
            id="t",
            company="shop",
            name="T",
            texts={"en": TemplateText(sms="s", subject="u", body="b"), "no": TemplateText(sms="n")},
            version=0,
        ),
    )
    assert shop.rules == (
        Rule(
            id="a",
            company="shop",
            name="A",
            kind=RuleKind.NOTIFICATION,
            entity=EntityKind.ORDER,
            trigger=Trigger.STATUS_CHANGED_TO,
            status_id="ready",
            delay=2,
            delay_unit=Unit.DAYS,
            working_hours_only=True,
            channel=Channel.EMAIL,
            mailbox_id="front",
            template_id="t",
            locations=("north",),
            only_if_still=True,
            max_lateness=1_800_000,
            enabled=False,
            version=0,
        ),
        Rule(
            id="b",
            company="shop",
            kind=RuleKind.REMINDER,
            entity=EntityKind.APPOINTMENT,
            trigger=Trigger.BEFORE_TIME,
            offset=24,
            offset_unit=Unit.HOURS,
            channel=Channel.SMS,
            template_id="t",
            version=0,
        ),
        Rule(
            id="c",
            company="shop",
            kind=RuleKind.REMINDER,
            entity=EntityKind.APPOINTMENT,
            trigger=Trigger.BEFORE_TIME,
            offset=1,
            offset_unit=Unit.DAYS,
            channel=Channel.EMAIL,
            template_id="t",
            version=0,
        ),
    )


RULE = "{entity: order, trigger: created, channel: sms, template: t"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "line 1: the file is empty"),
        ("# nothing\n", "line 1: the file is empty"),
        ("company: {id: shop\n", "line 2: is not YAML: expected ',' or '}', but got '<stream end>'"),
        ("company:\n\tid: x\n", "line 2: is not YAML: found character '\\t' that cannot start any token"),
        ("company:\n  name: \x07\n", "line 2: is not YAML: special characters are not allowed"),
        ("a: &x 1\nb: *x\n", "line 2: aliases (*name) can't be used here"),
        ("a: 1\n---\nb: 1\n", "line 2: is not YAML: but found another document"),
        ("company: " + "[" * 5000, "line 1: is nested too deeply"),
        ("- a\n", "line 1: must be a mapping (key: value), not a list"),
        ("just a text", "line 1: must be a mapping (key: value), not 'just a text'"),
        ("locations: {}\n", "line 1: needs 'company'"),
        ("company: {id: s, name: S, language: en}\n", "line 1: company: needs 'zone'"),
        (HEAD + "rulez: {}\n", "line 2: rulez: is not known here; did you mean 'rules'?"),
        (
            HEAD + "qqqq: {}\n",
            "line 2: qqqq: is not known here; known are: company, locations, statuses, mailboxes, templates, rules",
        ),
        (HEAD + "rules: []\n", "line 2: rules: must be a mapping (key: value), not a list"),
        (HEAD + "rules:\n", "line 2: rules: must be a mapping (key: value), not nothing"),
        (HEAD + "rules:\n  [a]: {}\n", "line 3: rules: a key must be a text"),
        (
            HEAD + "rules:\n  a: " + RULE + "}\n  a: {}\n",
            "line 4: rules.a: is there twice; first in line 3",
        ),
        (HEAD + "rules:\n  a: {trigger: created, channel: sms, template: t}\n", "line 3: rules.a: needs 'entity'"),
        (HEAD + "rules:\n  a: {entity: order, trigger: created, template: t}\n", "line 3: rules.a: needs 'channel'"),
        (HEAD + "rules:\n  a: {entity: order, trigger: created, channel: sms}\n", "line 3: rules.a: needs 'template'"),
        (
            HEAD + "rules:\n  a: {entity: order, channel: sms, template: t}\n",
            "line 3: rules.a: needs 'trigger', or 'before' to be a reminder",
        ),
        (
            HEAD + "rules:\n  a: " + RULE + ",\n    chanel: sms}\n",
            "line 4: rules.a.chanel: is not known here; did you mean 'channel'?",
        ),
        (
            HEAD + "rules:\n  a: {entity: ordr, trigger: created, channel: sms, template: t}\n",
            "line 3: rules.a.entity: 'ordr' is not known; did you mean 'order'? possible are: "
            "order, lead, appointment",
        ),
        (
            HEAD + "rules:\n  a: {entity: order, trigger: xyz, channel: sms, template: t}\n",
            "line 3: rules.a.trigger: 'xyz' is not known; possible are: created, status changed, status "
            "changed to, time changed, before time",
        ),
        (
            HEAD + "rules:\n  a: {entity: order, trigger: created, channel: fax, template: t}\n",
            "line 3: rules.a.channel: 'fax' is not known; possible are: sms, email",
        ),
        (HEAD + "rules:\n  a: " + RULE + ", locations: north}\n", "line 3: rules.a.locations: write 'all', or a list: [north]"),
        (HEAD + "rules:\n  a: " + RULE + ", locations: {a: b}}\n", "line 3: rules.a.locations: must be a list, not a mapping"),
        (HEAD + "rules:\n  a: " + RULE + ",\n    locations: [x,\n    [y]]}\n", "line 5: rules.a.locations[1]: must be a text, not a list"),
        (HEAD + "rules:\n  a: " + RULE + ", locations: }\n", "line 3: rules.a.locations: has no value; write one, or leave the line out"),
        (HEAD + "rules:\n  a: " + RULE + ", name: {a: b}}\n", "line 3: rules.a.name: must be a text, not a mapping"),
        (HEAD + "rules:\n  a: " + RULE + ", enabled: [yes]}\n", "line 3: rules.a.enabled: must be a text, not a list"),
        (HEAD + "rules:\n  a: " + RULE + ", enabled: maybe}\n", "line 3: rules.a.enabled: 'maybe' is neither true nor false"),
        (HEAD + "rules:\n  a: " + RULE + ", delay: soon}\n", "line 3: rules.a.delay: 'soon' is no time; write a number and a unit, such as '24 hours'"),
        (HEAD + "rules:\n  a: " + RULE + ", before: 1 week}\n", "line 3: rules.a.before: '1 week' is no delay; write minutes, hours or days, such as '24 hours'"),
        (HEAD + "rules:\n  a: " + RULE + ", max_lateness: 1 week}\n", "line 3: rules.a.max_lateness: '1 week' is no length of time; write seconds, minutes, hours or days"),
        (HEAD + "templates:\n  t: {name: T}\n", "line 3: templates.t: needs 'texts'"),
        (HEAD + "templates:\n  t:\n    texts:\n      en: {txt: x}\n", "line 5: templates.t.texts.en.txt: is not known here; known are: sms, subject, body"),
        (HEAD + "templates:\n  t:\n    texts:\n      en: hello\n", "line 5: templates.t.texts.en: must be a mapping (key: value), not 'hello'"),
        (HEAD + "statuses:\n  orders: {}\n", "line 3: statuses.orders: is not known here; did you mean 'order'?"),
        (HEAD + "statuses:\n  order:\n    a: {kind: open}\n", "line 4: statuses.order.a: needs 'names'"),
        (HEAD + "statuses:\n  order:\n    a: {names: {en: A}, kind: shut}\n", "line 4: statuses.order.a.kind: 'shut' is not known; possible are: open, closed, cancelled"),
        (
            HEAD + "statuses:\n  order:\n    a: {names: {en: A}}\n  lead:\n    a: {names: {en: A}}\n",
            "line 6: statuses.lead.a: the id 'a' is taken in line 4; ids of statuses are unique in a company: "
            "call it 'lead-a', say",
        ),
        (HEAD + "mailboxes:\n  m: {users: [a]}\n", "line 3: mailboxes.m: needs 'address'"),
        (HEAD + "mailboxes:\n  m: {address: a@b.example, users: ann}\n", "line 3: mailboxes.m.users: must be a list, not 'ann'"),
        (HEAD + "mailboxes:\n  m: {address: a@b.example, connected: 1}\n", "line 3: mailboxes.m.connected: '1' is neither true nor false"),
        (HEAD + "locations:\n  l: {zone: UTC}\n", "line 3: locations.l: needs 'name'"),
        (HEAD + "locations:\n  l:\n    name: L\n    hours: always\n", "line 5: locations.l.hours: 'always' names no day; write 'mon-fri: 09:00-18:00, sat: 10:00-14:00'"),
        (HEAD + "locations:\n  l:\n    name: L\n    hours:\n      foo: 09:00-18:00\n", "line 6: locations.l.hours.foo: 'foo' is no day of the week; write mon, tue, wed, thu, fri, sat or sun"),
        (HEAD + "locations:\n  l:\n    name: L\n    hours:\n      mon: 9-18\n", "line 6: locations.l.hours.mon: '9-18' is no opening time; write 'HH:MM-HH:MM', such as '09:00-18:00'"),
        (HEAD + "locations:\n  l:\n    name: L\n    hours: 'mon: 9-18'\n", "line 5: locations.l.hours: '9-18' is no opening time; write 'HH:MM-HH:MM', such as '09:00-18:00'"),
        (HEAD + "locations:\n  l:\n    name: L\n    hours:\n      mon-fri: 09:00-18:00\n      fri-sun: 10:00-12:00\n", "line 7: locations.l.hours.fri-sun: 'fri-sun' names a day that has its hours already"),
        (HEAD + "locations:\n  l:\n    name: L\n    hours: {mon: closed, closed: never}\n", "line 5: locations.l.hours.closed: must be a list, not 'never'"),
        (HEAD.replace("}", ", segment_budget: -1}"), "line 1: company.segment_budget: '-1' is not a whole number of 0 or more"),
        (HEAD.replace("}", ", customer_daily_cap: ٣}"), "line 1: company.customer_daily_cap: '٣' is not a whole number of 0 or more"),
        (HEAD.replace("}", ", quiet_hours: night}"), "line 1: company.quiet_hours: 'night' is no opening time; write 'HH:MM-HH:MM', such as '09:00-18:00'"),
        (HEAD.replace("}", ", max_event_age: old}"), "line 1: company.max_event_age: 'old' is no time; write a number and a unit, such as '24 hours'"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_line_and_path(text: str, expected: str) -> None:
    assert [str(problem) for problem in problems_of(text)] == [expected]


def test_all_mistakes_are_told_at_once_in_order() -> None:
    problems = problems_of(
        "rules:\n  a: {entity: x, channel: y}\n  b: 1\ncompany: {id: [], nam: Shop}\ntemplates: 4\n"
    )
    assert [(problem.line, problem.field) for problem in problems] == [
        (2, "rules.a"),
        (2, "rules.a"),
        (2, "rules.a.channel"),
        (2, "rules.a.entity"),
        (3, "rules.b"),
        (3, "rules.b"),
        (4, "company"),
        (4, "company"),
        (4, "company"),
        (4, "company.id"),
        (4, "company.nam"),
        (5, "templates"),
    ]


def test_a_file_is_utf_8_with_or_without_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SMALL.encode())
    assert isinstance(load(path), ShopFile)
    path.write_bytes(b"a: 1\nb: \xff\n")
    assert load(path) == [FileProblem(2, "", "is not UTF-8; save the file in that encoding")]
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.yaml")


# --- sense -------------------------------------------------------------------------------------------


def checked(text: str, catalog: Catalog | None = None, user: str | None = "ann", **options: Any) -> list[str]:
    return [str(problem) for problem in check(shop_of(text), catalog or Catalog(), user, **options)]


def test_a_small_shop_makes_sense() -> None:
    assert checked(SMALL) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("id: shop", "id: a/b", "line 2: company.id: 'a/b' is no id"),
        ("zone: Europe/Warsaw", "zone: Mars", "line 5: company.zone: there is no time zone 'Mars'"),
        ("mon-fri: 09:00-18:00", "mon: '09:00-12:00, 11:00-13:00'", "line 6: company.hours: 11:00-13:00 begins before"),
        ("language: en", "language: en\n  quiet_hours: 08:00-10:00, 09:00-11:00", "line 5: company.quiet_hours: 9:00-11:00 beg"),
        ("north: {name: North}", "a/b: {name: North}", "line 8: locations.a/b: 'a/b' is no id"),
        ("north: {name: North}", "north: {name: ''}", "line 8: locations.north.name: must not be empty"),
        ("en: Ready", "zz: Ready", "line 11: statuses.order.ready.names.zz: 'zz' is not a language tag"),
        ("users: [ann]", "users: [ann, ann]", "line 13: mailboxes.front.users[1]: 'ann' is named twice"),
        ("users: [ann]", "secret: hunter2", "line 13: mailboxes.front.secret: says where the secret is"),
        ("sms: Hello", "sms: 'Hello {{ nope }}'", "line 17: templates.hello.texts.en.sms: "),
        ("sms: Hello", "sms: '{{ lead.title }}'", "line 17: templates.hello.texts.en.sms: "),
        ("hello:", "'hello ':", "line 15: templates.hello : 'hello ' is no id"),
        ("    texts", "    name: \"a\\tb\"\n    texts", "line 16: templates.hello.name: contains control"),
        ("greet:", "a/b:", "line 19: rules.a/b: 'a/b' is no id"),
        ("template: hello", "template: hallo", "line 23: rules.greet.template: the company has no template 'hallo'"),
        ("channel: sms", "channel: email", "line 22: rules.greet.template"),
        ("trigger: created", "trigger: status changed to\n    status: gone", "line 22: rules.greet.status: the company has no"),
        ("trigger: created", "before: 0 hours", "line 21: rules.greet.before: 0 hours is out of range"),
        ("entity: order\n    trigger: created", "entity: lead\n    before: 1 hour", "line 21: rules.greet.before: a lead has no"),
        ("channel: sms", "channel: sms\n    mailbox: front", "line 23: rules.greet.mailbox: belongs to e-mail"),
        ("channel: sms", "channel: sms\n    locations: [north,\n      south]", "line 24: rules.greet.locations[1]: the company has"),
        ("channel: sms", "channel: sms\n    delay: 400 days", "line 23: rules.greet.delay: 400 days is out of range"),
    ],
)  # fmt: skip
def test_nonsense_has_its_line_and_path(old: str, new: str, expected: str) -> None:
    assert SMALL.count(old) == 1
    found = checked(SMALL.replace(old, new))
    if "template" in expected and "channel: email" in new:
        expected = (
            "line 23: rules.greet.template: template 'hello' can't be sent as email: it needs a subject"
        )
    assert any(problem.startswith(expected) for problem in found), found


def test_a_template_needs_the_companys_language() -> None:
    (problem,) = checked(SMALL.replace("language: en", "language: pl"))
    assert problem.startswith("line 16: templates.hello.texts.pl: there is no text in this language")


def test_a_file_may_name_what_the_company_already_has() -> None:
    catalog = published(SMALL)
    rest = shop_text(without=("templates",))
    assert checked(rest, catalog) == []
    assert checked(rest, catalog, prune=True) == [
        "line 26: rules.greet.template: the company has no template 'hello'"
    ]
    assert len(checked(rest)) == 1


def shop_text(*, without: tuple[str, ...]) -> str:
    form = yaml.load(SMALL, Loader=yaml.BaseLoader)
    return yaml.safe_dump(
        {name: section for name, section in form.items() if name not in without}, sort_keys=False
    )


def test_what_another_company_has_does_not_count() -> None:
    catalog = published(SMALL.replace("id: shop", "id: other"))
    (problem,) = checked(shop_text(without=("templates",)), catalog)
    assert problem.endswith("the company has no template 'hello'")


def test_a_template_still_serves_the_rules_that_the_file_leaves_alone() -> None:
    catalog = published(SMALL)
    mail_only = shop_text(without=("rules",)).replace("sms: Hello", "subject: Hi\n        body: Hello")
    message = "templates.hello: rule 'greet', not in this file, sends it as sms: it needs an SMS text in en"
    (problem,) = checked(mail_only, catalog)
    assert problem.endswith(message)
    assert checked(mail_only, catalog, prune=True) == []
    other = mail_only.replace("hello:", "hallo:")
    assert checked(other, catalog) == []
    rule = catalog.rule("shop", "greet")
    assert rule is not None
    catalog.apply(msgspec.structs.replace(rule, enabled=False, version=rule.version + 1))
    assert checked(mail_only, catalog) == []


MAIL = SMALL.replace("{sms: Hello}", "{subject: Hi, body: Hello}").replace(
    "channel: sms", "channel: email\n    mailbox: front"
)


def test_a_mailbox_is_chosen_with_access_and_may_stay_without() -> None:
    assert checked(MAIL) == []
    (problem,) = checked(MAIL, user="eve")
    assert problem.startswith("line 23: rules.greet.mailbox: 'eve' has no access")
    catalog = published(MAIL)
    assert checked(MAIL.replace("trigger: created", "trigger: time changed"), catalog, user="eve") == []


def test_a_disconnected_mailbox_stays_so_unless_the_file_says_otherwise() -> None:
    catalog = published(SMALL)
    mailbox = catalog.mailbox("shop", "front")
    assert mailbox is not None
    assert mailbox.connected
    cut = msgspec.structs.replace(mailbox, connected=False, version=mailbox.version + 1)
    catalog.apply(cut)
    assert difference(shop_of(SMALL), catalog, NOW, "ann") == []
    (problem,) = checked(MAIL, catalog)
    assert "front@shop.example is not connected" in problem
    said = SMALL.replace("users: [ann]", "users: [ann], connected: yes")
    (item,) = difference(shop_of(said), catalog, NOW, "ann")
    assert item.fields == (FieldChange("connected", "no", None),)
    assert item.record == msgspec.structs.replace(cut, connected=True, version=NOW + 2)
    assert checked(MAIL.replace("users: [ann]", "users: [ann], connected: yes"), catalog) == []


# --- differences ---------------------------------------------------------------------------------------


def test_everything_is_created_in_an_order_that_can_be_applied() -> None:
    items = difference(shop_of(SMALL), Catalog(), NOW, "ann")
    assert [(item.kind, item.id, item.what) for item in items] == [
        ("company", "shop", "create"),
        ("location", "north", "create"),
        ("status", "ready", "create"),
        ("mailbox", "front", "create"),
        ("template", "hello", "create"),
        ("rule", "greet", "create"),
    ]
    assert {item.company for item in items} == {"shop"}
    assert all(item.record is not None and item.record.version == NOW for item in items)
    rule = items[-1].record
    assert isinstance(rule, Rule)
    assert (rule.changed_at, rule.changed_by) == (NOW, "ann")
    assert items[-1].fields == (
        FieldChange("entity", None, "order"),
        FieldChange("trigger", None, "created"),
        FieldChange("channel", None, "sms"),
        FieldChange("template", None, "hello"),
    )


def test_an_update_names_the_fields_in_the_words_of_the_file() -> None:
    catalog = published(SMALL)
    text = (
        SMALL.replace("sms: Hello", "sms: Hi")
        .replace("mon-fri: 09:00-18:00", "mon-fri: 10:00-18:00")
        .replace("north: {name: North}", "north: {name: North, hours: {}}")
        .replace("users: [ann]", "users: [ann, bob]")
        .replace(
            "template: hello", "template: hello\n    enabled: no\n    delay: 1 hour\n    locations: [north]"
        )
    )
    items = difference(shop_of(text), catalog, NOW - 5, None)
    assert [(item.kind, item.id, item.what, item.fields) for item in items] == [
        ("company", "shop", "update", (FieldChange("hours.mon-fri", "09:00-18:00", "10:00-18:00"),)),
        (
            "location",
            "north",
            "update",
            (FieldChange("hours.mon-fri", "09:00-18:00", None), FieldChange("hours", None, "none")),
        ),
        ("mailbox", "front", "update", (FieldChange("users", "ann", "ann, bob"),)),
        ("template", "hello", "update", (FieldChange("texts.en.sms", "Hello", "Hi"),)),
        (
            "rule",
            "greet",
            "update",
            (
                FieldChange("delay", None, "1 hour"),
                FieldChange("locations", None, "north"),
                FieldChange("enabled", None, "no"),
            ),
        ),
    ]
    # The clock is behind: the version grows all the same.
    assert all(item.record is not None and item.record.version == NOW + 1 for item in items)
    rule = items[-1].record
    assert isinstance(rule, Rule)
    assert (rule.changed_at, rule.changed_by) == (NOW - 5, "")
    publish(items, catalog)
    assert difference(shop_of(text), catalog, NOW, "ann") == []


def test_what_the_file_has_not_is_left_alone_unless_pruned() -> None:
    catalog = published(SMALL)
    only_company = shop_text(without=("locations", "statuses", "mailboxes", "templates", "rules")).replace(
        "North", "N"
    )
    shop = shop_of(only_company)
    assert difference(shop, catalog, NOW, "ann") == []
    items = difference(shop, catalog, NOW, "ann", prune=True)
    assert [(item.kind, item.id, item.what, item.record) for item in items] == [
        ("rule", "greet", "delete", None),
        ("template", "hello", "delete", None),
        ("mailbox", "front", "delete", None),
        ("status", "ready", "delete", None),
        ("location", "north", "delete", None),
    ]
    assert items[1].fields == (FieldChange("texts.en.sms", "Hello", None),)
    publish(items, catalog)
    assert difference(shop, catalog, NOW, "ann", prune=True) == []
    assert catalog.company("shop") is not None


def test_pruning_leaves_other_companies_alone() -> None:
    catalog = published(SMALL.replace("id: shop", "id: other"))
    published(SMALL, catalog)
    assert difference(shop_of(SMALL), catalog, NOW, "ann", prune=True) == []


def test_a_status_that_changes_its_kind_of_entity_is_an_update() -> None:
    catalog = published(SMALL)
    moved = SMALL.replace("  order:\n    ready", "  lead:\n    ready")
    (item,) = difference(shop_of(moved), catalog, NOW, "ann", prune=True)
    assert (item.kind, item.what) == ("status", "update")
    assert item.fields == (FieldChange("entity", "order", "lead"),)


# --- writing -------------------------------------------------------------------------------------------


def test_a_dump_is_what_a_person_would_write() -> None:
    catalog = published(SMALL)
    assert dump(catalog, "shop") == dedent("""\
        company:
          id: shop
          name: Shop
          language: en
          zone: Europe/Warsaw
          currency: EUR
          hours:
            mon-fri: 09:00-18:00
        locations:
          north:
            name: North
            zone: Europe/Warsaw
            hours:
              mon-fri: 09:00-18:00
        statuses:
          order:
            ready:
              kind: open
              names:
                en: Ready
        mailboxes:
          front:
            address: front@shop.example
            users:
            - ann
        templates:
          hello:
            texts:
              en:
                sms: Hello
        rules:
          greet:
            entity: order
            trigger: created
            channel: sms
            template: hello
        """)


def test_an_unknown_company_can_not_be_dumped() -> None:
    with pytest.raises(LookupError, match="there is no company 'nope'"):
        dump(Catalog(), "nope")


@pytest.mark.parametrize(
    "text",
    [
        "a\nb\n",
        " a\n b",
        "a \nb",
        "a\r\nb",
        "a\x85b\n",
        "a\u2028b",
        "\n\n",
        "\ta",
        "no",
        "~",
        "'",
        "# a",
        "\x00",
    ],
)
def test_a_text_comes_back_to_the_letter(text: str) -> None:
    catalog = published(SMALL)
    catalog.apply(Template(id="t", company="shop", texts={"en": TemplateText(body=text)}, version=1))
    (_, template) = shop_of(dump(catalog, "shop")).templates
    assert template.texts["en"].body == text


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ids = st.text(st.characters(categories=["L", "N"], include_characters="-. :#"), min_size=1, max_size=8)
lengths = st.integers(0, 10**9)
R = TypeVar("R", bound=Record)


def built(record: type[R], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[R]:
    """``st.builds`` would read the record's signature for every example, which takes milliseconds."""
    return st.fixed_dictionaries(fields).map(lambda values: record(**values))


intervals = st.lists(
    built(Interval, opens=st.integers(0, 1439), closes=st.integers(0, 1440)), max_size=2
).map(tuple)
hours = built(
    Hours,
    weekdays=st.tuples(*[intervals] * 7),
    closed_dates=st.lists(st.dates().map(str), max_size=2).map(tuple),
)
versions = st.integers(1, 9)
owner: dict[str, st.SearchStrategy[Any]] = {"company": st.just("shop"), "version": versions}
companies = built(
    Company,
    id=st.just("shop"),
    version=versions,
    name=words,
    language=st.sampled_from(["en", "no", "pt-BR"]),
    zone=words,
    hours=hours,
    sms_sender=words,
    max_event_age=lengths,
    quiet_hours=intervals,
    customer_daily_cap=st.integers(0, 3),
    duplicate_window=lengths,
    messages_per_minute=st.integers(0, 3),
    segment_budget=st.integers(0, 3),
    smart_encoding=st.booleans(),
    sms_help=words,
)
locations = built(Location, **owner, id=ids, name=words, zone=words, hours=hours, address=words, phone=words)
statuses = built(
    Status,
    **owner,
    id=ids,
    entity=st.sampled_from(EntityKind),
    names=st.dictionaries(ids, words, max_size=2),
    kind=st.sampled_from(StatusKind),
)
mailboxes = built(
    Mailbox,
    **owner,
    id=ids,
    address=words,
    provider=st.sampled_from(["gmail", "other"]),
    secret_ref=words,
    users=st.lists(words, max_size=2).map(tuple),
    connected=st.booleans(),
)
texts = built(TemplateText, sms=words, subject=words, body=words)
templates = built(Template, **owner, id=ids, name=words, texts=st.dictionaries(ids, texts, max_size=2))
units = st.sampled_from(Unit)
rule_fields: dict[str, st.SearchStrategy[Any]] = owner | {
    "id": ids,
    "name": words,
    "entity": st.sampled_from(EntityKind),
    "channel": st.sampled_from(Channel),
    "template_id": words,
    "mailbox_id": words,
    "locations": st.none() | st.lists(ids, max_size=2).map(tuple),
    "only_if_still": st.booleans(),
    "working_hours_only": st.booleans(),
    "max_lateness": st.none() | lengths,
    "enabled": st.booleans(),
    "status_id": words,
}
notification_rules = built(
    Rule,
    **rule_fields,
    kind=st.just(RuleKind.NOTIFICATION),
    trigger=st.sampled_from([t for t in Trigger if t is not Trigger.BEFORE_TIME]),
    delay=st.integers(0, 99),
    delay_unit=units,
)
reminder_rules = built(
    Rule,
    **rule_fields,
    kind=st.just(RuleKind.REMINDER),
    trigger=st.just(Trigger.BEFORE_TIME),
    offset=st.integers(1, 99),
    offset_unit=units,
)
held_records = st.tuples(
    companies,
    st.lists(locations | statuses | mailboxes | templates | notification_rules | reminder_rules, max_size=5),
)


@settings(max_examples=30, deadline=None)
@given(held_records)
def test_whatever_is_held_comes_back_from_its_file(
    held: tuple[Company, list[Location | Status | Mailbox | Template | Rule]],
) -> None:
    catalog = Catalog()
    catalog.apply(held[0])
    for record in held[1]:
        catalog.apply(record)
    shop = shop_of(dump(catalog, "shop"))
    assert difference(shop, catalog, NOW, "ann", prune=True) == []
    again = Catalog()
    publish(difference(shop, again, NOW, "ann"), again)
    assert dump(again, "shop") == dump(catalog, "shop")
