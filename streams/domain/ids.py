"""Names of things: delivery ids, keys of topics and stores, hashes and masks of addresses.

All are deterministic functions of their arguments, stable for ever: they are compared across
versions of the program (pinned by golden values in the tests).
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

_DOMAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")
_BULLET = "•••"


def delivery_id(company: str, rule_id: str, kind: str, entity_id: str, anchor: str, customer_id: str) -> str:
    """32 hexadecimal digits that name one message to one customer.

    Each field is prefixed with its length, so that no two different six-tuples are hashed from the
    same bytes. ``surrogatepass``: an id that is not valid Unicode still has a name.
    """
    fields = (
        f"{len(company)}:{company}{len(rule_id)}:{rule_id}{len(kind)}:{kind}"
        f"{len(entity_id)}:{entity_id}{len(anchor)}:{anchor}{len(customer_id)}:{customer_id}"
    )
    return blake2b(fields.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def message_id(delivery_id: str, domain: str) -> str:
    """The Message-ID header (RFC 5322 section 3.6.4) of a delivery's e-mail.

    Raises ValueError when ``domain`` is not an ASCII host name: it would break the header.
    """
    if not _DOMAIN.fullmatch(domain):
        raise ValueError(f"not a host name: {domain!r}")
    return f"<{delivery_id}@{domain}>"


def customer_key(company: str, customer_id: str) -> bytes:
    """Key of topics ``customer-consents``, ``consents`` and ``timers``: ``company/customer``."""
    return _pair(company, customer_id)


def entity_key(company: str, entity_id: str) -> bytes:
    """Key of topics ``orders``, ``leads`` and ``appointments``: ``company/entity``."""
    return _pair(company, entity_id)


def log_key(company: str, kind: str, entity_id: str) -> bytes:
    """Key of topic ``delivery-log``: ``company/kind/entity``."""
    return _key(company, kind, entity_id)


def reference_key(company: str, id: str) -> bytes:
    """Key of a rule, template, status, location, mailbox (``company/id``)."""
    return _key(company, id)


def suppression_key(company: str, channel: str, address: str) -> bytes:
    """Key of topic ``suppressions``: ``company/channel/address``, the address in lower case."""
    return _key(company, channel, address.lower())


def split_key(key: bytes) -> tuple[str, ...]:
    """The parts that a key was made of."""
    return tuple(
        part.replace("%2F", "/").replace("%25", "%")
        for part in key.decode("utf-8", "surrogatepass").split("/")
    )


def _pair(first: str, second: str) -> bytes:
    joined = f"{first}/{second}"
    if "%" in joined or joined.count("/") > 1:
        return _key(first, second)
    return joined.encode("utf-8", "surrogatepass")


def _key(*parts: str) -> bytes:
    joined = "/".join(parts)
    if "%" in joined or joined.count("/") >= len(parts):
        joined = "/".join([part.replace("%", "%25").replace("/", "%2F") for part in parts])
    return joined.encode("utf-8", "surrogatepass")


# A message's address is asked for with its intent, in the log, and in the log once more; the sender's always.
@lru_cache(maxsize=4_096)
def address_hash(secret: bytes, company: str, address: str) -> str:
    """32 hexadecimal digits by which an address can be recognised within one company by whoever has
    ``secret``; nobody else can try addresses until one fits, and companies can't be joined by it."""
    return _keyed(secret, b"address", f"{len(company)}:{company}{address}")


def body_hash(secret: bytes, text: str) -> str:
    """32 hexadecimal digits of a message's text, for "the same text again?" without keeping the text."""
    return _keyed(secret, b"body", text)


def _keyed(secret: bytes, purpose: bytes, text: str) -> str:
    # blake2b takes at most 64 bytes of key; a longer secret is shortened by hashing it.
    key = secret if len(secret) <= 64 else blake2b(secret).digest()
    data = text.encode("utf-8", "surrogatepass")
    return blake2b(data, digest_size=16, key=key, person=purpose).hexdigest()


@lru_cache(maxsize=4_096)
def mask(address: str) -> str:
    """An address as people may see it in logs: ``+48 ••• ••• 123``, ``a…@e….com``.

    A phone number keeps its country code and two or three last digits, never more than a third of the
    rest; the number of bullets does not tell the length. What is neither is ``•••``.
    """
    if address.startswith("+") and address[1:].isascii() and address[1:].isdigit():
        return _mask_phone(address[1:])
    local, at, domain = address.rpartition("@")
    host, dot, suffix = domain.rpartition(".")
    if local and host and at and dot and suffix:
        return f"{local[0]}…@{host[0]}….{suffix}"
    return _BULLET


def _mask_phone(digits: str) -> str:
    # Country codes (ITU-T E.164) are prefix-free, so the first that fits is the one.
    code = next((digits[:n] for n in (1, 2, 3) if int(digits[:n]) in COUNTRY_CODE_TO_REGION_CODE), "")
    rest = len(digits) - len(code)
    shown = 3 if rest >= 9 else 2 if rest >= 6 else 0
    head = f"+{code} {_BULLET} {_BULLET}"
    return f"{head} {digits[-shown:]}" if shown else head
