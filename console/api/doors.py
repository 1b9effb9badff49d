"""Who comes in: sessions, and what is done against those who try passwords.

In the memory of one process: after a restart everybody signs in again. Several consoles behind one address
need a proxy that keeps a client at one of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from console.service.people import People, password_fits
from schemas.records import User

COOKIE = "__Host-carillon"
"""The prefix makes browsers refuse it without Secure, with a Domain, or for another path (RFC 6265bis)."""

HOUR = 3600.0
LONGEST = 12 * HOUR
IDLE = 2 * HOUR
"""Seconds."""

TRIES_HERE, TRIES_OF_CLIENT, TRIES_OF_USER = 5, 30, 50
"""Wrong passwords within the window: from one client for one user, from one client, for one user. The last is
high, or anybody could lock anybody out."""
WINDOW = 15 * 60.0

_KEPT = 10_000
_AT_ONCE = 2
"""Passwords that are checked at the same time: each takes 64 MiB."""


class LockedError(Exception):
    """Too many wrong passwords. ``seconds`` until one more may be tried."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        super().__init__(f"too many wrong passwords; try again in {seconds} s")


@dataclass(slots=True)
class Session:
    user: str
    csrf: str
    password: str
    """The hash that it was opened with: another one ends it."""
    began: float
    seen: float


class Doors:
    """``now``: seconds of a monotonic clock. ``fits``: given a password and a hash; may take its time."""

    def __init__(
        self,
        people: People,
        now: Callable[[], float],
        fits: Callable[[str, str], bool] = password_fits,
    ) -> None:
        self._people = people
        self._fits = fits
        self._now = now
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._wrong: OrderedDict[tuple[str, str], list[float]] = OrderedDict()
        self._checking = asyncio.Semaphore(_AT_ONCE)

    async def log_in(self, user_id: str, password: str, client: str) -> tuple[str, Session] | None:
        """The cookie's value and its session; None: wrong, without saying what. Raises LockedError before
        looking at the password."""
        self._refuse_locked(user_id, client)
        # Counted before it is known: those who try many at once are not let through meanwhile.
        moment = self._count(user_id, client)
        user = self._people.user(user_id)
        hashed = user.password if user is not None and user.enabled else ""
        async with self._checking:
            fits = await asyncio.to_thread(self._fits, password, hashed)
        if not fits:
            return None
        self._forgive(user_id, client, moment)
        cookie = secrets.token_urlsafe(32)
        now = self._now()
        session = Session(user_id, secrets.token_urlsafe(32), hashed, now, now)
        self._sessions[_name(cookie)] = session
        if len(self._sessions) > _KEPT:
            self._sessions.popitem(last=False)
        return cookie, session

    def session(self, cookie: str) -> tuple[User, Session] | None:
        """Renews it. None: there is none, or it has ended."""
        session = self._sessions.get(_name(cookie))
        if session is None:
            return None
        now, user = self._now(), self._people.user(session.user)
        ended = now - session.began >= LONGEST or now - session.seen >= IDLE
        if ended or user is None or not user.enabled or user.password != session.password:
            del self._sessions[_name(cookie)]
            return None
        session.seen = now
        return user, session

    def log_out(self, cookie: str) -> None:
        self._sessions.pop(_name(cookie), None)

    def _refuse_locked(self, user: str, client: str) -> None:
        now = self._now()
        for key, most in _limits(user, client):
            times = [at for at in self._wrong.get(key, ()) if now - at < WINDOW]
            if len(times) >= most:
                raise LockedError(int(WINDOW - (now - times[-most])) + 1)

    def _count(self, user: str, client: str) -> float:
        now = self._now()
        for key, most in _limits(user, client):
            times = self._wrong.pop(key, [])
            times.append(now)
            self._wrong[key] = times[-most:]
        while len(self._wrong) > 3 * _KEPT:
            self._wrong.popitem(last=False)
        return now

    def _forgive(self, user: str, client: str, moment: float) -> None:
        """The right password clears what this client did wrong here; and is no wrong one itself."""
        self._wrong.pop((user, client), None)
        for key in ((user, ""), ("", client)):
            times = self._wrong.get(key, [])
            if moment in times:
                times.remove(moment)


def csrf_fits(session: Session, given: str) -> bool:
    return hmac.compare_digest(session.csrf.encode(), given.encode("utf-8", "surrogatepass"))


def _limits(user: str, client: str) -> tuple[tuple[tuple[str, str], int], ...]:
    return ((user, client), TRIES_HERE), (("", client), TRIES_OF_CLIENT), ((user, ""), TRIES_OF_USER)


def _name(cookie: str) -> str:
    """What is kept of it: a look into the memory gives no cookie away."""
    return hashlib.sha256(cookie.encode("utf-8", "surrogatepass")).hexdigest()
