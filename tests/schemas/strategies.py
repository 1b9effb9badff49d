"""Records that keep their contracts, made by hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from schemas import records as r
from schemas.checks import LAST_MILLIS, MAX_INT, MAX_LONG

texts = st.text(st.characters(codec="utf-8"), max_size=12)
_printable = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp"))
ids = st.text(_printable, min_size=1, max_size=20) | st.just("x" * 200)
optional_ids = st.just("") | ids
companies = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=20)
times = st.integers(0, LAST_MILLIS)
longs = st.integers(0, MAX_LONG)
ints = st.integers(0, MAX_INT)
tags = st.sampled_from(["en", "pt-BR", "de"])
zones = st.sampled_from(["Europe/Lisbon", "UTC", "America/New_York"])

details = st.builds(
    r.Details,
    number=texts,
    title=texts,
    amount_minor=st.none() | st.integers(-MAX_LONG, MAX_LONG),
    currency=texts,
    url=texts,
    attributes=st.dictionaries(texts, texts, max_size=3),
)


def facts(kind: r.EntityKind) -> st.SearchStrategy[r.Facts]:
    at = st.none() if kind is r.EntityKind.LEAD else st.none() | times
    return st.builds(
        r.Facts, status_id=ids, customer_id=optional_ids, location_id=optional_ids, scheduled_at=at
    )


def changes(kind: r.EntityKind) -> st.SearchStrategy[r.Change]:
    def of(operation: r.Operation) -> st.SearchStrategy[r.Change]:
        after = facts(kind)
        return st.builds(
            r.Change,
            company=companies,
            entity_id=ids,
            operation=st.just(operation),
            event_id=ids,
            version=longs,
            occurred_at=times,
            before=st.none() | facts(kind),
            after=st.none() | after if operation is r.Operation.DELETE else after,
            details=st.none() | details,
        )

    return st.sampled_from(r.Operation).flatmap(of)


intervals = st.builds(r.Interval, opens=st.integers(0, 1439), closes=st.integers(0, 1440))
hours = st.builds(
    r.Hours,
    weekdays=st.tuples(*[st.lists(intervals, max_size=2).map(tuple) for _ in range(7)]),
    closed_dates=st.lists(st.dates().map(str), max_size=2).map(tuple),
)

_ENUMS = {
    name: st.sampled_from(enum)
    for name, enum in {
        "entity": r.EntityKind,
        "trigger": r.Trigger,
        "offset_unit": r.Unit,
        "delay_unit": r.Unit,
        "op": r.TimerOp,
        "scope": r.ClearScope,
        "state": r.DeliveryState,
    }.items()
}


def _build(record: type[Any], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """By name: what every record with this field takes, unless ``fields`` says otherwise."""
    usual: dict[str, st.SearchStrategy[Any]] = {
        **_ENUMS,
        "company": companies,
        "version": longs,
        "hours": hours,
        "zone": zones,
        "kind": st.sampled_from(r.EntityKind),
        "channel": st.sampled_from(r.Channel),
        **dict.fromkeys(("id", "customer_id", "template_id", "entity_id", "address"), ids),
        **dict.fromkeys(("status_id", "mailbox_id"), optional_ids),
        **dict.fromkeys(
            ("transition", "attempt", "customer_daily_cap", "messages_per_minute", "segment_budget"), ints
        ),
        **dict.fromkeys(("partition", "offset", "delay"), ints),
        **dict.fromkeys(("changed_at", "since", "at", "timestamp"), times),
        **dict.fromkeys(("max_event_age", "duplicate_window", "rule_version", "entity_version"), longs),
        **{name: st.none() | times for name in ("due_at", "next_at")},
        **{name: st.none() | ints for name in ("max_lateness", "segments")},
        **{name: st.binary(max_size=20) for name in ("key", "value", "change")},
        "occurred_at": st.just(-1) | times,
        **fields,
    }
    known = record.__struct_fields__
    return st.builds(
        record,
        **{
            name: usual.get(name, st.booleans() if _default(record, name) is False else texts)
            for name in known
            if not (_default(record, name) is True and name not in usual)
        },
    )


def _default(record: type[Any], name: str) -> object:
    import msgspec  # noqa: PLC0415 - used here only

    return next(f.default for f in msgspec.structs.fields(record) if f.name == name)


RECORDS: dict[type[r.Record], st.SearchStrategy[Any]] = {
    r.Customer: _build(r.Customer),
    r.Rule: _build(
        r.Rule,
        kind=st.sampled_from(r.RuleKind),
        locations=st.none() | st.lists(ids, max_size=3).map(tuple),
        enabled=st.booleans(),
    ),
    r.Template: _build(
        r.Template,
        texts=st.dictionaries(
            tags, st.builds(r.TemplateText, sms=texts, subject=texts, body=texts), max_size=2
        ),
    ),
    r.Status: _build(
        r.Status, names=st.dictionaries(tags, texts, max_size=2), kind=st.sampled_from(r.StatusKind)
    ),
    r.Location: _build(r.Location),
    r.Company: _build(r.Company, id=companies, quiet_hours=st.lists(intervals, max_size=2).map(tuple)),
    r.Mailbox: _build(r.Mailbox, users=st.lists(texts, max_size=2).map(tuple), connected=st.booleans()),
    r.Suppression: _build(r.Suppression),
    r.Timer: _build(r.Timer),
    r.Delivery: _build(r.Delivery, channel=st.sampled_from(["", "sms", "email"])),
    r.ProviderEvent: _build(
        r.ProviderEvent,
        event=st.sampled_from(r.EventKind),
        status=st.sampled_from(r.EventStatus),
        event_id=ids,
        happened_at=times,
        received_at=times,
    ),
    r.DeadLetter: _build(r.DeadLetter),
}
