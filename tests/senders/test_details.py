from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from senders.details import LONGEST, detail_of


def test_addresses_numbers_and_private_values_go() -> None:
    text = "550 5.1.1 <ann@example.com>: no; The 'To' number +49 151 1234-5678 is bad\r\nsee Secret Subject"
    assert detail_of(text, "Secret Subject") == "550 5.1.1 …: no; The 'To' number … is bad see …"


def test_codes_stay() -> None:
    assert detail_of("HTTP 400, code 21211: no") == "HTTP 400, code 21211: no"


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine draws slowly
@given(st.text(max_size=400), st.emails(), st.from_regex(r"\A\+[1-9][0-9]{7,14}\Z"), st.text(max_size=400))
def test_no_address_is_left(before: str, address: str, number: str, after: str) -> None:
    said = detail_of(f"{before} <{address}> {number} {after}", address, number)
    assert address not in said
    assert number not in said
    assert len(said) <= LONGEST
    assert "\n" not in said
    assert "\r" not in said


def test_what_quotes_three_words_of_the_message_goes() -> None:
    text = "Dear Ann Smith, your bicycle is ready."
    said = 'blocked: "...Ann Smith, your Bicycle is..." is not allowed; your order is ready'
    assert detail_of(said, text) == 'blocked: "...…..." is not allowed; your order is ready'
    assert detail_of("554 5.7.1 dear ann smith", text) == "554 5.7.1 …"
