"""A mailbox is connected by its owner: in the session that began it, once, and its token is in no topic."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from console.service.connecting import WITHIN, Connecting
from deploy.fakes.google import CLIENT_ID, CLIENT_SECRET, GoogleFake
from schemas.records import Mailbox
from senders.gmail_consent import ConsentError
from senders.mailbox_secrets import LocalSecrets, connection_of
from streams.kafka.tail import Tail
from streams.secret import Secret
from streams.settings import Settings
from tests.console.api.conftest import DEADLINE, MARK, TOKENS, Spot, both_companies, user
from tests.console.api.outside import running
from tests.console.web.conftest import HASHED, Browser
from tests.support.shop import C

CONSOLE = "https://console.example"


@dataclass(frozen=True, slots=True)
class World:
    spot: Spot
    google: GoogleFake

    def enter(self, name: str) -> Browser:
        return Browser(self.spot).log_in(name)

    def mailboxes(self) -> dict[str, Mailbox]:
        return {one.address: one for one in self.spot.desk.catalog.mailboxes_of(C)}


@pytest.fixture(scope="module")
def world(
    make_settings: Callable[[Path], Settings], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    google = GoogleFake(redirects=(f"{CONSOLE}/oauth/google",))
    with running(google):
        settings = replace(
            make_settings(tmp_path_factory.mktemp("mailboxes")),
            gmail_client=CLIENT_ID,
            gmail_client_secret=Secret(CLIENT_SECRET),
            gmail_auth_url=f"{google.url}/authorize",
            gmail_token_url=f"{google.url}/token",
            gmail_api=google.url,
            console_url=CONSOLE,
            mailbox_secrets=str(tmp_path_factory.mktemp("secrets")),
        )
        spot = Spot(settings)
        spot.publish(*both_companies(), *(user(name, password=HASHED) for name in TOKENS))
        spot.start()
        yield World(spot, google)
        spot.stop()


def begin(browser: Browser) -> str:
    """Where its owner is sent."""
    browser.go(f"/c/{C}/mailboxes")
    page = browser.post(f"/c/{C}/mailboxes/connect", {})
    found = re.search(r'href="(http[^"]*authorize[^"]*)"', page)
    assert found is not None, page
    return unescape(found[1])


def agree(there: str) -> str:
    """At Google; the path at the console that it leads to."""
    parts = urlsplit(there)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=DEADLINE)
    connection.request("GET", f"{parts.path}?{parts.query}")
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status == 302
    return answer.headers["Location"].removeprefix(CONSOLE)


def come_back(browser: Browser, path: str) -> str:
    """As a browser does: without the session's cookie, which is not sent along from another site."""
    kept, browser.cookies = browser.cookies, {}
    page = browser.go(path)
    assert browser.status == 200
    browser.cookies = kept
    on = re.search(r'content="0;url=([^"]*)"', page)
    assert on is not None, page
    assert f'href="{on[1]}"' in page  # also for those who don't like to be led
    return browser.go(unescape(on[1]))


def test_its_owner_agrees_and_it_can_be_chosen(world: World) -> None:
    browser = world.enter("editor")
    world.google.owner = "maria@gmail.com"
    page = come_back(browser, agree(begin(browser)))
    assert "maria@gmail.com is connected." in page
    box = world.mailboxes()["maria@gmail.com"]
    assert (box.users, box.connected, box.provider) == (("editor@acme",), True, "gmail")
    assert "maria@gmail.com" in browser.go(f"/c/{C}/rules/new?entity=order&kind=notification")
    assert "maria@gmail.com" in browser.go(f"/c/{C}/mailboxes")

    # What a worker finds there is a token that Google knows.
    settings = world.spot.settings
    reference = box.secret_ref
    assert reference.startswith(f"file:{settings.mailbox_secrets}")
    content = Path(reference.removeprefix("file:")).read_text()
    (token,) = [one for one, owner in world.google.accounts.items() if owner == "maria@gmail.com"]
    assert token in content
    for topic in ("mailboxes", "audit"):
        tail = Tail(settings.broker, {}, settings.topic_prefix + topic)
        values = b"".join(one.value for one in tail.read_to_end())
        tail.close()
        assert box.id.encode() in values
        assert token.encode() not in values

    # Again, by another who can sign in to it: one mailbox still, for both of them.
    other = world.enter("admin")
    assert "maria@gmail.com is connected." in come_back(other, agree(begin(other)))
    again = world.mailboxes()["maria@gmail.com"]
    assert (again.id, again.secret_ref) == (box.id, reference)
    assert again.users == ("editor@acme", "admin@acme")
    assert Path(reference.removeprefix("file:")).read_text() != content


async def test_a_worker_can_read_it(world: World) -> None:
    browser = world.enter("editor")
    world.google.owner = "read@gmail.com"
    come_back(browser, agree(begin(browser)))
    found = await connection_of(world.mailboxes()["read@gmail.com"], LocalSecrets({}))
    assert world.google.accounts[found.refresh_token.reveal()] == "read@gmail.com"


def test_the_answer_to_somebody_elses_question_is_none(world: World) -> None:
    victim, thief = world.enter("editor"), world.enter("editor")
    world.google.owner = "thief@gmail.com"
    path = agree(begin(thief))
    page = come_back(victim, path)
    assert victim.status == 400
    assert "it was begun by somebody else" in page
    assert "thief@gmail.com" not in world.mailboxes()
    assert "is connected" in come_back(thief, path)
    # Once.
    come_back(thief, path)
    assert thief.status == 400
    for query in ("", "?state=&code=", "?code=4/0&state=guessed"):
        thief.go(f"/oauth/google/finish{query}")
        assert thief.status == 400
    stranger = Browser(world.spot)
    stranger.go("/oauth/google/finish?state=x&code=y")
    assert stranger.where.startswith("/login")


def test_who_says_no_is_not_connected(world: World) -> None:
    browser = world.enter("editor")
    world.google.owner = ""
    page = come_back(browser, agree(begin(browser)))
    assert (browser.status, "its owner said no" in page) == (400, True)
    world.google.owner, world.google.granted = "half@gmail.com", "openid"
    page = come_back(browser, agree(begin(browser)))
    assert (browser.status, "was not granted" in page) == (400, True)
    world.google.granted = GoogleFake().granted
    assert "half@gmail.com" not in world.mailboxes()


def test_others_see_the_mailboxes_of_their_company_and_connect_none(world: World) -> None:
    viewer = world.enter("viewer")
    page = viewer.go(f"/c/{C}/mailboxes")
    assert "maria@acme.example" in page
    assert MARK not in page
    assert "Connect a Gmail address</button>" not in page
    viewer.post(f"/c/{C}/mailboxes/connect", {})
    assert viewer.status == 403
    tokened = Browser(world.spot, TOKENS["editor"])
    tokened.go(f"/c/{C}/mailboxes/connect", {})
    assert tokened.status == 404


def test_a_try_is_good_for_minutes(world: World) -> None:
    now = [0.0]
    connecting = Connecting(world.spot.settings, lambda: now[0])
    there = connecting.begin(C, "session")
    state = dict(part.split("=") for part in urlsplit(there).query.split("&"))["state"]
    assert connecting.company_of(state, "session") == C
    now[0] = WITHIN
    with pytest.raises(ConsentError, match="too long"):
        connecting.company_of(state, "session")
    assert not Connecting(Settings(), lambda: 0).possible
    with pytest.raises(ConsentError, match="not set up"):
        Connecting(Settings(), lambda: 0).begin(C, "session")
