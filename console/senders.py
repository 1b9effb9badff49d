"""``carillon senders``: whether the providers are set up right, before a customer finds out."""

from __future__ import annotations

import asyncio
from secrets import token_hex

import click

from agents.accounts import sender_settings
from console.options import given_settings, set_option
from schemas.records import Channel, Mailbox
from senders.dkim import Signer
from senders.sender import Sender
from streams.clock import SystemClock
from streams.domain.ids import message_id
from streams.domain.links import MessageRef
from streams.domain.messages import Accepted, EmailMessage, Message, Outcome, SmsMessage
from streams.domain.reasons import Reason
from streams.settings import Settings

COMPANY = "carillon-try"
"""Whose an attempt is unless it is said: receipts and blocked addresses of an attempt concern no real one."""

_SUBJECT = "A test message"
_TEXT = "This is a test message of Carillon. If you can read it, the way to you works."
_HOUR = 3600
_REASONS = {str(reason): reason.text for reason in Reason}

EXAMPLES = """\b
Examples:
  carillon senders dns                                     the records that the e-mail settings need
  carillon senders try +48501111222 --from +48732100100    one SMS
  carillon senders try ann@mail.example --from hello@shop.example
  carillon senders try ann@mail.example --from shop@gmail.com --company acme --mailbox file:shop.json

docs/integrations.md goes through the whole set-up.
"""


@click.group(epilog=EXAMPLES)
def senders() -> None:
    """Look at the providers' settings, and try them with one message."""


@senders.command()
@set_option
def dns(overrides: tuple[str, ...]) -> None:
    """Print the DNS records that the e-mail settings need.

    Each line can be pasted into a zone file. What stands in a record about your relay's own servers only the
    relay can say.
    """
    for name, text in records(given_settings(overrides)):
        click.echo(f"{name}. IN TXT {' '.join(_quoted(text))}")


@senders.command(name="try")
@click.argument("address", metavar="NUMBER-OR-EMAIL")
@click.option("--from", "sender", required=True, metavar="SENDER", help="Number, name or e-mail address.")
@click.option("--company", default=COMPANY, show_default=True, help="Whose message it is.")
@click.option("--mailbox", "secret", default="", metavar="SECRET", help="--from is this connected mailbox.")
@click.option("--provider", default="", metavar="NAME", help="Not the first of several accounts.")
@set_option
def try_one(
    address: str, sender: str, company: str, secret: str, provider: str, overrides: tuple[str, ...]
) -> None:
    """Send one message as a worker would, and say what the provider answers.

    It is a real message. It stands in no delivery log and asks nobody's consent: take an address of your own.
    Outside production it goes to CARILLON_ALLOWED_ADDRESSES only. Exit code 1 if it was not accepted.
    """
    settings = given_settings(overrides)

    from agents.accounts import allowed_of  # noqa: PLC0415 - imports the senders
    from agents.connections import links_of  # noqa: PLC0415 - imports a Kafka client

    allowed = allowed_of(settings).get(Channel.EMAIL if "@" in address else Channel.SMS)
    if allowed is not None and not allowed.permits(address):
        raise click.ClickException(
            "this is no production system (CARILLON_ENVIRONMENT), "
            f"and CARILLON_ALLOWED_ADDRESSES does not name {address}"
        )
    delivery_id = token_hex(16)
    ref = MessageRef(
        company=company,
        kind="try",
        entity_id="try",
        customer_id="try",
        rule_id="try",
        event_id="",
        delivery_id=delivery_id,
        address=address if "@" in address else "",
    )
    links = links_of(settings)
    message: Message
    if "@" in address:
        box = Mailbox(id="try", company=company, address=sender, secret_ref=secret, version=1)
        message = EmailMessage(
            delivery_id=delivery_id,
            company=company,
            to_address=address,
            to_name="",
            from_address="" if secret else sender,
            from_name="",
            subject=_SUBJECT,
            text=_TEXT,
            html=f"<p>{_TEXT}</p>",
            message_id=message_id(delivery_id, settings.email_domain),
            mailbox=box if secret else None,
            unsubscribe_url=links.unsubscribe(ref) if links else "",
        )
    else:
        message = SmsMessage(
            delivery_id=delivery_id,
            company=company,
            to=address,
            sender=sender,
            text=_TEXT,
            segments=1,
            valid_until=SystemClock().now() + _HOUR * 1000,
            status_url=links.receipts(ref) if links else "",
        )
    outcome = asyncio.run(_send(settings, message, provider))
    if not isinstance(outcome, Accepted):
        why = " ".join(
            part for part in (_REASONS.get(outcome.reason, outcome.reason), outcome.detail) if part
        )
        raise click.ClickException(f"{outcome.provider}: {why}")
    click.echo(f"accepted by {outcome.provider} as {outcome.provider_id}")
    if outcome.note:
        click.echo(outcome.note)


async def _send(settings: Settings, message: Message, provider: str) -> Outcome:
    from senders.factory import build_senders  # noqa: PLC0415 - imports the providers' clients

    channel = Channel.SMS if isinstance(message, SmsMessage) else Channel.EMAIL
    every = build_senders(sender_settings(settings), SystemClock())
    try:
        return await _chosen(every.get(channel, []), channel, provider).send(message)
    finally:
        for accounts in every.values():
            for account in accounts:
                await account.close()


def _chosen(accounts: list[Sender], channel: Channel, provider: str) -> Sender:
    if not accounts:
        needed = "CARILLON_SMS_ACCOUNT" if channel is Channel.SMS else "CARILLON_SMTP_HOST"
        raise click.ClickException(f"no {channel} provider is set up: {needed} is empty")
    for account in accounts:
        if provider in ("", account.name):
            return account
    names = ", ".join(account.name for account in accounts)
    raise click.ClickException(f"there is no provider {provider!r}; there are: {names}")


def records(settings: Settings) -> list[tuple[str, str]]:
    """(name, text) of each TXT record."""
    found = []
    bounces = settings.smtp_envelope_from.rpartition("@")[2]
    if bounces:
        found.append((bounces, "v=spf1 include:YOUR-RELAY -all"))
    found += [Signer(key).record() for key in sender_settings(settings).dkim]
    domain = settings.dkim_domain or bounces
    if not domain:
        raise click.ClickException("neither smtp_envelope_from nor dkim_domain is set: nothing to publish")
    found.append((f"_dmarc.{domain}", f"v=DMARC1; p=none; rua=mailto:dmarc@{domain}"))
    return found


_LONGEST_STRING = 255
"""Bytes of one string in a TXT record (RFC 1035 3.3.14); readers put several together."""


def _quoted(text: str) -> list[str]:
    parts = [text[at : at + _LONGEST_STRING] for at in range(0, len(text), _LONGEST_STRING)]
    return [f'"{part}"' for part in parts]
