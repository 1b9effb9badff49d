"""A console and a browser before it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import Chromium, installed
from tests.console.api.conftest import Spot, console_broker, make_settings
from tests.console.web.conftest import PASSWORD, place

__all__ = ["console_broker", "make_settings", "place"]


@pytest.fixture
def chromium(place: Spot, tmp_path: Path) -> Iterator[Chromium]:
    """Signed in as an editor, by keyboard alone. In CI it has to be there."""
    if not installed() and not os.environ.get("CI"):
        pytest.skip("needs Debian's chromium and chromium-driver")
    with Chromium(tmp_path / "profile") as browser:
        browser.go(f"http://127.0.0.1:{place.port}/login")
        browser.type("#user", "editor@acme")
        browser.type("#password", PASSWORD + "\ue007")
        browser.until("Companies")
        yield browser
        assert browser.complaints() == []
