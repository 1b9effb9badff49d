"""The companies' connected mailboxes: one way out for each, by SMTP with an OAuth token (XOAUTH2).

Each has its own connections, its own pace and its own state: one that refused us is left alone for a while,
and what was to leave by it leaves from the service's address. Nothing here pauses another mailbox.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace

import aiosmtplib

from schemas.records import Mailbox
from senders.access_tokens import AccessTokens, RevokedError, Token, UnavailableError, refreshed
from senders.daily_quota import DailyQuota
from senders.gmail_search import GmailSearch
from senders.mailbox_secrets import (
    LocalSecrets,
    SecretError,
    SecretStore,
    VaultSecrets,
    connection_of,
    usual_limit,
)
from senders.mime import HeaderError, Mime, build
from senders.outcomes import MailboxTrouble, Phase, mailbox_trouble, smtp_verdict
from senders.pacing import Bucket
from senders.settings import GmailSettings
from senders.smtp_account import SmtpAccount, said
from senders.smtp_pool import RefusedError, tls_context
from senders.usage import Usage, Used
from streams.clock import Clock
from streams.domain.messages import Accepted, EmailMessage, Inquiry, Outcome, RetryAt, Unknown
from streams.domain.reasons import Reason
from streams.vault import Vault

log = logging.getLogger(__name__)

PROVIDER = "gmail"

SLOW_DOWN = 60_000
"""Milliseconds for which a mailbox rests that was told it is too fast."""

_BEFORE_LOGIN = frozenset({Phase.CONNECT, Phase.HELLO, Phase.AUTH})

_FULL = "its daily limit is used up"
_BUSY = "it is not its turn yet"


@dataclass(frozen=True, slots=True)
class NotUsable:
    """The mailbox has not taken the message, and won't. ``wait``: milliseconds until it is worth a try."""

    why: str
    wait: int = 0


class Mailboxes:
    """``send`` and ``inquire`` may run many times at once."""

    def __init__(
        self,
        settings: GmailSettings,
        clock: Clock,
        secrets: SecretStore | None = None,
        usage: Usage | None = None,
    ) -> None:
        """``usage``: of the other workers; None: there are none."""
        self._usage = usage or Usage("")
        self._usage.counted_by(self._used)
        self._settings = settings
        self._clock = clock
        self._secrets = secrets or secret_store(settings, clock)
        self._smtp = settings.smtp()
        self._tls = tls_context(self._smtp)
        self._search = GmailSearch(settings)
        self._boxes: dict[tuple[str, str], _Box] = {}
        self._warm: OrderedDict[tuple[str, str], _Box] = OrderedDict()
        """Those that may have idle connections, the one unused for longest first."""

    async def send(
        self, message: EmailMessage, mailbox: Mailbox, limit: asyncio.Timeout
    ) -> Outcome | NotUsable:
        """One attempt; ``limit`` as for ``SmtpAccount``. Raises HeaderError for a message that can't be
        written at all."""
        box = self._box(mailbox)
        try:
            mime = build(message, self._clock.now(), from_address=box.mailbox.address)
        except HeaderError as error:
            if error.header == "From":
                return NotUsable("its address can't be written")
            raise
        now = self._clock.now()
        if (down := box.down(now)) is not None:
            return down
        try:
            await box.tokens.get()
            if (wait := box.turn(now, self._usage.elsewhere(_name(box.mailbox)))) is not None:
                return _later(message, wait)
            return await self._deliver(box, message, mime, limit)
        except RevokedError as error:
            return box.lose(str(error), self._clock.now())
        except UnavailableError as error:
            return RetryAt(PROVIDER, Reason.UNREACHABLE, f"token: {error}")

    async def inquire(self, message: EmailMessage, mailbox: Mailbox) -> Inquiry:
        """Gmail can be asked by Message-ID whether it has sent it."""
        box = self._box(mailbox)
        try:
            token = await box.tokens.get()
        except (RevokedError, UnavailableError) as error:
            return Unknown(PROVIDER, Reason.NO_ANSWER, f"mailbox {mailbox.id}: {error}")
        answer = await self._search.find(message.message_id, token)
        if isinstance(answer, Accepted):
            return replace(answer, sender=box.mailbox.address)
        return answer

    async def close(self) -> None:
        boxes, self._boxes = self._boxes, {}
        self._warm.clear()
        await asyncio.gather(self._search.close(), *(box.close() for box in boxes.values()))

    async def _deliver(
        self, box: _Box, message: EmailMessage, mime: Mime, limit: asyncio.Timeout
    ) -> Outcome | NotUsable:
        key = (box.mailbox.company, box.mailbox.id)
        self._warm[key] = box
        self._warm.move_to_end(key)
        while len(self._warm) > self._settings.open_mailboxes:
            self._warm.popitem(last=False)[1].account.drop_idle()
        box.quota.count(self._clock.now())
        taken = True
        try:
            try:
                outcome = await box.account.deliver(message, mime, limit)
            except RefusedError as refused:
                if refused.phase is not Phase.AUTH or refused.code // 100 != 5:
                    raise
                # The token may have been withdrawn before its end: once more, with a new one.
                outcome = await box.account.deliver(message, mime, limit)
            taken = isinstance(outcome, Accepted | Unknown)
            if taken:
                box.recovered()
            return replace(outcome, pause_channel=False) if isinstance(outcome, RetryAt) else outcome
        except RefusedError as refused:
            taken = False
            return self._refused(box, message, refused)
        except (RevokedError, UnavailableError):
            taken = False
            raise
        finally:
            if not taken:
                box.quota.take_back()

    def _refused(self, box: _Box, message: EmailMessage, refused: RefusedError) -> Outcome | NotUsable:
        now = self._clock.now()
        trouble = mailbox_trouble(refused.phase, refused.code, refused.text)
        detail = said(refused, message)
        if trouble is MailboxTrouble.NO_ACCESS:
            return box.lose(f"refused ({detail})", now)
        if refused.phase not in _BEFORE_LOGIN:
            box.recovered()
        if trouble is MailboxTrouble.FULL:
            return _later(message, NotUsable(_FULL, box.quota.used_up(now)))
        if trouble is MailboxTrouble.TOO_FAST:
            box.rest_until = now + SLOW_DOWN
            return RetryAt(PROVIDER, Reason.THROTTLED, detail, after=SLOW_DOWN)
        verdict = smtp_verdict(refused.phase, refused.code, refused.text)
        return replace(verdict, pause=False).outcome(PROVIDER, detail)

    def _used(self) -> Used:
        found = {_name(box.mailbox): box.quota.by_hour() for box in self._boxes.values()}
        return {name: hours for name, hours in found.items() if hours}

    def _box(self, mailbox: Mailbox) -> _Box:
        key = (mailbox.company, mailbox.id)
        box = self._boxes.get(key)
        if box is not None and mailbox.version <= box.mailbox.version:
            return box
        # Another version: perhaps it was connected again, so what went wrong before does not count.
        made = self._boxes[key] = self._new(mailbox, box)
        if box is not None:
            self._warm.pop(key, None)
            box.retire()
        return made

    def _new(self, mailbox: Mailbox, former: _Box | None) -> _Box:
        settings = self._settings
        same = former is not None and former.mailbox.address == mailbox.address
        quota = former.quota if former is not None and same else DailyQuota(usual_limit(mailbox.address))
        bucket = former.bucket if former is not None and same else Bucket(settings.per_second, settings.burst)

        async def fetch() -> Token:
            try:
                connection = await connection_of(mailbox, self._secrets)
            except SecretError as error:
                raise RevokedError(str(error)) from None
            except OSError as error:
                raise UnavailableError(f"its secret: {type(error).__name__}") from None
            quota.limit = connection.daily_limit
            return await refreshed(settings, connection.refresh_token, self._clock)

        tokens = AccessTokens(fetch, self._clock, settings.token_timeout)

        async def log_in(client: aiosmtplib.SMTP) -> None:
            token = await tokens.get()
            try:
                await client.auth_xoauth2(mailbox.address, token.reveal())
            except aiosmtplib.SMTPAuthenticationError:
                tokens.forget(token)
                raise

        account = SmtpAccount(self._smtp, PROVIDER, log_in, self._tls)
        return _Box(mailbox, account, tokens, quota, bucket, settings)


