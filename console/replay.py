"""``carillon dead-letters replay``: records that can be worked on by now, or were repaired, go back.

A record goes to the partition that it came from, under its own key: the publisher's partitioner chose that
place, and all that happens to one entity must stay in one order. It carries the header ``carillon-replay-of``
with the letter's name. When the broker has it, a note in ``dead-letters`` says so (``console.letters``). A
crash in between leaves a record without a note: the next replay writes it once more, and the workers see by
event id and version that they know it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Literal

import click

from console.connection import Connection, Publication, RawPublication, Writer, connected
from console.letters import (
    OF,
    TOPIC,
    Name,
    Standing,
    choice_of,
    is_cut,
    letters,
    named,
    note_of,
    overview,
)
from console.options import given_settings, json_option, set_option, yes_option
from console.output import counted, may_ask, one_line, print_json, progress_bar
from console.repairs import (
    CUSTOMERS,
    OURS,
    age_note,
    as_the_topic_has_it,
    editable,
    from_editor,
    judge,
    other_owner,
)
from schemas.errors import DecodeError
from schemas.records import Company, Customer, DeadLetter
from streams.clock import clock_of
from streams.domain.ids import customer_key
from streams.kafka.producer import ProduceError

Result = Literal["put back", "would go back", "known", "settled", "refused", "failed"]
"""``known``: it was dealt with before. ``settled``: there was nothing to put back any more."""

_BATCH = 500
_BATCH_BYTES = 16 * 1024 * 1024
_LINES = 50
"""Letters of which each one's success is worth a line; failures always are."""

EXAMPLES = """\b
Examples:
  carillon dead-letters replay orders/3/17                   as it was: the schema is registered by now
  carillon dead-letters replay orders/3/17 --edit            repaired in $EDITOR
  carillon dead-letters replay orders/3/17 --value fixed.json
  carillon dead-letters replay --topic orders --error unknown_schema --since 24h --dry-run
"""


@dataclass(slots=True)
class Answer:
    """What became of one letter."""

    name: Name
    result: Result
    why: str = ""
    offset: int | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Ready:
    name: Name
    letter: DeadLetter
    value: bytes
    notes: list[str]


@click.command("replay", epilog=EXAMPLES)
@click.argument("names", metavar="[ID]...", nargs=-1)
@click.option("--topic", help="All that came from this topic.")
@click.option("--error", metavar="CODE", help="All with this code (unknown_schema, crashed, ...).")
@click.option("--since", metavar="WHEN", help="All set aside then or later: 24h (ago), 2026-04-07T13:00.")
@click.option("--until", metavar="WHEN", help="All set aside before then.")
@click.option(
    "--value",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Put this back instead of the original value: a JSON object, or Avro as Kafka has it.",
)
@click.option("--edit", is_flag=True, help="Repair the value in $EDITOR, as JSON, and put that back.")
@click.option("--again", is_flag=True, help="Also those that have been dealt with.")
@click.option("--dry-run", is_flag=True, help="Only say what would go back and what would be refused.")
@yes_option
@json_option
@set_option
def replay(
    names: tuple[str, ...],
    topic: str | None,
    error: str | None,
    since: str | None,
    until: str | None,
    file: Path | None,
    edit: bool,
    again: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    overrides: tuple[str, ...],
) -> None:
    """Put records back on their topic, each in its partition and under its key.

    Choose by ID (orders/3/17, as "list" shows them) or by --topic, --error, --since and --until, which must
    all fit. Each is checked as a worker would check it; one that would be refused again is not sent, and
    the reason is said. What has been put back once is left alone; where the record is known already (same
    event id and version) the workers do nothing. Exit code 1 if any could not be put back.
    """
    filtered = any(given is not None for given in (topic, error, since, until))
    if bool(names) is filtered:
        raise click.UsageError(
            "which ones? Name them (orders/3/17), or choose with --topic, --error, --since, --until; not both"
        )
    if (file is not None or edit) and (len(names) != 1 or (file is not None and edit)):
        raise click.UsageError("--value or --edit (one of them) repairs one letter: name it")
    settings = given_settings(overrides)
    with connected(settings) as connection:
        now = clock_of(settings.clock).now()
        standings = overview(connection)
        if names:
            chosen = list({each.name: each for each in (named(standings, name) for name in names)}.values())
        else:
            choice = choice_of(connection, now, topic=topic, error=error, since=since, until=until)
            chosen = [each for each in standings if choice.takes(each.letter)]
        open_ = [each for each in chosen if each.settled_at is None or again]
        # Who names a letter is told that it was dealt with; who chooses by a filter wants the others.
        known = [each for each in chosen if each not in open_] if names else []
        repaired = None
        if open_ and (file is not None or edit):
            repaired = file.read_bytes() if file is not None else _edited(connection, open_[0])
        if filtered and not dry_run and not yes and len(open_) > 1 and may_ask():
            click.confirm(f"Put back {counted(len(open_), 'record')}?", abort=True)
        answers = chain(
            (Answer(each.name, "known", each.settled) for each in known),
            Replay(connection, now, dry_run=dry_run, repaired=repaired).all_(open_),
        )
        failed = _tell(answers, len(known) + len(open_), as_json=as_json)
    if failed and as_json:
        raise click.exceptions.Exit(1)
    if failed:
        raise click.ClickException(
            f"{counted(failed, 'record')} could not be put back, see above; "
            "carillon dead-letters show ID says more"
        )


