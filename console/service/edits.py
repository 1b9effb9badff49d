"""Edits: what to write, or why not. Pure: the catalog and ``now`` (milliseconds) are given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import msgspec

from console.service.errors import ChangedError, InUseError, NotThereError, RefusedError
from console.service.kinds import KINDS, RecordKind
from console.shop_difference import FieldChange, ShopRecord, field_changes
from schemas.checks import check_record
from schemas.errors import DecodeError
from schemas.records import AuditEntry, AuditField, AuditWhat, Company, Record, Rule, Suppression
from streams.domain.bulk import next_version
from streams.domain.catalog import Catalog
from streams.domain.ids import mask, reference_key, suppression_key
from streams.domain.problems import Problem

ANY = -1
"""The version of an edit that does not ask which one it replaces."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One record to be written (None: a tombstone), and what the audit says of it."""

    topic: str
    key: bytes
    record: Record | None
    audit: AuditEntry


@dataclass(frozen=True, slots=True)
class Author:
    """``way``: ``api``, ``page`` or ``cli``."""

    user: str
    way: str
    now: int


def create(catalog: Catalog, record: ShopRecord, author: Author) -> Edit:
    """Raises RefusedError, and InUseError where the id is taken. ``version`` is set here."""
    kind, company = _kind_of(record), _company_of(record)
    if kind.find(catalog, company, record.id) is not None:
        raise InUseError(f"{company} has a {kind.name} {record.id!r} already")
    return _put(catalog, kind, None, record, author)


def replace(catalog: Catalog, record: ShopRecord, version: int, author: Author) -> Edit | None:
    """In the place of the one that has ``version``. None: it is so already. Raises NotThereError,
    ChangedError, RefusedError."""
    kind, company = _kind_of(record), _company_of(record)
    old = kind.find(catalog, company, record.id)
    if old is None:
        raise NotThereError
    _expect(old, version)
    if _settled(record, old) == old:
        return None
    return _put(catalog, kind, old, record, author)


def delete(catalog: Catalog, kind: RecordKind, company: str, id_: str, version: int, author: Author) -> Edit:
    """Raises NotThereError, ChangedError, and InUseError where rules refer to it."""
    old = kind.find(catalog, company, id_)
    if old is None:
        raise NotThereError
    _expect(old, version)
    users = kind.users(catalog, old)
    if users:
        names = ", ".join(repr(rule.id) for rule in users[:5]) + (", ..." if len(users) > 5 else "")
        raise InUseError(f"the {kind.name} {id_!r} is used by {names}; change or delete these first")
    return Edit(kind.topic, _key(kind, company, id_), None, audit_of(kind, old, None, author))


def save(old: Rule | None, new: Rule, author: Author) -> Edit:
    """A rule that was checked (by the bulk functions)."""
    kind = KINDS["rule"]
    return Edit(kind.topic, _key(kind, new.company, new.id), new, audit_of(kind, old, new, author))


def block(record: Suppression, author: Author) -> Edit:
    return _suppression(record, record, author)


def lift(record: Suppression, author: Author) -> Edit:
    return _suppression(record, None, author)


def audit_of(kind: RecordKind, old: ShopRecord | None, new: ShopRecord | None, author: Author) -> AuditEntry:
    one = new or old
    assert one is not None
    what = AuditWhat.CREATE if old is None else AuditWhat.DELETE if new is None else AuditWhat.UPDATE
    fields = audit_fields(field_changes(old, new))
    version = new.version if new is not None else one.version
    return entry(_company_of(one), kind.name, one.id, what, version, fields, author)


def entry(
    company: str,
    kind: str,
    record_id: str,
    what: AuditWhat,
    version: int,
    fields: Sequence[AuditField],
    author: Author,
) -> AuditEntry:
    """The same edit has the same id, however often it is written."""
    name = "\0".join((company, kind, record_id, what, str(version), author.user, str(author.now)))
    return AuditEntry(
        id=blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest(),
        company=company,
        at=author.now,
        user=author.user,
        way=author.way,
        kind=kind,
        record_id=record_id,
        what=what,
        version=version,
        fields=tuple(fields),
    )


def audit_fields(changes: Iterable[FieldChange]) -> tuple[AuditField, ...]:
    return tuple(
        AuditField(field=one.field, old=_shown(one.field, one.old), new=_shown(one.field, one.new))
        for one in changes
    )


def _shown(field: str, value: str | None) -> str | None:
    """Where a secret is says something about the machine that it is on."""
    return "(not shown)" if field == "secret" and value is not None else value


def _suppression(record: Suppression, new: Suppression | None, author: Author) -> Edit:
    key = suppression_key(record.company, record.channel, record.address)
    what = AuditWhat.DELETE if new is None else AuditWhat.CREATE
    named = f"{record.channel}/{mask(record.address)}"
    audit = entry(record.company, "suppression", named, what, record.version, (), author)
    return Edit("suppressions", key, new, audit)


def _put(
    catalog: Catalog, kind: RecordKind, old: ShopRecord | None, record: ShopRecord, author: Author
) -> Edit:
    version = next_version(old.version if old is not None else 0, author.now)
    new: ShopRecord = msgspec.structs.replace(record, version=version)
    if isinstance(new, Rule):
        new = msgspec.structs.replace(new, changed_at=author.now, changed_by=author.user)
    problems = kind.check(catalog, new, old, author.user or None)
    if problems:
        raise RefusedError(problems)
    try:
        check_record(new)  # the contract's own limits, which every reader holds it against
    except DecodeError as error:
        raise RefusedError([Problem(error.field, error.detail)]) from None
    company = _company_of(new)
    return Edit(kind.topic, _key(kind, company, new.id), new, audit_of(kind, old, new, author))


def _settled(record: ShopRecord, old: ShopRecord) -> ShopRecord:
    """With what only we write as it was."""
    same: ShopRecord = msgspec.structs.replace(record, version=old.version)
    if isinstance(same, Rule) and isinstance(old, Rule):
        return msgspec.structs.replace(same, changed_at=old.changed_at, changed_by=old.changed_by)
    return same


def _expect(old: ShopRecord, version: int) -> None:
    if version not in (ANY, old.version):
        raise ChangedError(old.version)


def _kind_of(record: ShopRecord) -> RecordKind:
    return KINDS[type(record).__name__.lower()]


def _company_of(record: ShopRecord) -> str:
    return record.id if isinstance(record, Company) else record.company


def _key(kind: RecordKind, company: str, id_: str) -> bytes:
    if kind.name == "company":
        return company.replace("%", "%25").encode()  # one part, escaped as split_key expects
    return reference_key(company, id_)