class _Box:
    """One mailbox as this worker knows it."""

    def __init__(
        self,
        mailbox: Mailbox,
        account: SmtpAccount,
        tokens: AccessTokens,
        quota: DailyQuota,
        bucket: Bucket,
        settings: GmailSettings,
    ) -> None:
        self.mailbox = mailbox
        self.account = account
        self.tokens = tokens
        self.quota = quota
        self.bucket = bucket
        self.rest_until = 0
        self._interval = 1000 / settings.per_second
        self._promised = 0.0
        self._probe_after = int(settings.probe_seconds * 1000)
        self._why = ""
        self._down_until = 0

    def down(self, now: int) -> NotUsable | None:
        """None: it may be tried. Of a mailbox that was lost only one message at a time tries."""
        if not self._why:
            return None
        if now < self._down_until:
            return NotUsable(self._why, self._down_until - now)
        self._down_until = now + self._probe_after
        return None

    def lose(self, why: str, now: int) -> NotUsable:
        if not self._why:
            log.warning("mailbox %s of %s is disconnected: %s", self.mailbox.id, self.mailbox.company, why)
        self._why = why
        self._down_until = now + self._probe_after
        return NotUsable(why, self._probe_after)

    def recovered(self) -> None:
        if self._why:
            log.info("mailbox %s of %s can be used again", self.mailbox.id, self.mailbox.company)
        self._why, self._down_until = "", 0

    def turn(self, now: int, elsewhere: Mapping[int, int]) -> NotUsable | None:
        """None: a message may go now. Nothing waits here: the final check was just before. ``elsewhere`` as
        in ``DailyQuota``."""
        if wait := self.quota.wait(now, elsewhere):
            return NotUsable(_FULL, wait)
        if now < self.rest_until:
            return NotUsable(_BUSY, self.rest_until - now)
        if wait := self.bucket.take(now):
            # One after the other, or all that are refused now would come back at once.
            self._promised = max(self._promised + self._interval, now + wait)
            return NotUsable(_BUSY, int(self._promised) - now)
        return None

    def retire(self) -> None:
        """Another takes its place; connections that are out are closed when they have been idle."""
        self.tokens.close()
        self.account.drop_idle()

    async def close(self) -> None:
        self.tokens.close()
        await self.account.close()


def secret_store(settings: GmailSettings, clock: Clock) -> SecretStore:
    """Where the mailboxes' secrets are."""
    local = LocalSecrets()
    return VaultSecrets(Vault(settings.vault), clock, local) if settings.vault is not None else local


def _name(mailbox: Mailbox) -> str:
    return f"{mailbox.company}/{mailbox.id}"


def _later(message: EmailMessage, wait: NotUsable) -> RetryAt | NotUsable:
    """Not a failure, unless the message would be of no more use by then."""
    if message.valid_for and wait.wait >= message.valid_for * 1000:
        return wait
    return RetryAt(PROVIDER, Reason.THROTTLED, wait.why, after=wait.wait, called=False)