class Replay:
    """One run. ``repaired``: the value that stands for the original of the one letter chosen."""

    def __init__(self, connection: Connection, now: int, *, dry_run: bool, repaired: bytes | None) -> None:
        self._connection = connection
        self._now = now
        self._dry_run = dry_run
        self._repaired = repaired
        self._companies: dict[str, Company] = {}
        self._customers: dict[bytes, tuple[int, int]] = {}
        """By key: (version, broker's time) of the newest record in ``consents``; version -1: forgotten."""

    def all_(self, chosen: Sequence[Standing]) -> Iterator[Answer]:
        """Works through them in batches; holds one batch of values at a time."""
        if not chosen:
            return
        connection = self._connection
        needed = {each.name.topic for each in chosen}
        catalog = connection.catalog(("companies",))
        self._companies = {company.id: company for company in catalog.companies()}
        self._read_customers([each.name for each in chosen if each.name.topic in CUSTOMERS])
        counts = self._counts(needed)
        with connection.writer() as writer:
            batch: list[_Ready] = []
            for name, letter in letters(connection, [each.name for each in chosen]):
                ready = self._checked(name, letter, counts)
                if isinstance(ready, Answer):
                    if ready.result == "settled":
                        self._note(writer, [(ready, letter.key)])
                    yield ready
                    continue
                batch.append(ready)
                if len(batch) == _BATCH or sum(len(each.value) for each in batch) > _BATCH_BYTES:
                    yield from self._send(writer, batch)
                    batch = []
            yield from self._send(writer, batch)

    def _counts(self, topics: set[str]) -> dict[str, int]:
        """Partitions of each topic; a topic that is gone is not in it."""
        counts: dict[str, int] = {}
        for topic in topics:
            try:
                counts |= self._connection.partition_counts([topic])
            except click.ClickException:
                continue  # told letter by letter
        return counts

    def _checked(self, name: Name, letter: DeadLetter, counts: Mapping[str, int]) -> _Ready | Answer:
        def refused(why: str) -> Answer:
            return Answer(name, "refused", why)

        if name.partition >= counts.get(name.topic, 0):
            return refused(
                f"topic {name.topic} has no partition {name.partition} any more: have it published again"
            )
        if self._repaired is None and is_cut(letter):
            return refused("only the beginning of the value is here: give all of a smaller one with --value")
        if self._repaired is not None and name.topic in OURS:
            return refused(f"{name.topic} is written by Carillon alone: repair the record that caused it")
        try:
            value, form = self._value(letter)
        except DecodeError as error:
            return refused(str(error))
        verdict = judge(self._connection, name.topic, letter.key, value)
        if verdict.problem:
            return refused(verdict.problem)
        if self._repaired is not None and (why := other_owner(letter.key, verdict.record)):
            return refused(why)
        if isinstance(verdict.record, Customer):
            if why := self._overtaken(verdict.record, letter):
                return Answer(name, "settled", why)
            key = customer_key(verdict.record.company, verdict.record.customer_id)
            self._customers[key] = (verdict.record.version, letter.timestamp)
        notes = [*verdict.notes, form, age_note(verdict.record, self._companies, self._now)]
        return _Ready(name, letter, value, [note for note in notes if note])

    def _value(self, letter: DeadLetter) -> tuple[bytes, str]:
        """What goes back, and a note on its form. Raises DecodeError."""
        if self._repaired is None:
            return letter.value, ""
        return as_the_topic_has_it(self._connection, letter, self._repaired)

    def _send(self, writer: Writer, batch: Sequence[_Ready]) -> Iterator[Answer]:
        if self._dry_run:
            yield from (Answer(ready.name, "would go back", notes=ready.notes) for ready in batch)
            return
        written = writer.put([_as_it_goes(ready) for ready in batch])
        answers = [
            Answer(ready.name, "failed", str(offset), notes=ready.notes)
            if isinstance(offset, ProduceError)
            else Answer(ready.name, "put back", offset=offset, notes=ready.notes)
            for ready, offset in zip(batch, written, strict=True)
        ]
        keys = (ready.letter.key for ready in batch)
        self._note(writer, [(a, key) for a, key in zip(answers, keys, strict=True) if a.result == "put back"])
        yield from answers

    def _note(self, writer: Writer, answers: Sequence[tuple[Answer, bytes]]) -> None:
        notes: list[Publication] = [
            (TOPIC, key, note_of(answer.name, key, _sentence(answer), self._now)) for answer, key in answers
        ]
        if notes and not self._dry_run:
            writer.publish(notes)

    # --- customers: the newest record decides, also after compaction

    def _read_customers(self, names: Collection[Name]) -> None:
        """The newest version of the letters' customers: ``consents`` keeps only a key's last record, so an
        older one that is put back behind a newer one would be all that is left of it."""
        wanted: set[bytes] = set()
        for name, letter in letters(self._connection, names):
            try:
                value, _ = self._value(letter)
            except DecodeError:
                continue  # refused, and said so, when its turn comes
            verdict = judge(self._connection, name.topic, letter.key, value)
            if isinstance(verdict.record, Customer):
                wanted.add(customer_key(verdict.record.company, verdict.record.customer_id))
        if not wanted:
            return
        with progress_bar("reading consents") as told:
            for record in self._connection.each("consents", progress=told):
                if record.key not in wanted:
                    continue
                if not record.value:
                    self._customers[record.key] = (-1, record.timestamp)
                    continue
                customer = self._connection.decode("consents", Customer, record)
                if customer is not None:
                    version = max(customer.version, self._customers.get(record.key, (-1, 0))[0])
                    self._customers[record.key] = (version, record.timestamp)

    def _overtaken(self, customer: Customer, letter: DeadLetter) -> str:
        version, at = self._customers.get(customer_key(customer.company, customer.customer_id), (-2, 0))
        if version >= customer.version:
            return f"not put back: version {version} of the customer is known, this is {customer.version}"
        if version == -1 and at >= letter.timestamp:
            return "not put back: the customer has been deleted since; to have them back, publish them anew"
        return ""


