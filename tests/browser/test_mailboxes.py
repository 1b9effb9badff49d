"""A Gmail address is connected from a rule's form: there and back between two sites, with the browser's own
idea of which cookies go along."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.fakes.google import CLIENT_ID, CLIENT_SECRET, GoogleFake
from streams.secret import Secret
from streams.settings import Settings
from tests.browser.chromium import Chromium
from tests.console.api.conftest import Spot, both_companies, user
from tests.console.api.outside import running
from tests.console.web.conftest import HASHED
from tests.support.shop import C

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def place(
    make_settings: Callable[[Path], Settings], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Spot]:
    """Its console knows where it is: the port is chosen before it listens."""
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        port = chosen.getsockname()[1]
    here = f"http://127.0.0.1:{port}"
    google = GoogleFake(owner="maria@gmail.com", redirects=(f"{here}/oauth/google",))
    with running(google):
        settings = replace(
            make_settings(tmp_path_factory.mktemp("console")),
            console_port=port,
            console_url=here,
            gmail_client=CLIENT_ID,
            gmail_client_secret=Secret(CLIENT_SECRET),
            # By another name: another site than the console's.
            gmail_auth_url=f"http://localhost:{google.port}/authorize",
            gmail_token_url=f"{google.url}/token",
            gmail_api=google.url,
            mailbox_secrets=str(tmp_path_factory.mktemp("secrets")),
        )
        spot = Spot(settings)
        spot.publish(*both_companies(), user("editor", password=HASHED))
        spot.start()
        yield spot
        spot.stop()


def test_a_gmail_address_is_connected_and_chosen(place: Spot, chromium: Chromium) -> None:
    here = f"http://127.0.0.1:{place.port}/c/{C}"
    chromium.go(f"{here}/rules/new?entity=order&kind=notification")
    assert "Connect a Gmail address" not in chromium.text
    chromium.run(
        "const c = document.getElementById('channel'); c.value = 'email';"
        "c.dispatchEvent(new Event('change', { bubbles: true }))"
    )
    chromium.until("Connect a Gmail address")
    chromium.go(f"{here}/mailboxes")
    chromium.button("Connect a Gmail address")
    chromium.until("Go on at Google")
    chromium.click("main a.button")
    chromium.until("maria@gmail.com is connected.")
    assert "maria@gmail.com" in {one.address for one in place.desk.catalog.mailboxes_of(C)}
    chromium.go(f"{here}/rules/new?entity=order&kind=notification")
    assert chromium.run(
        "return document.getElementById('mailbox_id').textContent.includes('maria@gmail.com')"
    )
