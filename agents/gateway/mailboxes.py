"""Takes down the bounces that lie in the companies' connected mailboxes, one mailbox after the other."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator

from schemas.records import Mailbox
from senders.access_tokens import RevokedError, UnavailableError, refreshed
from senders.gmail_bounces import GmailBounces, MailboxReadError
from senders.mailbox_secrets import SecretError, SecretStore, connection_of
from senders.settings import GmailSettings
from streams.clock import Clock

log = logging.getLogger(__name__)


async def bounces_in(
    mailbox: Mailbox, settings: GmailSettings, secrets: SecretStore, clock: Clock
) -> AsyncGenerator[bytes, None]:
    """Ends where the mailbox can't be read, and a line in the log says why: the others are read all the
    same."""
    try:
        connection = await connection_of(mailbox, secrets)
        token = await refreshed(settings, connection.refresh_token, clock)
        async with GmailBounces(settings, token.value) as box:
            async for mail in box.mails():
                yield mail
    except (SecretError, OSError, RevokedError, UnavailableError, MailboxReadError) as error:
        log.error("mailbox %s of %s is not read: %s", mailbox.id, mailbox.company, error)  # noqa: TRY400 - a line for operators, without what libraries say
