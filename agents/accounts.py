"""From the settings of a process: the provider accounts, and who may be written to by them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from agents.connections import links_of
from schemas.records import Channel
from senders.http_sms_settings import HttpSmsSettings, read_description
from senders.pacing import paced
from senders.settings import (
    DkimKey,
    GmailSettings,
    SenderSettings,
    SmtpSettings,
    Tls,
    TwilioSettings,
    is_loopback,
)
from streams.domain.allowed import Allowed
from streams.settings import Settings
from streams.stages.firing import Options
from streams.vault import VaultSettings


def sender_settings(settings: Settings) -> SenderSettings:
    """The provider accounts that are set; a channel without one is not sent. Raises OSError and ValueError
    for a description of a provider that can't be read."""
    sms = email = None
    if settings.sms_account:
        sms = TwilioSettings(
            account_sid=settings.sms_account,
            token=settings.sms_token,
            answer_timeout=settings.sms_timeout / 1000,
            connections=settings.sms_in_flight,
            **paced(settings.sms_per_minute),
            api_base=settings.sms_api or "https://api.twilio.com",
        )
    if settings.smtp_host:
        email = SmtpSettings(
            host=settings.smtp_host,
            port=settings.smtp_port,
            tls=Tls(settings.smtp_tls),
            ca_file=settings.smtp_ca,
            username=settings.smtp_user,
            password=settings.smtp_password if settings.smtp_password else None,
            connections=settings.smtp_connections,
            command_timeout=settings.smtp_timeout / 1000,
            send_timeout=settings.smtp_timeout / 1000,
            envelope_from=settings.smtp_envelope_from,
            **paced(settings.smtp_per_minute),
        )
    return SenderSettings(
        sms=sms, http_sms=http_sms_of(settings), email=email, dkim=_dkim(settings), gmail=gmail_of(settings)
    )


def http_sms_of(settings: Settings) -> HttpSmsSettings | None:
    """The provider that a file describes; None: there is none. Raises OSError and ValueError."""
    if not settings.http_sms:
        return None
    try:
        described = read_description(Path(settings.http_sms).read_text("utf-8"), settings.http_sms_token)
    except ValueError as error:
        raise ValueError(f"{settings.http_sms}: {error}") from None
    if described.receipts is not None:
        if not settings.public_url:
            raise ValueError(f"{settings.http_sms}: receipts need a public_url to be posted to")
        if described.receipts.signed != "no" and not settings.http_sms_receipt_secret:
            raise ValueError(f"{settings.http_sms}: receipts.signed needs http_sms_receipt_secret")
    return replace(
        described,
        answer_timeout=settings.sms_timeout / 1000,
        connections=settings.sms_in_flight,
    )


def _dkim(settings: Settings) -> tuple[DkimKey, ...]:
    keys = (
        (settings.dkim_selector, settings.dkim_key),
        (settings.dkim_second_selector, settings.dkim_second_key),
    )
    return tuple(
        DkimKey(domain=settings.dkim_domain, selector=selector, private_key=key)
        for selector, key in keys
        if key
    )


def gmail_of(settings: Settings) -> GmailSettings | None:
    """None: no mailboxes are used."""
    if not settings.gmail_client:
        return None
    return GmailSettings(
        client_id=settings.gmail_client,
        client_secret=settings.gmail_client_secret,
        host=settings.gmail_host,
        port=settings.gmail_port,
        tls=Tls(settings.gmail_tls),
        ca_file=settings.gmail_ca,
        auth_url=settings.gmail_auth_url,
        token_url=settings.gmail_token_url,
        api_url=settings.gmail_api,
        command_timeout=settings.smtp_timeout / 1000,
        vault=vault_of(settings),
    )


def vault_of(settings: Settings) -> VaultSettings | None:
    """None: there is none."""
    if not settings.vault:
        return None
    return VaultSettings(settings.vault, settings.vault_token, settings.vault_namespace, settings.vault_ca)


def allowed_of(settings: Settings) -> dict[Channel, Allowed]:
    """Of each channel on which not everybody may be written to, whom."""
    if settings.environment == "production":
        return {}
    allowed = Allowed(settings.allowed_addresses.split(","))
    made = sender_settings(settings)
    hosts: dict[Channel, list[str]] = {channel: [] for channel in Channel}
    if made.sms is not None:
        hosts[Channel.SMS].append(urlsplit(made.sms.api_base).hostname or "")
    if made.http_sms is not None:
        hosts[Channel.SMS].append(urlsplit(made.http_sms.url).hostname or "")
    if made.email is not None:
        hosts[Channel.EMAIL].append(made.email.host)
    if made.gmail is not None:
        hosts[Channel.EMAIL].append(made.gmail.host)
    return {channel: allowed for channel, found in hosts.items() if not all(map(is_loopback, found))}


def options_of(settings: Settings) -> Options:
    """What of the settings the delivery stage needs."""
    longest = max(settings.sms_timeout, settings.smtp_timeout)
    return Options(
        hash_key=settings.hash_key.reveal().encode(),
        email_domain=settings.email_domain,
        links=links_of(settings),
        allowed=allowed_of(settings),
        consent_wait=settings.consent_wait,
        inherited_after=settings.session_timeout + longest,
    )
