"""Our bytes against the standard library's parser, and against what must not get through."""

from __future__ import annotations

import re
from base64 import b64decode
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.message import EmailMessage as LibraryMessage
from email.utils import parseaddr

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from senders.mime import HeaderError, address, build
from tests.senders.samples import NOW, email

PRINTABLE = st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp", "Cn"])
HEADER = st.text(PRINTABLE, max_size=200) | st.text(st.sampled_from('ab "\\,;<>@()=?_ü€😀\t.'), max_size=150)
BODY = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(".=\r\n \t-_"), max_size=400)
LOCAL = st.text(st.sampled_from("abcZ09!#$%&'*+/=?^_`{|}~-üß日"), min_size=1, max_size=20)
DOMAIN = st.sampled_from(["example.com", "straße.de", "例え.jp", "a.b-c.example", "xn--strae-oqa.de"])


def parsed(data: bytes) -> LibraryMessage:
    message = message_from_bytes(data, policy=policy.default)
    assert isinstance(message, LibraryMessage)
    assert not message.defects
    return message


def content(part: LibraryMessage) -> str:
    """Text lines; the library gives them with LF."""
    raw = part.get_payload(decode=True)
    assert isinstance(raw, bytes)
    return raw.decode().replace("\r\n", "\n")


def phrase(data: bytes) -> str:
    """The recipient's name. By the older decoder: the newer one of Python 3.11 puts a blank between two
    encoded words of a name, where RFC 2047 6.2 has none."""
    raw = message_from_bytes(data, policy=policy.compat32)["To"]
    name, _ = parseaddr(str(raw).replace("\r\n", ""))
    return str(make_header(decode_header(name)))


