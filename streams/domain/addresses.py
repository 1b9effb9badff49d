"""Addresses in their one normal form, by which they are compared, suppressed and sent to."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import phonenumbers

_LONGEST_PHONE = 60
"""Characters; what people write around fifteen digits fits, and nothing longer is worth parsing."""

# RFC 5321 section 4.1.2 Dot-string (quoted local parts are not taken), RFC 6531: any letter beyond ASCII.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+"
_EMAIL = re.compile(rf"({_ATOM}(?:\.{_ATOM})*)@([^@]+)")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}\.)+(?:[a-z]{{2,63}}|xn--[a-z0-9-]{{1,59}})")


_E164 = re.compile(r"\+([1-9][0-9]{4,14})")


@lru_cache(maxsize=65_536)
def normal_phone(raw: str, region: str | None) -> str | None:
    """``raw`` as E.164 (``+48600100123``), or None when it can't be a phone number.

    ``region`` (ISO 3166, ``PL``) is where a number without a country code is at home. A number of a
    possible length is taken although its range is not known to be in use: numbering plans change
    faster than libraries, and the provider says so if it does not exist.
    """
    if len(raw) > _LONGEST_PHONE:
        return None
    if _is_normal(raw):
        return raw
    try:
        number = phonenumbers.parse(raw, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _is_normal(raw: str) -> bool:
    """Whether the library would give ``raw`` back as it is: most numbers come in that form, and parsing one
    takes longer than rendering its message. False where that is not plain to see."""
    match = _E164.fullmatch(raw)
    if match is None:
        return False
    digits = match[1]
    for length in (1, 2, 3):  # country codes (E.164) are prefix-free
        plan = _plan(digits[:length])
        if plan is not None:
            lengths, prefix = plan
            national = digits[length:]
            # What looks like a trunk prefix is the library's to judge.
            return len(national) in lengths and not (prefix and prefix.match(national))
    return False


@lru_cache(maxsize=2_000)
def _plan(code: str) -> tuple[frozenset[int], re.Pattern[str] | None] | None:
    """Of a country code the possible lengths of what follows, and what is dialled before it at home."""
    country = int(code)
    if country not in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
        return None
    region = phonenumbers.region_code_for_country_code(country)
    numbers = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(country, region)
    assert numbers is not None  # it has those of every country code
    assert numbers.general_desc is not None
    prefix = numbers.national_prefix_for_parsing
    return frozenset(numbers.general_desc.possible_length), re.compile(prefix) if prefix else None


def normal_email(raw: str) -> str | None:
    """``raw`` as one address with the host name in lower-case ASCII, or None when it is not one.

    Refused: everything that could end or add to a header or an SMTP command (control characters,
    spaces, commas, angle brackets, quotes), more than one ``@``, local parts over 64 octets,
    addresses over 254 octets (RFC 5321 section 4.5.3.1), host names without a dot. Local parts may be
    international (RFC 6531) and keep their case.
    """
    if len(raw) > 254:
        return None
    match = _EMAIL.fullmatch(unicodedata.normalize("NFC", raw.strip(" ")))
    if match is None:
        return None
    local = match[1]
    if not local.isprintable() or " " in local or len(local.encode()) > 64:
        return None
    try:
        host = match[2].encode("idna").decode("ascii").lower()
    except UnicodeError:
        return None
    if not _HOST.fullmatch(host) or len(local.encode()) + 1 + len(host) > 254:
        return None
    return f"{local}@{host}"
