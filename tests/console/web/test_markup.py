"""What people are called never becomes a part of the page."""

from __future__ import annotations

from console.web.entrance import inside
from console.web.markup import Html, h, joined, url

HOSTILE = "\"><script>alert('x')</script>&amp;"


def test_text_and_attributes_are_escaped() -> None:
    shown = h("p", HOSTILE, [HOSTILE, h("b", "bold")], None, title=HOSTILE)
    assert "<script" not in shown
    assert shown.count("<") == 4
    assert "&amp;amp;" in shown
    assert "<b>bold</b>" in shown


def test_attributes() -> None:
    shown = h("input", name="n", class_="c", aria_label="l", checked=True, disabled=False, max=3, title=None)
    assert shown == '<input name="n" class="c" aria-label="l" checked max="3">'


def test_html_is_html_only_if_made_here() -> None:
    assert isinstance(joined("a"), Html)
    assert joined("a <", h("br")) == "a &lt;<br>"
    assert h("p", h("b", "x") + "<i>") == "<p>&lt;b&gt;x&lt;/b&gt;&lt;i&gt;</p>"  # a sum is no Html


def test_addresses_stay_in_their_part() -> None:
    assert url("c", "../x?y", q="a&b", empty="") == "/c/..%2Fx%3Fy?q=a%26b"


def test_one_comes_back_to_a_page_of_ours_alone() -> None:
    assert inside("/c/acme/rules?entity=order") == "/c/acme/rules?entity=order"
    for elsewhere in (
        "",
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "/\t/evil.example",
        "/ł",
    ):
        assert inside(elsewhere) == "/companies", elsewhere