def _as_it_goes(ready: _Ready) -> RawPublication:
    place = [(OF, str(ready.name).encode())]
    return RawPublication(ready.name.topic, ready.name.partition, ready.letter.key, ready.value, place)


def _sentence(answer: Answer) -> str:
    if answer.result != "put back":
        return answer.why
    where = f" offset {answer.offset}" if answer.offset is not None else ""
    return f"put back as {answer.name.topic}[{answer.name.partition}]{where}"


def _tell(answers: Iterator[Answer], whole: int, *, as_json: bool) -> int:
    """Says what became of each; the number of those that could not be put back."""
    counts: dict[Result, int] = {}
    with progress_bar(f"putting back {whole}") if whole > _LINES else _silent() as told:
        for number, answer in enumerate(answers, 1):
            counts[answer.result] = counts.get(answer.result, 0) + 1
            told(number, whole)
            if as_json:
                print_json(
                    {
                        "id": str(answer.name),
                        "result": answer.result,
                        "why": answer.why,
                        "offset": answer.offset,
                        "notes": answer.notes,
                    }
                )
            elif whole <= _LINES or answer.result not in ("put back", "would go back", "known"):
                _print(answer)
    if not as_json and not whole:
        click.echo("nothing to put back")
    if not as_json and whole > 1:
        click.echo(", ".join(f"{number} {result}" for result, number in counts.items()))
    return counts.get("refused", 0) + counts.get("failed", 0)


def _print(answer: Answer) -> None:
    said = {
        "put back": _sentence(answer),
        "would go back": "would be put back",
        "known": f"dealt with already: {answer.why} (--again puts it back once more)",
        "settled": answer.why,
        "refused": f"refused, nothing was sent: {answer.why}",
        "failed": f"could not be written: {answer.why}",
    }[answer.result]
    click.echo(f"{answer.name}: {one_line(said, 500)}")
    for note in answer.notes:
        click.echo(f"    note: {one_line(note, 500)}")


@contextmanager
def _silent() -> Iterator[Callable[[int, int | None], None]]:
    yield lambda done, whole: None


def _edited(connection: Connection, standing: Standing) -> bytes:
    """What the person made of the value. Asks again as long as it would be refused and somebody is there."""
    [(_, letter)] = letters(connection, [standing.name])
    text = editable(connection, letter)
    why = letter.detail
    while True:
        head = [
            f"{standing.name}: {one_line(why, 500)}",
            "Lines like these go; save an empty file to give up.",
        ]
        saved = click.edit("".join(f"# {line}\n" for line in head) + text, extension=".json")
        value = from_editor(saved or "")
        if not value:
            raise click.ClickException("nothing was saved, nothing is put back")
        why = _why_refused(connection, letter, value)
        if not why or not may_ask():
            return value  # refused, if it is, in the same words as any other
        click.echo(f"refused: {why}", err=True)
        click.confirm("Edit it again?", default=True, abort=True)
        text = value.decode() + "\n"


def _why_refused(connection: Connection, letter: DeadLetter, value: bytes) -> str:
    try:
        form, _ = as_the_topic_has_it(connection, letter, value)
    except DecodeError as error:
        return str(error)
    verdict = judge(connection, letter.topic, letter.key, form)
    return verdict.problem or other_owner(letter.key, verdict.record)
