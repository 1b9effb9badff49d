"""Hostile data in every field that somebody outside can fill, from the records to the bytes on the wire: the
message has the same form as with harmless data, and says what is to be said as text."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage as LibraryMessage
from email.message import Message
from html.parser import HTMLParser

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.fakes.sms import SmsFake
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
    Trigger,
)
from senders.mime import build
from senders.twilio_sms import TwilioSms
from streams.domain.catalog import Catalog
from streams.domain.decide import Entity, Pending, Send, on_due
from streams.domain.messages import EmailMessage, SmsMessage
from tests.senders.samples import NOW, StillClock, sms, twilio_settings
from tests.support.shop import C, ann, notification, shop

ATTACKS = (
    # headers: every character that some program takes for the end of a line, folding, encoded words
    "\r\nBcc: eve@evil.example", "\nBcc: eve@evil.example", "\rBcc: x", "\x85Bcc: x", "\u2028Bcc: x",
    "\u2029Bcc: x", "\x0bBcc: x", "\x0c", "\x1e", "\0", "\r\n\r\n<script>",
    "\r\n.\r\nMAIL FROM:<a@b.example>",
    "=?utf-8?q?a?=", "=?utf-8?b?DQpCY2M6IGV2ZQ==?=", "=?utf-8?q?=0D=0ABcc:_x?=", "%0d%0aBcc:x", "\\r\\n",
    # addresses and lists of them
    "<eve@evil.example>", '" <eve@evil.example>, "', "eve@evil.example, ann", "(comment)", "\\",
    '"', ",", ";",
    # HTML, finished and half finished, in text and in attributes
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</p></body>", '" onclick="alert(1)',
    "'><b>",
    "<!--", "-->", "<![CDATA[", "&lt;script&gt;", "&#60;b&#62;", "&#x0a;", "<", ">",
    "<a href='javascript:x'>",
    "<style>*{}</style>", "<svg/onload=x>", "\x00<b>", "<b", "<\x00b>", "\uff1cscript\uff1e",
    # templates: ours and other languages'
    "{{ company.name }}", "{% if true %}x{% endif %}", "{{7|upcase}}", "{{''.__class__}}", "${7*7}", "#{7}",
    "<%= 7 %>", "{{", "}}", "{%", "%}", "{customer.name}", "%s", "%(name)s", "{0}", "\\u007b\\u007b",
    # forms and web addresses
    "&To=%2B15551234567", "+&=?#/%", "javascript:alert(1)", "https://evil.example/\r\n", "//evil.example",
    # directions, joiners, surrogates, length
    "\u202e", "\u2066", "\u200b", "\ud800", "\U000e0041", "x" * 5_000, "é\n" * 2_000, "",
)  # fmt: skip
HOSTILE = st.lists(st.sampled_from(ATTACKS) | st.text(max_size=20), min_size=1, max_size=4).map("".join)

SOURCE = " ".join(
    f"{{{{ {name} | default: '-' }}}}"
    for name in (
        "customer.name", "company.name", "location.name", "location.address", "location.phone",
        "entity.number", "entity.title", "entity.status", "entity.attributes.x",
    )
)  # fmt: skip
TITLE = "{{ entity.title | default: '-' }}"
LINK = f'<a href="{{{{ entity.url | default: \'https://acme.example\' }}}}" title="{TITLE}">'
BODIES = {
    "plain": f"Dear {{{{ customer.name }}}} {SOURCE}",
    "html": f"<p>Dear {{{{ customer.name }}}} {SOURCE}</p><ul><li>{TITLE}</li></ul>{LINK}here</a>",
}


def message(channel: Channel, form: str, value: str) -> SmsMessage | EmailMessage:
    """What is handed to a sender for an order of which everything that can be given is ``value``."""
    catalog = Catalog()
    company, north, *rest = shop()
    assert isinstance(company, Company)
    assert isinstance(north, Location)
    body = BODIES[form]
    template = Template(
        id="t", company=C, texts={"en": TemplateText(sms=body, subject=SOURCE, body=body)}, version=9
    )
    status = Status(
        id="new", company=C, entity=EntityKind.ORDER, names={"en": value}, kind=StatusKind.OPEN, version=9
    )
    for record in (
        *rest,
        msgspec.structs.replace(company, name=value, email_sender_name=value, version=9),
        msgspec.structs.replace(north, name=value, address=value, phone=value, version=9),
        template,
        status,
        notification(Trigger.CREATED, channel=channel),
    ):
        catalog.apply(record)
    entity = Entity(
        Facts(status_id="new", customer_id="ann", location_id="north"),
        Details(number=value, title=value, url=value, attributes={"x": value}),
    )
    customer: Customer = ann(name=f"A{value}")
    pending = Pending(
        delivery_id="0" * 32, company=C, kind=EntityKind.ORDER, entity_id="1", rule_id="r", rule_version=1,
        customer_id="ann", anchor="e", event_id="e", occurred_at=NOW, status_id="new", target=NOW,
        allowed=NOW, held=False, waiting_since=-1,
    )  # fmt: skip
    decided = on_due(pending, entity, customer, catalog, NOW, email_domain="acme.example", consent_wait=0)
    assert isinstance(decided, Send), decided
    return decided.message


class Form(HTMLParser):
    """Tags and the names of their attributes, in order; where links go; and everything else as text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.other: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(f"{tag} {' '.join(name for name, _ in attributes)}")
        self.links += [value or "" for name, value in attributes if name in ("href", "src")]

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.other.append(data)

    def handle_decl(self, decl: str) -> None:
        self.other.append(decl)

    def unknown_decl(self, data: str) -> None:
        self.other.append(data)

    def handle_pi(self, data: str) -> None:
        self.other.append(data)


