"""The HTML of an e-mail: what is let through, and what it says as text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain import markup


@pytest.mark.parametrize(
    ("source", "html"),
    [
        ("Hello", False),
        ("1 < 2, I <3 you", False),
        ("<b>Hello</b>", True),
        ("</p>", True),
        ("<!-- x -->", True),
        ("<script", True),
        ("a > b", False),
    ],
)
def test_is_html(source: str, html: bool) -> None:
    assert markup.is_html(source) is html


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("One", "<p>One</p>"),
        ("One\nTwo\n\nThree", "<p>One<br>Two</p><p>Three</p>"),
        ("One\n \n\n\nTwo", "<p>One</p><p>Two</p>"),
        ("\n\nOne\n\n", "<p>One</p>"),
        ("<b> & \"x\" 'y'", "<p>&lt;b&gt; &amp; &quot;x&quot; &#x27;y&#x27;</p>"),
        ("", ""),
    ],
)
def test_from_text(text: str, html: str) -> None:
    assert markup.from_text(text) == html


@pytest.mark.parametrize(
    ("source", "html", "text"),
    [
        ("<b>Hi</b>\n\nAnna", "<p><b>Hi</b></p><p>Anna</p>", "Hi\n\nAnna"),
        ("<p>Hi <B>you</B></p><p>Bye</p>", "<p>Hi <b>you</b></p><p>Bye</p>", "Hi you\n\nBye"),
        ("<p>One</p>\n\n<p>Two</p>", "<p>One</p> <p>Two</p>", "One\n\nTwo"),
        ("<p>a<br/>b<br>c</p>", "<p>a<br>b<br>c</p>", "a\nb\nc"),
        ("ab<p>c</p>", "ab<p>c</p>", "ab\nc"),
        ("<p>a</br>b</p>", "<p>ab</p>", "a\nb"),
        ("<ul><li>a</li><li>b</li></ul>", "<ul><li>a</li><li>b</li></ul>", "- a\n- b"),
        ("<h1>T</h1>a<hr>b", "<h1>T</h1>a<hr>b", "T\n\na\n\nb"),
        (
            "<table><tr><td>a</td><td>b</td></tr><tr><th>c</th></tr></table>",
            "<table><tr><td>a</td><td>b</td></tr><tr><th>c</th></tr></table>",
            "a b\nc",
        ),
        (
            '<p><a href="https://x.example/a?b=1&amp;c=2">Open</a></p>',
            '<p><a href="https://x.example/a?b=1&amp;c=2">Open</a></p>',
            "Open (https://x.example/a?b=1&c=2)",
        ),
        ('<p><a href="mailto:a@x.example">a@x.example</a></p>', None, "a@x.example"),
        ('<p><a href="TEL:+48600">call</a></p>', None, "call (+48600)"),
        ('<p><a href="https://x.example">https://x.example</a>.</p>', None, "https://x.example."),
        ('<p><a title="t">x</a></a></p>', '<p><a title="t">x</a></a></p>', "x"),
        ('<p><a href="javascript:alert(1)">x</a></p>', "<p><a>x</a></p>", "x"),
        ('<p><a href="https://x.example/ y">x</a></p>', "<p><a>x</a></p>", "x"),
        ('<p><a href="&#106;avascript:alert(1)">x</a></p>', "<p><a>x</a></p>", "x"),
        ('<p onclick="x()" style="y" href="https://z.example">x</p>', "<p>x</p>", "x"),
        ("<p><a href=https://x.example onmouseover=x>x</a></p>", "<p><a>x</a></p>", "x"),
        (
            '<p><img SRC="https://x.example/i.png" alt="A &quot;b&quot;" width="10" onerror="x"></p>',
            '<p><img src="https://x.example/i.png" alt="A &quot;b&quot;" width="10"></p>',
            "",
        ),
        ('<p><img src="data:image/png;base64,AA"></p>', "<p><img></p>", ""),
        ("<p>a<script>alert(1)</script>b</p>", "<p>ab</p>", "ab"),
        ("<p>a<STYLE>p{}</style >b</p>", "<p>ab</p>", "ab"),
        ("<p>a<!-- secret -->b</p>", "<p>ab</p>", "ab"),
        ("<p>a<!-- secret", "<p>a", "a"),
        ("<p>a<script>alert(1)", "<p>a", "a"),
        ('<p>a<iframe src="https://x.example">b</iframe></p>', "<p>ab</p>", "ab"),
        (
            "<p>1 &lt; 2 &amp; 3 &nbsp;x &#60;b&#62;</p>",
            "<p>1 &lt; 2 &amp; 3 \xa0x &lt;b&gt;</p>",
            "1 < 2 & 3 \xa0x <b>",
        ),
        ("<p>1 < 2</p>", "<p>1 &lt; 2</p>", "1 < 2"),
        ("<div>a</div><div>b</div>", "<div>a</div><div>b</div>", "a\n\nb"),
        ("<p>  a \n b\t</p>", "<p> a b </p>", "a b"),
    ],
)
def test_clean(source: str, html: str | None, text: str) -> None:
    found_html, found_text = markup.clean(source)
    assert found_text == text
    assert found_html == (source if html is None else html) or html is None


@given(st.text(st.sampled_from("<>/ab\"'=! -&;#xscriphe:jv\n"), max_size=120))
def test_nothing_else_comes_through(source: str) -> None:
    html, _ = markup.clean(source)
    for tag in re.findall(r"<[^>]*>?", html):
        assert re.fullmatch(r'</?[a-z0-9]+( [a-z]+="[^"<>]*")*>', tag), tag
        assert tag.strip("</>").split(" ")[0] in markup.ALLOWED
    assert "javascript:" not in "".join(re.findall(r"<[^>]*>", html))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('<p>fine <a href="x">a</a><br/></p>', []),
        ("a <script>b</script>", [(2, "<script>"), (11, "</script>")]),
        ("<!-- x -->", [(0, "<!-- x -->")]),
        ("<b <i>", [(0, "<b ")]),
        ("x <custom-tag>", [(2, "<custom-tag>")]),
        ("5 < 6 <b>x</b>", []),
    ],
)
def test_forbidden(source: str, found: list[tuple[int, str]]) -> None:
    assert markup.forbidden(source) == found


def test_tidy() -> None:
    assert markup.tidy("  a  \n\n\n\n b\nc \n\n") == "a\n\nb\nc"
