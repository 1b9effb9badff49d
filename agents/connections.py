"""What every program that talks to Kafka makes of the settings; without Faust, so that a command of some
milliseconds need not wait for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException

from schemas.records import Company, Location, Mailbox, Rule, Status, Suppression, Template
from schemas.registry import RegistryConfig
from streams.domain.catalog import ReferenceType
from streams.domain.links import Links
from streams.settings import Settings

RECORDS: Mapping[str, ReferenceType] = {
    "companies": Company,
    "locations": Location,
    "statuses": Status,
    "templates": Template,
    "rules": Rule,
    "mailboxes": Mailbox,
    "suppressions": Suppression,
}
"""The reference topics (without prefix) and what is in them."""

_AWAY = frozenset({KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN})


class BrokerError(RuntimeError):
    """The brokers do not answer, or refuse. The message says where and what to do."""


def registry_config(settings: Settings) -> RegistryConfig | None:
    """None: the embedded registry."""
    if settings.registry == "embedded":
        return None
    return RegistryConfig(
        url=settings.registry,
        ca_file=settings.registry_ca,
        user=settings.registry_user,
        password=settings.registry_password.reveal(),
    )


def links_of(settings: Settings) -> Links | None:
    """None: no public address is set, so nothing leads back to us."""
    if not settings.public_url:
        return None
    keys = [key.reveal().encode() for key in (settings.link_key, settings.link_key_before) if key]
    return Links(settings.public_url, keys)


@contextmanager
def broker_errors(settings: Settings) -> Iterator[None]:
    """Turns the Kafka client's exceptions into BrokerError."""
    try:
        yield
    except KafkaException as error:
        cause = error.args[0]
        known = isinstance(cause, KafkaError)
        what = f"broker {settings.broker}: {cause.str() if known else cause}"
        if known and cause.code() in _AWAY:
            what += (
                ". Is it running, and are CARILLON_BROKER and CARILLON_SECURITY_PROTOCOL right? "
                "(carillon kafka up starts one to try things out)"
            )
        raise BrokerError(what) from None
