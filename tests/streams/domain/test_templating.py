"""Texts as customers get them: right language, day and amount; never a placeholder, never code."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import (
    Channel,
    Company,
    Customer,
    Details,
    EntityKind,
    Facts,
    Location,
    Status,
    StatusKind,
    Template,
    TemplateText,
)
from streams.domain.problems import Problem
from streams.domain.reasons import Reason
from streams.domain.segments import Segments
from streams.domain.template_language import FILTERS, TAGS
from streams.domain.template_sample import bare, sample
from streams.domain.template_values import VARIABLES, shown
from streams.domain.templating import (
    EmailText,
    TextContext,
    check_template,
    language_for,
    render_email,
    render_sms,
    sample_segments,
)

AT = 1_775_649_600_000  # 2026-04-08T12:00Z, a Wednesday
COMPANY = Company(id="acme", name="Acme Bikes", language="en", zone="Europe/Warsaw", version=1)
LOCATION = Location(
    id="l1",
    company="acme",
    name="Old Town",
    zone="Europe/Warsaw",
    address="ul. Długa 1\nGdańsk",
    phone="+48600100123",
    version=1,
)
CUSTOMER = Customer(company="acme", customer_id="c1", name="Anna Maria Nowak", language="en", version=1)
NAMES = {"en": "Ready", "pl": "Gotowe", "pt": "Pronto"}
STATUS = Status(id="s", company="acme", entity=EntityKind.ORDER, names=NAMES, kind=StatusKind.OPEN, version=1)
DETAILS = Details(
    number="A-17",
    title="Chain & sprocket",
    amount_minor=123_450,
    currency="EUR",
    url="https://acme.example/o/17?a=1&b=2",
    attributes={"colour": "red", "pick-up point": "back door", "deposit": "12.5", "nought": " "},
)
ORDER = TextContext(
    kind=EntityKind.ORDER,
    entity_id="o1",
    company=COMPANY,
    location=LOCATION,
    customer=CUSTOMER,
    facts=Facts(status_id="s", customer_id="c1", location_id="l1", scheduled_at=AT),
    details=DETAILS,
    status=STATUS,
    zone="Europe/Warsaw",
    currency="PLN",
)
with_ = msgspec.structs.replace
with_record = msgspec.structs.replace


def named(name: str, ctx: TextContext = ORDER) -> TextContext:
    return with_(ctx, customer=with_record(ctx.customer, name=name))


def template(sms: str = "", *, subject: str = "", body: str = "", language: str = "en") -> Template:
    texts = {language: TemplateText(sms=sms, subject=subject, body=body)}
    return Template(id="t", company="acme", texts=texts, version=1)


def sms(source: str, ctx: TextContext = ORDER, language: str = "en") -> str | Reason:
    return render_sms(template(source, language=language), ctx)


def email(subject: str, body: str, ctx: TextContext = ORDER) -> EmailText:
    found = render_email(template(subject=subject, body=body), ctx)
    assert isinstance(found, EmailText)
    return found


def problems(source: str, kinds: frozenset[EntityKind] | None = None) -> list[str]:
    found = check_template(template(source), kinds=kinds, languages=["en"])
    assert all(problem.field == "texts.en.sms" for problem in found)
    return [problem.message for problem in found]


# --- what staff see -------------------------------------------------------------------------------

PLAIN = {
    "customer.name": "Anna Maria Nowak",
    "customer.first_name": "Anna",
    "company.name": "Acme Bikes",
    "location.name": "Old Town",
    "location.address": "ul. Długa 1 Gdańsk",
    "location.phone": "+48600100123",
    "number": "A-17",
    "title": "Chain & sprocket",
    "url": "https://acme.example/o/17?a=1&b=2",
    "attributes.x": "red",
}
BY_LANGUAGE = {
    "en": ("Ready", "€1,234.50", "Wednesday, April 8", "2:00 PM", "Wednesday, April 8, 2:00 PM"),
    "es": ("Ready", "1.234,50 €", "miércoles, 8 de abril", "14:00", "miércoles, 8 de abril, 14:00"),
    "pl": ("Gotowe", "1 234,50 €", "środa, 8 kwietnia", "14:00", "środa, 8 kwietnia, 14:00"),
    "pt-BR": ("Pronto", "€ 1.234,50", "quarta-feira, 8 de abril", "14:00", "quarta-feira, 8 de abril 14:00"),
    "de": ("Ready", "1.234,50 €", "Mittwoch, 8. April", "14:00", "Mittwoch, 8. April, 14:00"),
    "fr": ("Ready", "1 234,50 €", "mercredi 8 avril", "14:00", "mercredi 8 avril, 14:00"),
}


def expected(root: str, field: str, language: str) -> str:
    status, amount, date, time, moment = BY_LANGUAGE[language]
    formatted = {"status": status, "amount": amount, "date": date, "time": time, "scheduled": moment}
    return formatted.get(field) or PLAIN.get(f"{root}.{field}") or PLAIN[field]


@pytest.mark.parametrize("language", BY_LANGUAGE)
@pytest.mark.parametrize(
    ("root", "field"), [(root, field) for root in VARIABLES for field in VARIABLES[root]]
)
def test_every_variable_in_every_language(root: str, field: str, language: str) -> None:
    kind = EntityKind(root) if root in set(EntityKind) else EntityKind.ORDER
    source = f"{{{{ {root}.{field.replace('.x', '.colour')} }}}}"
    ctx = with_(ORDER, kind=kind, customer=with_record(CUSTOMER, language=language))
    found = sms(source, ctx, language)
    assert isinstance(found, str)
    assert re.sub(r"\s", " ", found) == expected(root, field, language)
    # The same inside a tag, where the library reads the value.
    inside = sms(f"{{% if true %}}{source}{{% endif %}}", ctx, language)
    assert inside == found


def test_docs_list_what_there_is() -> None:
    page = (Path(__file__).parents[3] / "docs" / "templates.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| (.+) \|$", page, re.MULTILINE))
    known = {
        f"{root}.{name}": field.meaning
        for root, fields in VARIABLES.items()
        for name, field in fields.items()
    }
    filters = set(re.findall(r"^\| `([a-z]+)[^|.]*` \|", page, re.MULTILINE))
    assert {name: what for name, what in rows.items() if "." in name} == known
    assert filters == set(FILTERS)
    for tag in TAGS:
        assert f"{{% {tag} " in page


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ customer.name | upcase }}", "ANNA MARIA NOWAK"),
        ("{{ customer.name | downcase }}", "anna maria nowak"),
        ("{{ 'ąbC dE' | capitalize }}", "ĄbC dE"),
        ("{{ customer.name | truncate: 7 }}", "Anna..."),
        ("{{ customer.name | truncate: 16 }}", "Anna Maria Nowak"),
        ("{{ customer.name | truncate: 15 }}", "Anna Maria N..."),
        ("{{ customer.name | truncate: 4, '' }}", "Anna"),
        ("{{ customer.name | truncate: 2 }}", ".."),
        ("{{ customer.name | truncate: 1, '!' }}", "!"),
        ("{{ order.date | date: 'short' }}", "4/8/26"),
        ("{{ order.scheduled | date: 'medium' }}", "Apr 8, 2026"),
        ("{{ order.time | date: 'full' }}", "Wednesday, April 8, 2026"),
        ("{{ order.time | date }}", "Wednesday, April 8"),
        ("{{ order.scheduled | time }}", "2:00 PM"),
        ("{{ order.amount | money }}", "€1,234.50"),
        ("{{ order.attributes.deposit | money }}", "PLN 12.50"),
        ("{{ location.phone | phone }}", "+48 600 100 123"),
        ("{{ location.phone | phone: 'national' }}", "600 100 123"),
        ("{{ order.attributes['pick-up point'] }}", "back door"),
        ("{{ order.attributes.none | default: 'x' }}", "x"),
        ("{{ order.attributes.colour | default: 'x' }}", "red"),
        ("{{ nil | default: 'x' }}{{ '' | default: 'y' }}", "xy"),
        ("{{ customer.name | default: 'x' | upcase }}", "ANNA MARIA NOWAK"),
        ("{% if order.status == 'Ready' %}r{% elsif true %}e{% else %}f{% endif %}", "r"),
        ("{% if order.status == 'x' %}r{% elsif order.title contains '&' %}e{% else %}f{% endif %}", "e"),
        ("{% unless order.url %}u{% else %}v{% endunless %}", "v"),
        ("{% case order.status %}{% when 'A', 'Ready' %}w{% else %}x{% endcase %}", "w"),
        ("a{% comment %} {{ customer.nothing }} {% endcomment %}b", "ab"),
        ("a {{- customer.first_name -}} b", "aAnnab"),
        ("{{ 1 }} {{ true }}", "1 true"),
    ],
)
def test_language(source: str, text: str) -> None:
    assert sms(source) == text


# --- time and place --------------------------------------------------------------------------------


def test_french_month_names() -> None:
    """Field story 12: French message with an English date."""
    ctx = with_(ORDER, facts=Facts(status_id="s", scheduled_at=AT + 120 * 86_400_000))
    assert sms("le {{ order.date }}", ctx, "fr") == "le jeudi 6 août"


def test_late_evening_is_the_day_at_the_location() -> None:
    """Field story 10: 23:30 in Warsaw is still the 8th, in Auckland it is the 9th."""
    ctx = with_(ORDER, facts=Facts(status_id="s", scheduled_at=AT + 9 * 3_600_000 + 1_800_000))
    assert sms("{{ order.scheduled }}", ctx, "en-GB") == "Wednesday 8 April, 23:30"
    away = with_(ctx, zone="Pacific/Auckland")
    assert sms("{{ order.scheduled }}", away, "en-GB") == "Thursday 9 April, 09:30"


@pytest.mark.parametrize(
    ("utc", "time"),
    [(1_774_745_999_999, "01:59"), (1_774_746_000_000, "03:00"), (1_792_890_000_000, "02:00")],
)
def test_clock_change_day(utc: int, time: str) -> None:
    ctx = with_(ORDER, facts=Facts(status_id="s", scheduled_at=utc))
    assert sms("{{ order.time }}", ctx, "pl") == time


def test_currency_of_the_entity_else_of_the_place() -> None:
    plain = with_(ORDER, details=with_record(DETAILS, currency=""))
    assert sms("{{ order.amount }}", ORDER) == "€1,234.50"
    assert sms("{{ order.amount }}", plain) == "PLN 1,234.50"


# --- what is missing -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["customer.name", "customer.first_name", "location.name", "location.address", "location.phone"]
    + [
        f"order.{field}"
        for field in ("number", "title", "status", "url", "amount", "date", "time", "scheduled")
    ]
    + ["order.attributes.x", "entity.number", "appointment.number", "lead.attributes.x"],
)
def test_missing_is_an_error_but_can_be_asked_for(path: str) -> None:
    ctx = bare(EntityKind.ORDER)
    assert sms(f"Hi {{{{ {path} }}}}!", ctx) is Reason.TEMPLATE_ERROR
    assert sms(f"{{% if true %}}{{{{ {path} }}}}!{{% endif %}}", ctx) is Reason.TEMPLATE_ERROR
    assert sms(f"{{{{ {path} | upcase }}}}!", ctx) is Reason.TEMPLATE_ERROR
    assert sms(f"{{{{ {path} | default: 'there' }}}}", ctx) == "there"
    assert sms(f"{{% if {path} %}}yes{{% else %}}no{{% endif %}}", ctx) == "no"
    assert sms(f"{{% unless {path} %}}none{{% endunless %}}", ctx) == "none"
    assert sms(f"{{% case {path} %}}{{% when 'a' %}}a{{% else %}}b{{% endcase %}}", ctx) == "b"


@pytest.mark.parametrize("name", ["", " ", "\n\t", "\u202e", "\u200b\x00"])
def test_a_name_of_nothing_is_missing(name: str) -> None:
    assert sms("{{ customer.name }}", named(name)) is Reason.TEMPLATE_ERROR
    assert sms("Hi {{ customer.first_name | default: 'you' }}", named(name)) == "Hi you"


def test_an_attribute_of_nothing_is_missing() -> None:
    assert sms("{{ order.attributes.nought }}") is Reason.TEMPLATE_ERROR
    assert sms("{% if order.attributes.nought %}a{% else %}b{% endif %}") == "b"


def test_zero_is_an_amount() -> None:
    ctx = with_(ORDER, details=with_record(DETAILS, amount_minor=0))
    assert sms("{{ order.amount }}{% if order.amount %}!{% endif %}", ctx) == "€0.00!"


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://x.example/a?b=1&c=%20#d", True),
        ("HTTP://x.example", True),
        ("javascript:alert(1)", False),
        ("https://x.example/a b", False),
        ("https://x.example/\nBcc:x", False),
        ('https://x.example/"onclick="', False),
        ("https://x.example/{{ x }}", False),
        ("ftp://x.example", False),
        ("x.example", False),
        ("https://x.example/" + "a" * 482, True),
        ("https://x.example/" + "a" * 483, False),
    ],
)
def test_urls(url: str, good: bool) -> None:
    ctx = with_(ORDER, details=with_record(DETAILS, url=url))
    assert sms("{{ order.url | default: 'none' }}", ctx) == (url if good else "none")


def test_status_without_names() -> None:
    assert sms("{{ order.status | default: '-' }}", with_(ORDER, status=with_record(STATUS, names={}))) == "-"


# --- which text ------------------------------------------------------------------------------------


def of_languages(**texts: TemplateText) -> Template:
    renamed = {name.replace("_", "-"): text for name, text in texts.items()}
    return Template(id="t", company="acme", texts=renamed, version=1)


@pytest.mark.parametrize(
    ("customer", "company", "chosen"),
    [
        ("pl", "en", "pl"),
        ("pt-BR", "en", "pt-BR"),
        ("pt-PT", "en", "pt-BR"),
        ("en-GB", "pl", "en"),
        ("", "pl", "pl"),
        ("fr", "pl-PL", "pl"),
        ("fr", "it", "en"),
    ],
)
def test_language_for(customer: str, company: str, chosen: str) -> None:
    found = language_for(
        with_record(CUSTOMER, language=customer),
        with_record(COMPANY, language=company),
        of_languages(pl=TemplateText(sms="p"), en=TemplateText(sms="e"), pt_BR=TemplateText(sms="b")),
    )
    assert found == chosen


def test_only_languages_with_a_text_for_the_channel() -> None:
    both = of_languages(
        pl=TemplateText(subject="Temat", body="Treść"),
        en=TemplateText(sms="Text"),
        de=TemplateText(subject="Betreff"),
    )
    ctx = with_(ORDER, customer=with_record(CUSTOMER, language="pl"))
    assert render_sms(both, ctx) == "Text"
    assert render_email(both, ORDER) == EmailText("Temat", "Treść", "<p>Treść</p>")
    german = with_(ORDER, customer=with_record(CUSTOMER, language="de"))
    assert render_email(both, german) == EmailText("Temat", "Treść", "<p>Treść</p>")
    assert language_for(CUSTOMER, COMPANY, both) == "en"
    assert language_for(CUSTOMER, COMPANY, both, Channel.EMAIL) == "pl"
    assert language_for(german.customer, COMPANY, both) == "de"
    assert language_for(CUSTOMER, COMPANY, of_languages()) == ""


def test_no_text() -> None:
    assert sms("") is Reason.NO_TEXT
    assert sms(" \n\t ") is Reason.NO_TEXT
    assert sms("{% if order.number == 'x' %}text{% endif %}") is Reason.NO_TEXT
    assert sms("\x00\x07") is Reason.NO_TEXT
    assert render_sms(of_languages(), ORDER) is Reason.NO_TEXT
    assert render_email(of_languages(), ORDER) is Reason.NO_TEXT
    assert render_email(template(subject="x"), ORDER) is Reason.NO_TEXT
    assert render_email(template(body="x"), ORDER) is Reason.NO_TEXT
    assert render_email(template(subject=" ", body="x"), ORDER) is Reason.NO_TEXT
    assert render_email(template(subject="x", body="<p> </p>"), ORDER) is Reason.NO_TEXT


# --- injection -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["{{ company.name }}", "{% if true %}x{% endif %}", "{{7|upcase}}", "}}{{", "%}"]
)
def test_data_is_never_a_template(name: str) -> None:
    assert sms("Hi {{ customer.name }}", named(name)) == f"Hi {name}"
    assert sms("{% if true %}Hi {{ customer.name }}{% endif %}", named(name)) == f"Hi {name}"


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("Anna\r\nBcc: x@example.com", "Anna Bcc: x@example.com"),
        ("An\x00na\x1b[31m", "An na [31m"),
        ("\u202eannA\u2066", "annA"),
        ("An\ud800na", "Anna"),
        ("A\u2028B\u2029C\u0085D", "A B C D"),
        ("  Anna \u00a0 Nowak ", "Anna Nowak"),
        ("👩\u200d🔧 Zoë", "👩\u200d🔧 Zoë"),
        ("x" * (1 << 20), "x" * 100),
        ("é\n" * (1 << 19), ("é " * 50).strip()),
        ("x" * 100, "x" * 100),
        ("x" * 101, "x" * 100),
    ],
)
def test_names_are_one_line_of_text(name: str, seen: str) -> None:
    assert sms("{{ customer.name }}", named(name)) == seen
    found = email("{{ customer.name }}", "{{ customer.name }}", named(name))
    assert (found.subject, found.text) == (seen, seen)


@given(st.text(max_size=500))
def test_shown(value: str) -> None:
    text = shown(value)
    assert len(text) <= 100
    assert text == text.strip()
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
    assert shown(text) == text


def test_subject_is_one_line() -> None:
    subject = "A\r\nBcc: b\u2028c\t\x00{% if true %}\n{{ customer.first_name }}{% endif %}  "
    assert email(subject, "x").subject == "A Bcc: b c Anna"


def test_sms_keeps_lines_and_drops_controls() -> None:
    assert sms("a\r\nb\rc\n\x07d\te") == "a\nb\nc\nd e"


def test_sms_is_made_gsm_where_that_helps() -> None:
    assert sms("\u201cReady\u201d at {{ order.time }}") == '"Ready" at 2:00 PM'
    assert sms("\u201cŁódź\u201d at {{ order.time }}") == "\u201cŁódź\u201d at 2:00\u202fPM"


@pytest.mark.parametrize("name", ["<b>Anna</b>", "<script>alert(1)</script>", '"><img src=x>', "a&b", "</p>"])
def test_html_from_data_is_text(name: str) -> None:
    plain = email("x", "Hi {{ customer.name }}", named(name))
    rich = email(
        "x", "<p>Hi {{ customer.name }}{% if true %} {{ customer.name }}{% endif %}</p>", named(name)
    )
    assert plain.text == f"Hi {name}"
    assert rich.text == f"Hi {name} {name}"
    for html in (plain.html, rich.html):
        assert re.findall(r"<[^>]*>", html) == ["<p>", "</p>"]


def test_email_of_plain_text() -> None:
    found = email(
        "Order {{ order.number }}", "Hi {{ customer.first_name }},\nit is ready.\n\n{{ order.title }}\n"
    )
    assert found == EmailText(
        "Order A-17",
        "Hi Anna,\nit is ready.\n\nChain & sprocket",
        "<p>Hi Anna,<br>it is ready.</p><p>Chain &amp; sprocket</p>",
    )


def test_email_of_html() -> None:
    found = email(
        "x", '<p>Hi <b>{{ customer.first_name }}</b></p><a href="{{ order.url }}">{{ order.title }}</a>'
    )
    assert found.html == (
        '<p>Hi <b>Anna</b></p><a href="https://acme.example/o/17?a=1&amp;b=2">Chain &amp; sprocket</a>'
    )
    assert found.text == "Hi Anna\n\nChain & sprocket (https://acme.example/o/17?a=1&b=2)"


def test_attributes_of_data_stay_in_their_quotes() -> None:
    ctx = with_(
        ORDER, details=with_record(DETAILS, attributes={"x": '" onclick="alert(1)', "y": "javascript:x"})
    )
    body = '<p><a title="{{ order.attributes.x }}" href="{{ order.attributes.y }}">a</a></p>'
    assert email("x", body, ctx).html == '<p><a title="&quot; onclick=&quot;alert(1)">a</a></p>'


def test_staff_may_write_html_in_a_default() -> None:
    found = email("x", "<p>{{ order.attributes.none | default: '<b>you</b>' }}{{ '<i>' | upcase }}</p>")
    assert found.html == "<p><b>you</b>&lt;I&gt;</p>"


# --- no placeholder, no bomb -----------------------------------------------------------------------

BROKEN = [
    "{customer.name}",
    "${customer.name}",
    "{{ customer.name }",
    "{{ customer.name",
    "customer.name }}",
    "{ { customer.name } }",
    "{{{ customer.name }}}",
    "{{ '{{ customer.name }}' }}",
    "{{ '{' }}{{ '{' }}",
    "{% raw %}{{ customer.name }}{% endraw %}",
    "{% comment %}{{ x ",
    "{% if customer.name",
    "{% %}",
    "{%%}",
    "{% if true %}x",
    "{% endif %}",
    "{% if true %}a{% else %}b{% else %}c{% endif %}",
    "{% unless true %}a{% else %}b{% else %}c{% endunless %}",
    "{{ }}",
    "{{ customr.name }}",
    "{{ customer }}",
    "{{ customer.name.first }}",
    "{{ customer['na' }}",
    "{{ customer[order.number] }}",
    "{{ order.attributes }}",
    "{{ order.attributes.a.b }}",
    "{{ now }}",
    "{{ customer.name | shout }}",
    "{{ customer.name | date }}",
    "{{ customer.name | time }}",
    "{{ customer.name | money }}",
    "{{ customer.name | truncate: 'x' }}",
    "{{ customer.name | truncate: 0 }}",
    "{{ customer.name | truncate: true, 1, 2 }}",
    "{{ order.date | date: 'huge' }}",
    "{{ location.phone | phone: 'huge' }}",
    "{% if customer.name > 3 %}x{% endif %}",
    "{% include 'x' %}",
    "{% render 'x' %}",
    "{% assign x = 1 %}",
    "{% capture x %}y{% endcapture %}",
    "{% for x in order.attributes %}y{% endfor %}",
    "{% for x in (1..100000) %}{% for y in (1..100000) %}z{% endfor %}{% endfor %}",
    "{% if (1..10000000000) contains 'x' %}x{% endif %}",
    "{{ (1..10000000000) }}",
    "{{ " * 20_000,
    "{% if true %}" * 4_000,
    "{% if true %}" * 11 + "x" + "{% endif %}" * 11,
    "{{ customer.name }}" * 200,
    "{{ '" + "a" * 200 + "' }}",
    "x" * 50_001,
    "x" * 1_601,
    "half \ud800 character",
]


@pytest.mark.parametrize("source", BROKEN)
def test_broken_texts_are_refused_and_never_sent(source: str) -> None:
    """Field story 13. Everything here is also found when it is saved."""
    ctx = named("Anna Nowak-Kowalska")
    assert sms(source, ctx) is Reason.TEMPLATE_ERROR
    assert (
        render_email(template(subject=source, body="x"), ctx) is Reason.TEMPLATE_ERROR or len(source) > 1600
    )
    assert problems(source) != []


def test_limits_are_where_they_are_said_to_be() -> None:
    assert sms("x" * 1_600) == "x" * 1_600
    assert sms("{{ '" + "a" * 194 + "' }}") == "a" * 194  # with quotes and spaces 198
    assert sms("{{  '" + "a" * 195 + "' }}") == "a" * 195  # 200
    assert sms("{{  '" + "a" * 195 + "'  }}") is Reason.TEMPLATE_ERROR
    assert sms("{% if true %}" * 10 + "x" + "{% endif %}" * 10) == "x"
    assert email("x", "y" * 50_000).text == "y" * 50_000


def test_a_text_over_a_megabyte_is_an_error() -> None:
    url = "https://x.example/" + "&" * 480
    ctx = with_(ORDER, details=with_record(DETAILS, url=url))
    body = "<p>" + "{{order.url}}" * 450 + "</p>"
    assert render_email(template(subject="x", body=body), ctx) is Reason.TEMPLATE_ERROR
    inside = "<p>{% if true %}" + "{{order.url}}" * 450 + "{% endif %}</p>"
    assert render_email(template(subject="x", body=inside), ctx) is Reason.TEMPLATE_ERROR
    assert isinstance(render_email(template(subject="x", body=body[:1000] + "</p>"), named("x")), Reason)
    few = "<p>" + "{{order.url}}" * 300 + "</p>"
    assert isinstance(render_email(template(subject="x", body=few), ctx), EmailText)


def test_what_can_not_be_written_is_an_error() -> None:
    assert sms("{{ order.date }}", with_(ORDER, zone="Mars/Olympus")) is Reason.TEMPLATE_ERROR
    assert sms("{{ order.date }}", with_(ORDER, facts=Facts(status_id="s", scheduled_at=1 << 60))) is (
        Reason.TEMPLATE_ERROR
    )
    assert sms("{{ order.date }}", language="xx") is Reason.TEMPLATE_ERROR
    strange = with_(ORDER, details=with_record(DETAILS, currency="<b>"))
    assert sms("{{ order.amount }}", strange) is Reason.TEMPLATE_ERROR


PIECES = st.sampled_from(
    (
        *("{{", "}}", "{%", "%}", "{", "}", " ", "if", "endif", "else", "raw", "endraw", "case", "when"),
        *("endcase", "comment", "endcomment", "true", "customer", ".", "name", "'", '"', "|", "default:"),
        *("date", "-", "(1..9)", "{{ customer.name }}", "{% if order.url %}", "{% endif %}", "x", "\n"),
        *("{{ order.date }}", "<b>", "</b>", "<", "\x00"),
    )
)


@given(st.lists(PIECES, max_size=14).map("".join) | st.text(max_size=60))
def test_any_source_is_judged_and_none_gets_out_as_it_was(source: str) -> None:
    found = check_template(template(source, subject=source, body=source), kinds=None, languages=["en"])
    assert all(isinstance(problem, Problem) for problem in found)
    assert isinstance(sample_segments(template(source), "en"), Segments)
    result = sms(source)
    if isinstance(result, str):
        assert not set("{}") & set(result)
    mail = render_email(template(subject=source, body=source), ORDER)
    if isinstance(mail, EmailText):
        assert not set("{}") & set(mail.subject + mail.text + mail.html)
        assert mail.subject.isprintable() or "\x00" not in mail.subject


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_any_data_is_rendered_or_refused(name: str, title: str, url: str) -> None:
    ctx = with_(named(name), details=Details(title=title, url=url, currency=name, amount_minor=1))
    source = "{{ customer.name }} {{ entity.title }} {{ order.url | default: '-' }}"
    for each in (source, source + " {{ order.amount }}"):
        assert isinstance(sms(each, ctx), str | Reason)
    found = render_email(template(subject=source, body=source), ctx)
    if isinstance(found, EmailText):
        assert len(found.subject.splitlines()) == 1


# --- checking --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "Hi {{ customr.name }}",
            "line 1, column 7: unknown variable 'customr.name'; did you mean 'customer.name'?",
        ),
        ("Hi\n\n{{ xyzzy }}", "line 3, column 4: unknown variable 'xyzzy'"),
        (
            "a\n {{ order.number | upcas }}",
            "line 2, column 20: unknown filter 'upcas'; did you mean 'upcase'?",
        ),
        (
            "{% for x in y %}",
            "line 1, column 1: unknown tag 'for'; there are if, elsif, else, unless, case, when, comment",
        ),
        ("Hi\n {{ order.number", "line 2, column 2: '}}' is missing after '{{'"),
        ("{% if x }} y", "line 1, column 1: '%}' is missing after '{%'"),
        (
            "Hi {customer.name",
            "line 1, column 4: unexpected '{': curly brackets stand only around placeholders",
        ),
        ("{% if (1..3) %}{% endif %}", "line 1, column 7: ranges are not allowed"),
        ("{{ " + "x" * 200 + " }}", "line 1, column 1: more than 200 characters between brackets"),
        ("x" * 50_001, "line 1, column 50001: longer than 50000 characters"),
        ("ab\ud800", "line 1, column 3: half of a character (a lone surrogate)"),
        ("{{ }}", "line 1, column 1: expected a primitive expression, found end of expression"),
    ],
)
def test_messages(source: str, message: str) -> None:
    assert problems(source) == [message]


def test_every_fault_of_a_text_is_told_up_to_twenty() -> None:
    assert problems("{% if a %}{{ xy }}{% elsif q %}{% endif %}{{ b | zz }}") == [
        "line 1, column 7: unknown variable 'a'",
        "line 1, column 14: unknown variable 'xy'",
        "line 1, column 28: unknown variable 'q'",
        "line 1, column 46: unknown variable 'b'",
        "line 1, column 50: unknown filter 'zz'",
    ]
    assert len(problems("{{ a }}" * 21)) == 20
    assert len(problems("} " * 21)) == 20
    html = template(subject="x", body="<b>" + "<font>" * 21)
    assert len(check_template(html, kinds=None, languages=[])) == 20


def test_good_texts_have_no_problems() -> None:
    everything = " ".join(
        f"{{{{ {root}.{field} }}}}"
        for root in ("customer", "company", "location", "order")
        for field in VARIABLES[root]
    )
    orders = frozenset({EntityKind.ORDER})
    assert problems(everything, orders) == []
    assert (
        problems("{% unless order.date %}x{% else %}{{ order.date | date: 'long' }}{% endunless %}", orders)
        == []
    )
    assert problems("{% if order.url %}{{ order.url }}{% endif %}x", orders) == []
    rich = template(subject="x", body='<p>{{ customer.name }} <a href="{{ order.url }}">x</a></p>')
    assert check_template(rich, kinds=orders, languages=["en-GB"]) == []


def test_kinds() -> None:
    orders, leads = frozenset({EntityKind.ORDER}), frozenset({EntityKind.LEAD})
    assert problems("{{ order.number }}", leads) == [
        "line 1, column 4: 'order' is not known in a text for lead"
    ]
    assert problems("{% if lead.number %}a{% endif %}b", orders | {EntityKind.APPOINTMENT}) == [
        "line 1, column 7: 'lead' is not known in a text for appointment, order"
    ]
    assert problems("{{ order.number }}", orders) == []
    assert problems("{{ order.number }}", None) == []
    assert problems("{{ order.number }}", frozenset()) == []
    assert problems("{{ order.number }}{{ lead.number }}", None) == [
        f"does not work for the sample {kind}: line 1, column {column}: {name}.number is missing "
        "(use 'default' or 'if')"
        for kind, column, name in (("appointment", 4, "order"), ("lead", 4, "order"), ("order", 22, "lead"))
    ]
    assert problems("{{ entity.date }}", orders) == []
    assert problems("{{ entity.date }}", orders | leads) == [
        "does not work for the sample lead: line 1, column 4: entity.date is missing (use 'default' or 'if')"
    ]
    assert problems("{% if true %}{{ entity.date }}{% endif %}", orders | leads) == [
        "does not work for the sample lead: line 1, column 17: entity.date is missing (use 'default' or 'if')"
    ]
    assert problems("{{ lead.date }}", leads)[0].startswith("line 1, column 4: unknown variable 'lead.date'")


def test_branches_for_missing_data_are_tried_too() -> None:
    orders = frozenset({EntityKind.ORDER})
    assert problems("{% if order.url %}a{% else %}{{ 'x' | truncate: 'y' }}{% endif %}", orders) == [
        "does not work when little is known of the order: line 1, column 39: "
        "truncate needs a number of characters"
    ]
    assert problems("{% if order.date %}{{ order.date | date: 'x' }}{% endif %}y") != []
    assert problems("{% if order.url %}a{% endif %}", frozenset({EntityKind.ORDER})) == []


def test_empty_results_are_told() -> None:
    assert problems(" ") == [
        f"does not work for the sample {kind}: nothing but spaces comes out" for kind in sorted(EntityKind)
    ]
    mail = check_template(
        template(subject="{% if false %}x{% endif %}", body="<p></p>"), kinds=None, languages=[]
    )
    assert {problem.field for problem in mail} == {"texts.en.subject", "texts.en.body"}
    assert all("nothing but spaces" in problem.message for problem in mail)


def test_too_long_is_told() -> None:
    orders = frozenset({EntityKind.ORDER})
    assert problems("x" * 1_601, orders) == [
        "does not work for the sample order: longer than 1600 characters"
    ]


def fields_of(wrong: list[Problem]) -> list[str]:
    return [problem.field for problem in wrong]


CHECKS: list[tuple[Callable[[], Template], list[str], list[str]]] = [
    (of_languages, [], ["texts"]),
    (of_languages, ["pl", "en"], ["texts.en", "texts.pl", "texts"]),
    (lambda: of_languages(en=TemplateText()), ["en"], ["texts"]),
    (lambda: of_languages(en=TemplateText(sms="x")), ["en", "pl"], ["texts.pl"]),
    (lambda: of_languages(en_GB=TemplateText(sms="x")), ["en", "en_US"], []),
    (lambda: of_languages(EN=TemplateText(sms="x")), ["en"], []),
    (lambda: of_languages(en=TemplateText(subject="x")), ["en"], ["texts.en.body"]),
    (lambda: of_languages(en=TemplateText(body="x")), ["en"], ["texts.en.subject"]),
    (lambda: of_languages(en=TemplateText(sms="x", subject="x", body="x")), ["en"], []),
    (
        lambda: of_languages(en=TemplateText(sms="x"), pl=TemplateText(subject="x", body="x")),
        ["en"],
        ["texts.en.subject", "texts.en.body", "texts.pl.sms"],
    ),
    (lambda: of_languages(xx=TemplateText(sms="x"), en=TemplateText(sms="y")), ["en"], ["texts.xx"]),
    (
        lambda: of_languages(en=TemplateText(sms="{", subject="{", body="{")),
        [],
        [f"texts.en.{p}" for p in ("sms", "subject", "body")],
    ),
    (lambda: of_languages(en=TemplateText(subject="<b>", body="<script>")), [], ["texts.en.body"]),
    (
        lambda: of_languages(en=TemplateText(subject="x", body="<b>x</b><{{ customer.name }}>")),
        [],
        ["texts.en.body"],
    ),
    (
        lambda: of_languages(en=TemplateText(subject="x", body="<b>x</b></ {{ customer.name }}>")),
        [],
        ["texts.en.body"],
    ),
]


@pytest.mark.parametrize(("made", "languages", "fields"), CHECKS)
def test_fields_of_problems(made: Callable[[], Template], languages: list[str], fields: list[str]) -> None:
    assert fields_of(check_template(made(), kinds=None, languages=languages)) == fields


def test_what_an_email_may_not_have_is_told_with_its_place() -> None:
    wrong = check_template(template(subject="x", body="<p>\n<form>"), kinds=None, languages=[])
    assert wrong == [Problem("texts.en.body", "line 2, column 1: <form> is not allowed in an e-mail")]
    named_by_data = check_template(
        template(subject="x", body="<p>a <{{ customer.name }}>"), kinds=None, languages=[]
    )
    assert [str(each) for each in named_by_data] == [
        "texts.en.body: line 1, column 6: a placeholder can't be the name of a tag"
    ]


def test_sample_segments() -> None:
    assert sample_segments(template("Hi {{ customer.first_name }}"), "en") == Segments("GSM-7", 7, 1)
    assert sample_segments(template("Ł" * 71), "en") == Segments("UCS-2", 71, 2)
    as_written = Company(id="c", name="C", language="en", zone="Etc/UTC", smart_encoding=False, version=1)
    curly = template("{{ company.name }}" + "x" * 70 + "\u2019")
    assert sample_segments(curly, "en", as_written) == Segments("UCS-2", 72, 2)
    assert sample_segments(curly, "en") == Segments("GSM-7", 89, 1)
    assert sample_segments(template("x"), "pl") == Segments("GSM-7", 0, 0)
    assert sample_segments(template("{{ nonsense }}"), "en") == Segments("GSM-7", 0, 0)
    dear = "{% if lead.number %}" + "x" * 200 + "{% else %}y{% endif %}"
    assert sample_segments(template(dear), "en") == Segments("GSM-7", 200, 2)


@pytest.mark.parametrize("kind", EntityKind)
def test_samples(kind: EntityKind) -> None:
    assert sample(kind).kind is bare(kind).kind is kind
    scheduled = sample(kind).facts.scheduled_at
    assert scheduled == (None if kind is EntityKind.LEAD else AT)
    assert sms("{{ entity.attributes.anything }}", sample(kind)) == "100"
