"""Who may use the console, and what they may do."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping, Sequence

from console.service.errors import NotAllowedError, NotThereError
from schemas.records import Role, Token, User
from streams.domain.ids import split_key

EVERY = "*"
"""In the place of a company: all of them."""

RANK: Mapping[Role, int] = {role: number for number, role in enumerate(Role)}

TOKEN_PREFIX = "carillon_"  # noqa: S105 - what tokens begin with, so that scanners of leaked secrets find them
SHORTEST_PASSWORD = 12

# OWASP's recommendation for scrypt (Password Storage Cheat Sheet): 64 MiB and a tenth of a second or two.
_N, _R, _P = 2**16, 8, 1
_MEMORY = 128 * 1024 * 1024


class People:
    """The topic ``users`` in memory: the newest version of each. Written on the follower's thread and read
    on the event loop: what is read is replaced, never changed."""

    def __init__(self) -> None:
        self._by_id: dict[str, User] = {}
        self._by_token: dict[str, tuple[str, Token]] = {}

    def put(self, found: Iterable[User | bytes]) -> None:
        """In order; the key of a tombstone removes."""
        by_id = dict(self._by_id)
        for one in found:
            if not isinstance(one, User):
                by_id.pop(split_key(one)[0], None)
            elif one.id not in by_id or one.version > by_id[one.id].version:
                by_id[one.id] = one
        self._by_token = {token.hash: (user.id, token) for user in by_id.values() for token in user.tokens}
        self._by_id = by_id

    def all(self) -> Sequence[User]:
        return sorted(self._by_id.values(), key=lambda user: user.id)

    def user(self, id_: str) -> User | None:
        return self._by_id.get(id_)

    def of_token(self, token: str, now: int) -> User | None:
        """Whose it is, unless it has ended or they are disabled."""
        found = self._by_token.get(token_hash(token))
        if found is None or (found[1].expires_at is not None and found[1].expires_at <= now):
            return None
        user = self._by_id.get(found[0])
        return user if user is not None and user.enabled else None


def role_of(user: User, company: str) -> Role | None:
    """The highest that they have there."""
    roles = [user.roles[each] for each in (company, EVERY) if each in user.roles]
    return max(roles, key=RANK.__getitem__, default=None)


def allowed(user: User, company: str, role: Role) -> None:
    """NotThereError where they have no role in the company, NotAllowedError where it does not reach."""
    has = role_of(user, company)
    if has is None:
        raise NotThereError
    if RANK[has] < RANK[role]:
        raise NotAllowedError(f"this needs the role {role.value}, yours is {has.value}")


# --- tokens and passwords


def new_token() -> str:
    """256 bits of chance: nobody has to be slowed down who tries them."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def hash_password(password: str) -> str:
    """``scrypt$n$r$p$salt$hash``. Takes some tenths of a second and 64 MiB."""
    salt = secrets.token_bytes(16)
    return f"scrypt${_N}${_R}${_P}${salt.hex()}${_scrypt(password, salt, _N, _R, _P).hex()}"


def password_fits(password: str, hashed: str) -> bool:
    """Takes the same time where ``hashed`` is empty, and says no."""
    if not hashed:
        _scrypt(password, b"nobody", _N, _R, _P)
        return False
    _, n, r, p, salt, wanted = hashed.split("$")
    return hmac.compare_digest(_scrypt(password, bytes.fromhex(salt), int(n), int(r), int(p)).hex(), wanted)


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    given = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(given, salt=salt, n=n, r=r, p=p, maxmem=_MEMORY, dklen=32)
