"""Bearer tokens from a file."""

from __future__ import annotations

import base64
import json
import logging
import time
from pathlib import Path

import pytest

from streams.kafka.tokens import TokenFile
from tests.support.jws import unsigned


def lasts(token: str, tmp_path: Path) -> float:
    file = tmp_path / "token"
    file.write_text(token)
    began = time.time()
    found, ends = TokenFile(str(file)).librdkafka_callback("")
    assert found == token
    return ends - began


def test_a_jwt_says_until_when_it_holds(tmp_path: Path) -> None:
    ends = time.time() + 3600
    assert lasts(unsigned("ann", ends), tmp_path) == pytest.approx(3600, abs=30)


@pytest.mark.parametrize(
    "token", ["opaque", "a.b.c", "a.e30.c", f"a.{base64.urlsafe_b64encode(b'[1]').decode()}.c"]
)
def test_any_other_token_is_looked_at_again_soon(tmp_path: Path, token: str) -> None:
    assert lasts(token, tmp_path) == pytest.approx(60, abs=30)


def test_a_claim_that_is_no_time_is_none(tmp_path: Path) -> None:
    claims: tuple[object, ...] = ("soon", None, [], "Infinity")
    for claim in claims:
        body = base64.urlsafe_b64encode(json.dumps({"exp": claim}).encode()).decode().rstrip("=")
        assert lasts(f"a.{body}.c", tmp_path) == pytest.approx(60, abs=30)


def test_of_an_expired_one_librdkafka_asks_again_soon(tmp_path: Path) -> None:
    # It refuses a token that has ended, and would be without one.
    assert 5 < lasts(unsigned("ann", 1.0), tmp_path) < 40


def test_the_last_token_bridges_a_missing_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "token"
    file.write_text("hush-1")
    tokens = TokenFile(str(file))
    file.unlink()
    with caplog.at_level(logging.WARNING):
        assert tokens.token() == "hush-1"
    assert "No such file" in caplog.text
    assert "hush" not in caplog.text + repr(tokens)
    file.write_text("")
    assert tokens.token() == "hush-1"
    file.write_text("hush-2")
    assert tokens.token() == "hush-2"
