"""No text and no data, however long or twisted, costs more than a moment or much memory: everything here runs
in a process that the system ends at so many seconds of processor time and so many bytes."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from schemas.records import Customer, Details, EntityKind, Template, TemplateText
from senders.details import LONGEST, detail_of
from streams.domain.template_language import LONGEST_SOURCE
from streams.domain.template_sample import sample
from streams.domain.template_values import TextContext
from streams.domain.templating import check_template, render_email, render_sms

CPU_SECONDS = 40
"""All of a group takes some seconds; one quadratic pattern takes half a minute for each text."""
MEMORY = 1024 * 1024 * 1024


def long(piece: str, before: str = "", after: str = "") -> str:
    """As long as a source may be."""
    return before + piece * ((LONGEST_SOURCE - len(before + after)) // len(piece)) + after


def sources() -> Iterator[str]:
    """What staff may write and is hard to read: nothing that ends, much that begins."""
    for name in ("a", "script", "x"):
        yield long("a", f"<{name} ")
        yield long("a", f"<{name} ", ">")
        yield long("a= ", f"<{name} ", ">")
        yield long('a="', f"<{name} ", ">")
    for piece in (
        "<", "< ", "</", "</a", "<a", "<!--", "-->", "<script>", "<script ", "<style", "</script ",
        "<![CDATA[", "&", "&#9;", "&lt;", "\n", "\n ", " ", "x", "ß", "\r", "\t", "\u2028", "<li>", "<div>",
        "<td>", "<hr>", '<a href="http://x">y</a>', '<a href="x">', "{", "{%", "{{", "}}", "'",
        "{{ customer.name }}",
        "{% if order.url %}x{% endif %}", "{% if order.url %}", "{% comment %}", "{{ x", "{{ 'a' | upcase }}",
        "{% unless order.url %}a{% else %}b{% endunless %}",
    ):  # fmt: skip
        yield long(piece, "" if "{" in piece else "<p>")
    yield long("a", "<")
    yield long("a", "</")
    yield long(" ", "<")
    yield long("{% elsif order.url %}", "{% if order.url %}", "{% endif %}")
    yield long("{% when 'a' %}", "{% case order.title %}", "{% endcase %}")
    yield long("x", "{% comment %}", "{% endcomment %}")
    chain = "{{ customer.name" + " | upcase" * 20 + " }}"
    yield long(chain)
    yield long("{{ 'a' | truncate: 199, '" + "b" * 150 + "' }}")
    yield "{{ 'a' | truncate: 999999999, 'b' }}{{ order.title | truncate: 1000000000 }}"
    yield "{% for i in (1..100000000) %}x{% endfor %}"
    yield "{{ (1..100000000) | join: 'x' }}"
    yield "{% assign a = 'x' %}{% capture b %}{{ a }}{% endcapture %}{% include 'x' %}{% raw %}{{ b }}"
    yield "{% if true %}" * 2_000 + "{% endif %}" * 2_000


def data() -> Iterator[TextContext]:
    """What publishers may send, up to a megabyte."""
    order = sample(EntityKind.ORDER)
    for piece in ("x", "é\n", "<", "{{", "&#9;", " ", "\u202e", "\ud800", "https://a.example/", "'"):
        value = piece * (1_000_000 // len(piece))
        customer: Customer = type(order.customer)(
            company="c", customer_id="1", name=value, phone=value, email=value, language=value[:50], version=1
        )
        details = Details(
            number=value, title=value, url=f"https://{value}", currency=value,
            amount_minor=2**62, attributes={value: value, **{f"{n}": value[:9] for n in range(10_000)}},
        )  # fmt: skip
        yield TextContext(
            order.kind, value, order.company, order.location, customer, order.facts, details, order.status,
            order.zone, order.currency,
        )  # fmt: skip


def judge_sources() -> None:
    order = sample(EntityKind.ORDER)
    for source in sources():
        text = TemplateText(sms=source, subject=source, body=source)
        template = Template(id="t", company="c", texts={"en": text}, version=1)
        check_template(template, kinds=None, languages=["en"])
        render_sms(template, order)
        render_email(template, order)


def render_data() -> None:
    names = ("customer.name", "entity.number", "entity.title", "entity.url", "entity.attributes.x")
    body = " ".join(f"{{{{ {name} | default: '-' }}}}" for name in names)
    for source in (body, f"<p>{body}</p>", body + "{{ entity.amount }}", "{{ entity.attributes['1'] }}"):
        text = TemplateText(sms=source, subject=source, body=source)
        template = Template(id="t", company="c", texts={"en": text}, version=1)
        for context in data():
            sms = render_sms(template, context)
            assert len(sms) < 1_600  # a reason is short too
            render_email(template, context)


def read_answers() -> None:
    """What a provider says may be anything too."""
    for piece in ("a", "@", "a@", "1 ", "+1", "<", "=@", "word ", "(", "\n", "…", "5.1.1 ", "\x00"):
        text = piece * (300_000 // len(piece))
        for private in ("+48501987123", text[:3_000], "word word word word"):
            assert len(detail_of(text, private)) <= LONGEST


GROUPS: dict[str, Callable[[], None]] = {
    "sources": judge_sources,
    "data": render_data,
    "answers": read_answers,
}


@pytest.mark.parametrize("group", GROUPS)
def test_it_ends_in_time_and_within_bounds(group: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.security.test_limits", group],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-2000:]}"


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    GROUPS[sys.argv[1]]()
