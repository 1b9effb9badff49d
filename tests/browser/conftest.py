"""A console for each module, and one browser for all."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.browser.chromium import ENTER, Chromium, installed
from tests.console.api.conftest import Spot, console_broker, make_settings
from tests.console.web.conftest import PASSWORD, place

__all__ = ["console_broker", "make_settings", "place"]


@pytest.fixture(scope="session")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """In CI it has to be there."""
    if not installed() and not os.environ.get("CI"):
        pytest.skip("needs Debian's chromium and chromium-driver")
    with Chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


def sign_in(browser: Chromium, page: str, user: str, password: str = PASSWORD) -> None:
    browser.go(f"{page}/login")
    browser.type("#user", user)
    browser.type("#password", password + ENTER)
    browser.until("Companies")


@pytest.fixture(scope="module")
def editor(place: Spot, window: Chromium) -> None:
    sign_in(window, f"http://127.0.0.1:{place.port}", "editor@acme")


@pytest.fixture
def chromium(place: Spot, window: Chromium, editor: None) -> Iterator[Chromium]:
    """Signed in as an editor, before the companies."""
    window.wide()
    window.go(f"http://127.0.0.1:{place.port}/companies")
    yield window
    assert window.complaints() == []