def lines(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text if text.endswith("\n") else text + "\n"


@settings(max_examples=200, deadline=None)
@given(HEADER, HEADER, BODY, BODY, LOCAL, DOMAIN)
@example("a" * 61, 'say "hi" \\ o/', ".", "..\r\n.", "ann", "example.com")
@example(" =?utf-8?q?no?= ", "=?", "=_", "--=_", "ann", "example.com")
@example("=?utf-8?q?no?=", "=?utf-8?q?no?=", "a", "b", "ann", "example.com")
@example("two  spaces", "tab\there", "a \r\nb\t\n", "\x00\x0b", "ann", "example.com")
def test_the_library_reads_what_was_meant(
    subject: str, name: str, text: str, html: str, local: str, domain: str
) -> None:
    message = email(subject=subject, to_name=name, text=text, html=html, to_address=f"{local}@{domain}")
    mime = build(message, NOW)
    head, _, _ = mime.data.partition(b"\r\n\r\n")
    assert mime.data.count(b"\n") == mime.data.count(b"\r\n"), "no bare LF"
    assert mime.data.count(b"\r") == mime.data.count(b"\r\n"), "no bare CR"
    assert max(len(line) for line in mime.data.split(b"\r\n")) <= 200
    assert mime.needs_utf8 == (not local.isascii())
    assert mime.needs_utf8 or mime.data.isascii()
    seen = parsed(mime.data)
    assert {key.lower() for key in seen.keys()} == {  # noqa: SIM118 - a message is not a dict
        "from",
        "to",
        "subject",
        "date",
        "message-id",
        "mime-version",
        "auto-submitted",
        "content-type",
        *(() if text and html else ("content-transfer-encoding",)),
    }
    assert head.count(b"\r\nSubject:") == 1
    assert _folded(seen["Subject"]) == _folded(subject)
    [to] = seen["To"].addresses
    assert isinstance(to, Address)
    assert _folded(phrase(mime.data)) == _folded(name)
    assert to.addr_spec == mime.recipient or mime.needs_utf8
    parts = list(seen.iter_parts()) if seen.is_multipart() else [seen]
    assert [part.get_content_type() for part in parts] == [
        *(["text/plain"] if text or not html else []),
        *(["text/html"] if html else []),
    ]
    meant = [one for one in (text, html) if one] or [""]
    assert [content(part) for part in parts if isinstance(part, LibraryMessage)] == [
        lines(one) for one in meant
    ]


def _folded(text: str) -> str:
    """The library's parser folds white space around encoded words in its own way."""
    return " ".join(text.split())


@pytest.mark.parametrize("pad", range(4))
def test_no_character_is_divided_between_two_encoded_words(pad: int) -> None:
    """RFC 2047 5: each word must decode by itself; some mail programs show boxes otherwise."""
    head, _, _ = build(email(subject="a" * pad + "😀" * 40), NOW).data.partition(b"\r\nDate:")
    words = re.findall(rb"=\?utf-8\?b\?(\S+?)\?=", head)
    assert len(words) > 3
    assert "".join(b64decode(word).decode() for word in words) == "a" * pad + "😀" * 40


def test_it_says_the_same_as_the_library() -> None:
    message = email(
        subject="Ihre Bestellung für Größe 42 ist fertig", from_name="Müller & Söhne", to_name="Smith, Ann"
    )
    ours = parsed(build(message, NOW).data)
    theirs = LibraryMessage(policy=policy.SMTP)
    theirs["From"] = Address("Müller & Söhne", addr_spec="shop@example.org")
    theirs["To"] = Address("Smith, Ann", addr_spec="ann@example.com")
    theirs["Subject"] = message.subject
    theirs["Date"] = "Tue, 31 Mar 2026 23:33:20 -0000"
    theirs["Message-ID"] = message.message_id
    theirs.set_content(message.text)
    theirs.add_alternative(message.html, subtype="html")
    read = parsed(theirs.as_bytes())
    for name in ("From", "To", "Subject", "Date", "Message-ID"):
        assert ours[name] == read[name], name
    for one, other in zip(ours.iter_parts(), read.iter_parts(), strict=True):
        assert isinstance(one, LibraryMessage)
        assert isinstance(other, LibraryMessage)
        assert one.get_content() == other.get_content()


def test_a_repeat_has_the_same_bytes() -> None:
    assert build(email(), NOW) == build(email(), NOW)
    assert "order" not in repr(build(email(), NOW)), "no text in a log line"


def test_unsubscribe_headers() -> None:
    seen = parsed(build(email(unsubscribe_url="https://x.example/u/a?b=c&d"), NOW).data)
    assert seen["List-Unsubscribe"] == "<https://x.example/u/a?b=c&d>"
    assert seen["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    seen = parsed(build(email(unsubscribe_url="http://127.0.0.1:6067/u"), NOW).data)
    assert seen["List-Unsubscribe"] == "<http://127.0.0.1:6067/u>"
    assert seen["List-Unsubscribe-Post"] is None, "one click is for https"
    assert b"List-Unsubscribe" not in build(email(unsubscribe_url="https://x/" + "a" * 900), NOW).data
    for bad in (
        "ftp://x.example",
        "https://x.example/\r\nBcc: a@b.example",
        "https://x> <y",
        "mailto:a@b.example",
    ):
        with pytest.raises(HeaderError):
            build(email(unsubscribe_url=bad), NOW)


def test_another_sender_and_a_reply_address() -> None:
    seen = parsed(build(email(), NOW, from_address="ann@straße.de", reply_to="box@gmail.example").data)
    assert seen["From"] == "The Shop <ann@xn--strae-oqa.de>"
    assert seen["Reply-To"] == "box@gmail.example"
    for name in ("from_address", "reply_to"):
        with pytest.raises(HeaderError):
            build(email(), NOW, **{name: "a@b.example\r\nBcc: c@d.example"})


BREAKS = st.sampled_from(
    ["\r\n", "\n", "\r", "\0", "\x0b", "\x0c", "\x1c", "\x7f", "\x85", "\u2028", "\u2029", "\ud800"]
)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(
        ["subject", "to_name", "from_name", "to_address", "from_address", "message_id", "unsubscribe_url"]
    ),
    st.text(PRINTABLE, min_size=1, max_size=10),
    BREAKS,
    st.text(PRINTABLE, min_size=1, max_size=10),
)
def test_no_header_can_be_broken(name: str, before: str, line_break: str, after: str) -> None:
    value = f"{before}{line_break}Bcc: x{after}"
    if "address" in name:
        value = f"a{line_break}b@example.com"
    elif name == "message_id":
        value = f"<a{line_break}b@example.com>"
    elif name == "unsubscribe_url":
        value = f"https://x.example/a{line_break}Bcc:x"
    # White space at the ends of a name is dropped, whatever it is.
    assume(before.strip() and after.strip())
    with pytest.raises(HeaderError) as caught:
        build(email(**{name: value}), NOW)
    assert line_break not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        "", "ann", "@example.com", "ann@", "a b@example.com", "ann@exa mple.com", "a@b@example.com",
        "<a@b.example>",
        "a@b..example", "a@-b.example", ".a@b.example", "a.@b.example", "a..b@b.example", '"a"@b.example',
        "a@[127.0.0.1]", "a@b.example.", "x" * 65 + "@b.example", "a@" + "b" * 64 + ".example",
        "a,b@c.example",
        "a@b.example> SIZE=1", "a@b.example\r\nRCPT TO:<c@d.example>",
    ],
)  # fmt: skip
def test_what_is_no_address(value: str) -> None:
    with pytest.raises(HeaderError):
        address("To", value)


def test_domains_are_idna_2008_and_local_parts_are_left_alone() -> None:
    assert address("To", "Ann+x@Straße.DE") == "Ann+x@xn--strae-oqa.de"
    assert address("To", "jo\u0308rg@example.com") == "jörg@example.com"
