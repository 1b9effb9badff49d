"""The end of the demo: what became of every message, the checklist, what was kept and what to try next."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from console.demo.account import Account, Book, Checked
from console.demo.ledgers import Message
from streams.domain.reasons import Reason

_CHANNELS = {"sms": "SMS", "email": "e-mail", "": "-"}
_REASONS = {str(reason): reason.text for reason in Reason}
_MOST_SHOWN = 8
_TRY_NEXT = (
    ("make demo ARGS='--seed 7'", "the same shop, other customers"),
    ("carillon demo --scene crash", "only the killed worker, as often as you like"),
    ("carillon demo --scene providers", "STOP, unsubscribe, a bounce, an outage with failover, Gmail"),
    ("carillon worker --help", "how to run it against your own Kafka"),
)


def outcomes(account: Account) -> list[str]:
    """The table by channel, state and reason, the most frequent first."""
    rows = sorted(account.by_outcome.items(), key=lambda row: (row[0][1] != "sent", -row[1], row[0]))
    lines = ["", "What became of every message"]
    for (channel, state, reason), count in rows:
        text = _REASONS.get(reason, reason)
        lines.append(f"  {count:>6}  {_CHANNELS.get(channel, channel):<7} {state:<15} {text}".rstrip())
    return lines


def checklist(checked: Sequence[Checked]) -> list[str]:
    lines = ["", "What was to happen, and did"]
    lines += [f"  {'✓' if item.happened else '✗'} {item.expected.text}" for item in checked]
    return lines


def count(account: Account) -> list[str]:
    lines = [
        "",
        f"Counted from the delivery log and the providers' own lists: {account.accepted} messages accepted, "
        f"{account.pending} still waiting, lost {len(account.lost)}, twice {len(account.twice)}",
    ]
    if account.repeated:
        lines.append(f"  {account.repeated} e-mail(s) went again under the same Message-ID: no answer came")
    unknown = sum(n for (_, state, _), n in account.by_outcome.items() if state == "unknown_closed")
    if unknown:
        lines.append(
            f"  {unknown} closed as unknown: the worker died while it handed them over, the provider does "
            "not show them, and an SMS is not sent again on a guess"
        )
    for what in (*account.lost, *account.twice)[:_MOST_SHOWN]:
        lines.append(f"  ! {what}")
    return lines


def kept(out: Path) -> list[str]:
    return [
        "",
        f"Kept in {out}/",
        "  texts.txt            every SMS, as the customer got it",
        "  mail/                every e-mail (.eml opens in a mail program)",
        *(
            ["  http_sms/            what the second SMS provider took"]
            if (out / "http_sms").exists()
            else []
        ),
        *(["  gmail/               those that left by the shop's Gmail"] if (out / "gmail").exists() else []),
        "  delivery-log.jsonl   every transition of every message, with its reason",
        "  logs/                what the workers and providers said",
        "",
        "Try next",
        *(f"  {command:<31} {what}" for command, what in _TRY_NEXT),
    ]


def keep(out: Path, book: Book, messages: Iterable[Message]) -> None:
    """Writes the files that ``kept`` speaks of and that nobody has written yet."""
    with (out / "delivery-log.jsonl").open("wb") as log:
        for delivery in sorted(book.transitions, key=lambda d: (d.at, d.delivery_id, d.transition)):
            log.write(json.dumps(msgspec.to_builtins(delivery), ensure_ascii=False).encode() + b"\n")
    texts = [f"{message.to}\n  {message.text}\n" for message in messages if message.channel == "sms"]
    (out / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
