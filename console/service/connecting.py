"""Mailboxes that their owners connect: each try is of the session that began it, good once, for minutes."""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec

from agents.accounts import sender_settings
from console.service.edits import ANY, Author, Edit, create, replace
from schemas.records import Mailbox
from senders.gmail_consent import Consent, ConsentError, consent_url, redeemed
from senders.secret_files import write_secret
from senders.settings import GmailSettings
from streams.domain.catalog import Catalog
from streams.settings import Settings

CALLBACK = "/oauth/google"
"""Below ``console_url``: the redirect address, which stands in Google's settings of the client."""
WITHIN = 10 * 60.0
"""Seconds for the owner to agree."""
_TRIES = 1_000


@dataclass(frozen=True, slots=True)
class _Try:
    company: str
    session: str
    verifier: str
    began: float


class Connecting:
    """In the memory of one console. ``now``: seconds of a monotonic clock."""

    def __init__(self, settings: Settings, now: Callable[[], float]) -> None:
        self._settings = settings
        self._now = now
        self._tries: OrderedDict[str, _Try] = OrderedDict()
        self._redirect = settings.console_url.rstrip("/") + CALLBACK

    @property
    def possible(self) -> bool:
        """Whether this console is set up for it."""
        settings = self._settings
        return bool(settings.gmail_client and settings.console_url and settings.mailbox_secrets)

    def begin(self, company: str, session: str) -> str:
        """Where the owner goes on. ``session``: something that only theirs has. Raises ConsentError."""
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(64)
        self._tries[_named(state)] = _Try(company, session, verifier, self._now())
        if len(self._tries) > _TRIES:
            self._tries.popitem(last=False)
        return consent_url(self._gmail(), self._redirect, state, verifier)

    def company_of(self, state: str, session: str) -> str:
        """Whose mailbox it will be. Raises ConsentError for a state that was not given to this session, or
        not lately."""
        return self._found(state, session).company

    async def finish(self, state: str, session: str, code: str, error: str) -> Consent:
        """``error``: what came in the place of a code (RFC 6749 4.1.2.1). Raises ConsentError."""
        found = self._found(state, session)
        del self._tries[_named(state)]
        if error or not code:
            raise ConsentError("its owner said no" if error == "access_denied" else "it was refused")
        return await redeemed(self._gmail(), self._redirect, code, found.verifier)

    def _found(self, state: str, session: str) -> _Try:
        found = self._tries.get(_named(state))
        if found is None or self._now() - found.began >= WITHIN:
            raise ConsentError("it took too long, or was done already; begin again")
        if not hmac.compare_digest(found.session.encode(), session.encode()):
            raise ConsentError("it was begun by somebody else")
        return found

    def _gmail(self) -> GmailSettings:
        found = sender_settings(self._settings).gmail
        if found is None or not self.possible:
            raise ConsentError("this console is not set up for it")
        return found

    def keep(self, company: str, mailbox_id: str, consent: Consent) -> str:
        """The reference to the secret. Raises OSError."""
        return write_secret(Path(self._settings.mailbox_secrets), company, mailbox_id, consent.refresh_token)


def mailbox_of(catalog: Catalog, company: str, address: str) -> Mailbox | None:
    """The one of this address, if the company has it already."""
    wanted = address.casefold()
    return next((one for one in catalog.mailboxes_of(company) if one.address.casefold() == wanted), None)


def id_of(company: str, address: str) -> str:
    """The same for the same address, so that two at once make one mailbox."""
    return sha256(f"{len(company)}:{company}{address.casefold()}".encode()).hexdigest()[:24]


def connected(catalog: Catalog, company: str, address: str, reference: str, author: Author) -> Edit | None:
    """Whoever can sign in to a mailbox may choose it, beside those who could already."""
    old = mailbox_of(catalog, company, address)
    if old is None:
        made = Mailbox(
            id=id_of(company, address),
            company=company,
            address=address,
            secret_ref=reference,
            users=(author.user,),
            version=0,
        )
        return create(catalog, made, author)
    users = old.users if author.user in old.users else (*old.users, author.user)
    new = msgspec.structs.replace(old, secret_ref=reference, users=users, connected=True)
    return replace(catalog, new, ANY, author)


def _named(state: str) -> str:
    """What is kept of it: a look into the memory gives none away."""
    return sha256(state.encode("utf-8", "surrogatepass")).hexdigest()
