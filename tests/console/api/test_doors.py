"""Tokens, passwords, sessions: who comes in, and who does not."""

from __future__ import annotations

import re

import pytest

from console.api.doors import IDLE, LONGEST, TRIES_HERE, TRIES_OF_CLIENT, WINDOW, Doors, LockedError
from console.api.server import HEADERS, LARGEST, STRANGERS
from console.service.people import People, hash_password, password_fits, role_of, token_hash
from schemas.records import Role, Token, User
from tests.console.api.conftest import TOKENS, Answer, Spot, user
from tests.console.api.test_writing import RULES, fresh
from tests.support.shop import C

PASSWORD = "a pass phrase of some length"
HASHED = hash_password(PASSWORD)
MARIA = User(id="maria", password=HASHED, roles={C: Role.EDITOR}, version=1)


class Hand:
    """A clock moved by hand, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def quickly(password: str, hashed: str) -> bool:
    """Without the work that scrypt makes of it."""
    return bool(hashed) and password == PASSWORD


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def people() -> People:
    people = People()
    people.put([MARIA])
    return people


def test_a_password_is_kept_as_a_hash_of_its_own() -> None:
    assert PASSWORD not in HASHED
    assert hash_password(PASSWORD) != HASHED
    assert password_fits(PASSWORD, HASHED)
    assert not password_fits(PASSWORD + " ", HASHED)
    assert not password_fits("", "")


def test_a_token_ends_with_its_day_its_user_and_its_record() -> None:
    people = People()
    one = Token(id="1", hash=token_hash("t"), created_at=0, expires_at=100)
    owner = User(id="crm", roles={C: Role.VIEWER}, tokens=(one,), version=1)
    people.put([owner])
    assert people.of_token("t", 99) == owner
    assert people.of_token("t", 100) is None
    assert people.of_token("u", 99) is None
    people.put([User(id="crm", roles={C: Role.VIEWER}, tokens=(one,), enabled=False, version=2)])
    assert people.of_token("t", 99) is None
    people.put([owner])  # an older version comes again
    assert people.of_token("t", 99) is None
    people.put([User(id="crm", tokens=(one,), version=3), b"crm"])
    assert people.of_token("t", 99) is None
    assert people.all() == []


def test_the_higher_role_counts() -> None:
    both = User(id="x", roles={"*": Role.VIEWER, C: Role.ADMIN}, version=1)
    assert (role_of(both, C), role_of(both, "other")) == (Role.ADMIN, Role.VIEWER)
    assert role_of(User(id="x", version=1), C) is None


async def test_a_session_ends(people: People, hand: Hand) -> None:
    doors = Doors(people, hand, quickly)

    async def enter() -> str:
        opened = await doors.log_in("maria", PASSWORD, "1.2.3.4")
        assert opened is not None
        return opened[0]

    cookie = await enter()
    assert doors.session(cookie) is not None
    assert doors.session(cookie + "x") is None
    doors.log_out(cookie)
    assert doors.session(cookie) is None
    cookie = await enter()
    for _ in range(int(LONGEST // (IDLE - 1))):
        hand.now += IDLE - 1
        assert doors.session(cookie) is not None
    hand.now += IDLE - 1
    assert doors.session(cookie) is None, "the longest time has passed"
    cookie = await enter()
    hand.now += IDLE
    assert doors.session(cookie) is None, "nobody was there"
    cookie = await enter()
    people.put([User(id="maria", password="another one", version=2)])
    assert doors.session(cookie) is None, "another password"


async def test_who_guesses_is_locked_out_and_others_are_not(people: People, hand: Hand) -> None:
    doors = Doors(people, hand, quickly)
    for _ in range(TRIES_HERE):
        assert await doors.log_in("maria", "wrong", "6.6.6.6") is None
    with pytest.raises(LockedError) as locked:
        await doors.log_in("maria", PASSWORD, "6.6.6.6")
    assert locked.value.seconds == WINDOW + 1
    assert await doors.log_in("maria", PASSWORD, "1.2.3.4") is not None
    hand.now += WINDOW
    assert await doors.log_in("maria", PASSWORD, "6.6.6.6") is not None
    for number in range(TRIES_OF_CLIENT):
        assert await doors.log_in(f"user-{number}", "wrong", "7.7.7.7") is None
    with pytest.raises(LockedError):
        await doors.log_in("maria", PASSWORD, "7.7.7.7")


def log_in(spot: Spot, password: str = PASSWORD, **headers: str) -> Answer:
    body = {"user": "maria", "password": password}
    return spot.call("POST", "/session", body, headers=headers)


@pytest.fixture(scope="module")
def opened(shared: Spot) -> Spot:
    shared.publish(MARIA)
    shared.until(lambda: shared.desk.people.user("maria") is not None)
    return shared


def cookie_of(answer: Answer) -> str:
    set_cookie = answer.headers["Set-Cookie"]
    for part in ("HttpOnly", "Secure", "SameSite=Strict", "Path=/"):
        assert part in set_cookie
    assert "Domain" not in set_cookie
    match = re.match(r"__Host-carillon=[\w-]+;", set_cookie)
    assert match is not None
    return match[0]


def test_a_session_by_cookie_needs_its_csrf_token(opened: Spot) -> None:
    answer = log_in(opened)
    assert (answer.status, answer.json["roles"]) == (200, {C: "editor"})
    cookie, csrf = {"Cookie": cookie_of(answer)}, {"X-CSRF-Token": answer.json["csrf_token"]}
    assert opened.call("GET", "/session", headers=cookie).json == answer.json
    body = fresh()
    for headers in (cookie, cookie | {"X-CSRF-Token": "guess"}):
        refused = opened.call("POST", RULES, body, headers=headers)
        assert (refused.status, "X-CSRF-Token" in refused.json["detail"]) == (403, True)
    foreign = cookie | csrf | {"Sec-Fetch-Site": "cross-site"}
    assert opened.call("POST", RULES, body, headers=foreign).status == 403
    assert opened.call("POST", RULES, body, headers=cookie | csrf).status == 201
    assert opened.call("DELETE", "/session", headers=cookie).status == 403
    gone = opened.call("DELETE", "/session", headers=cookie | csrf)
    assert (gone.status, "Max-Age=0" in gone.headers["Set-Cookie"]) == (204, True)
    assert opened.call("GET", "/session", headers=cookie).status == 401


def test_wrong_passwords_say_nothing_and_then_lock(opened: Spot) -> None:
    unknown = opened.call("POST", "/session", {"user": "nobody", "password": PASSWORD})
    wrong = log_in(opened, "wrong")
    assert (wrong.status, wrong.body) == (401, unknown.body)
    assert "Set-Cookie" not in wrong.headers
    for _ in range(TRIES_HERE - 1):
        assert log_in(opened, "wrong").status == 401
    locked = log_in(opened)
    assert locked.status == 429
    assert int(locked.headers["Retry-After"]) > 60


def test_tokens(opened: Spot) -> None:
    path = "/companies"
    assert opened.get(path, "viewer").status == 200
    for authorization in ("Bearer nothing", "Basic " + TOKENS["viewer"], TOKENS["viewer"], "Bearer"):
        answer = opened.call("GET", path, headers={"Authorization": authorization})
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    opened.publish(user("viewer", enabled=False, version=2))
    opened.until(lambda: opened.get(path, "viewer").status == 401)


def test_every_answer_has_the_headers(opened: Spot) -> None:
    for answer in (
        opened.get("/companies", "editor"),
        opened.get("/companies/none/rules", "editor"),
        opened.call("GET", "/nowhere"),
        opened.call("GET", "/openapi.json"),
        opened.call("PATCH", "/companies"),
    ):
        for name, value in HEADERS.items():
            assert answer.headers[name] == value, name


def test_bodies_are_json_and_of_a_size(opened: Spot) -> None:
    def post(raw: bytes, **headers: str) -> int:
        return opened.call("POST", RULES, raw=raw, who="editor", headers=headers).status

    assert post(b"{") == 400
    assert post(b"\xff") == 400
    assert post(b'{"company":' + b"[" * 100_000) == 400
    assert post(b"{}", **{"Content-Type": "text/plain"}) == 415
    assert post(b"a=b", **{"Content-Type": "application/x-www-form-urlencoded"}) == 415
    assert post(b" " * (LARGEST + 1)) == 413


def test_strangers_who_keep_asking_are_told_to_wait(spot: Spot) -> None:
    found = [spot.call("GET", "/companies").status for _ in range(STRANGERS + 1)]
    assert found == [401] * STRANGERS + [429]
    assert spot.get("/companies").status == 200