def parts(mail: EmailMessage) -> tuple[LibraryMessage, list[Message]]:
    """As a program reads it that knows only the bytes."""
    data = build(mail, NOW).data
    assert data.count(b"\n") == data.count(b"\r\n") == data.count(b"\r"), (
        "a line ends in CRLF and nothing else"
    )
    assert all(len(line) <= 998 for line in data.split(b"\r\n")), "RFC 5322 2.1.1"
    assert data.isascii()
    read = message_from_bytes(data, policy=policy.default)
    assert isinstance(read, LibraryMessage)
    assert not read.defects
    return read, [part for part in read.walk() if not part.is_multipart()]


def addresses(read: LibraryMessage, header: str) -> list[str]:
    return [each.addr_spec for each in read[header].addresses]


@pytest.mark.parametrize("form", BODIES)
def test_no_attack_changes_the_form_of_an_e_mail(form: str) -> None:
    for attack in ATTACKS:
        check_e_mail(attack, form)
        check_e_mail(f"Ann{attack}Smith", form)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(HOSTILE, st.sampled_from(list(BODIES)))
def test_nor_do_several(value: str, form: str) -> None:
    check_e_mail(value, form)


def check_e_mail(value: str, form: str) -> None:
    mail, harmless = message(Channel.EMAIL, form, value), message(Channel.EMAIL, form, "harmless")
    assert isinstance(mail, EmailMessage)
    assert isinstance(harmless, EmailMessage)
    read, found = parts(mail)
    meant, meant_parts = parts(harmless)
    assert read.keys() == meant.keys()
    assert [part.get_content_type() for part in found] == [part.get_content_type() for part in meant_parts]
    for header in ("From", "To"):
        assert addresses(read, header) == addresses(meant, header)
    assert len(str(read["Subject"]).splitlines()) == 1
    seen, wanted = Form(mail.html), Form(harmless.html)
    assert seen.tags == wanted.tags
    assert not seen.other
    assert all(link.startswith(("https://", "http://")) for link in seen.links)
    for text in (mail.subject, mail.text, mail.html, mail.to_name, mail.from_name):
        assert not {char for char in text if ord(char) < 32 and char != "\n"}
        assert not set("\x7f\x85\u2028\u2029\u202e\u2066") & set(text)
    assert not {"\n"} & set(mail.subject + mail.to_name + mail.from_name)
    assert max(map(len, (mail.to_name, mail.from_name))) <= 100


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(HOSTILE)
def test_an_sms_is_text(value: str) -> None:
    text = message(Channel.SMS, "plain", value)
    assert isinstance(text, SmsMessage)
    assert text.to == ann().phone
    assert not {char for char in text.text if ord(char) < 32}
    assert "\x7f" not in text.text
    text.text.encode()  # no half of a character
    assert len(text.text) <= 10 * 101 + 5


async def test_a_form_has_the_fields_that_it_should_whatever_the_text(sms_fake: SmsFake) -> None:
    """By a real HTTP request: what arrives is what was meant, in the fields where it was meant."""
    sender = TwilioSms(twilio_settings(sms_fake), StillClock())
    texts = [attack for attack in ATTACKS if attack and attack.isascii() and len(attack) < 1600]
    for text in texts:
        await sender.send(sms(text=f"a{text}b"))
    await sender.close()
    kept = sms_fake.messages
    assert [one["body"] for one in kept] == [f"a{text}b" for text in texts]
    assert {one["to"] for one in kept} == {sms().to}
    assert {one["from"] for one in kept} == {sms().sender}
