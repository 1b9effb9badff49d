"""Dead letters as the commands see them: each one once, and whether it has been dealt with.

A dead letter is named by where its record came from: ``orders/3/17`` is topic (without prefix), partition and
offset. That a letter was dealt with is noted in the same topic, under the same key, by a record whose
``error`` is ``replayed`` and which has the place and the time of the letter's record, no value, and in
``detail`` what was done.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import click
import msgspec

from console.connection import Connection
from console.moments import moment_of
from console.output import progress_bar
from schemas.records import DeadLetter
from streams.domain.reasons import Reason
from streams.kafka.topics import MAX_VALUE

TOPIC = "dead-letters"
OF = "carillon-replay-of"
"""Header of a record that was put back: the name of the letter."""


class Name(NamedTuple):
    topic: str
    partition: int
    offset: int
    timestamp: int
    """The broker's time of the record: a topic that was made anew begins at offset 0 again."""

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(slots=True)
class Standing:
    """A letter without its value."""

    name: Name
    letter: DeadLetter
    """``value`` is empty."""
    size: int
    settled_at: int | None = None
    """When it was dealt with; None: it waits for somebody."""
    settled: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """What all of these say; None: anything. Moments are of when the letter was set aside."""

    topic: str | None = None
    error: str | None = None
    since: int | None = None
    until: int | None = None

    def takes(self, letter: DeadLetter) -> bool:
        return (
            self.topic in (None, letter.topic)
            and self.error in (None, letter.error)
            and (self.since is None or letter.at >= self.since)
            and (self.until is None or letter.at < self.until)
        )


def choice_of(
    connection: Connection,
    now: int,
    *,
    topic: str | None,
    error: str | None,
    since: str | None,
    until: str | None,
) -> Choice:
    """Of the options as they were given. Raises click's BadParameter."""
    return Choice(
        topic.removeprefix(connection.settings.topic_prefix) if topic is not None else None,
        error,
        moment_of("--since", since, now) if since is not None else None,
        moment_of("--until", until, now) if until is not None else None,
    )


def parsed(text: str) -> tuple[str, int, int]:
    """(topic, partition, offset) of ``orders/3/17``. Raises click's BadParameter."""
    topic, _, rest = text.partition("/")
    partition, _, offset = rest.partition("/")
    if not (topic and partition.isdecimal() and offset.isdecimal()):
        raise click.BadParameter(
            f"expected TOPIC/PARTITION/OFFSET as in orders/3/17 (carillon dead-letters list shows them), "
            f"got {text!r}",
            param_hint="ID",
        )
    return topic, int(partition), int(offset)


def overview(connection: Connection) -> list[Standing]:
    """Every letter, oldest first. Holds some hundred bytes for each, whatever the values' size."""
    found: dict[Name, Standing] = {}
    done: dict[Name, DeadLetter] = {}
    with progress_bar("reading dead letters") as told:
        for name, letter in _records(connection, told):
            if letter.error == Reason.REPLAYED:
                done[name] = letter
            elif name not in found:  # a worker that died meanwhile has said it again
                without = msgspec.structs.replace(letter, value=b"")
                found[name] = Standing(name, without, len(letter.value))
    for name, note in done.items():
        if name in found:
            found[name].settled_at, found[name].settled = note.at, note.detail
    return sorted(found.values(), key=lambda standing: standing.letter.at)


def letters(connection: Connection, wanted: Collection[Name]) -> Iterator[tuple[Name, DeadLetter]]:
    """These letters with their values, each once; those of one key in the order in which they were set
    aside."""
    left = set(wanted)
    if not left:
        return
    for name, letter in _records(connection, None):
        if name in left and letter.error != Reason.REPLAYED:
            left.discard(name)
            yield name, letter


def named(standings: Collection[Standing], text: str) -> Standing:
    """The letter of this name; of several (its topic was made anew) the newest. Raises ClickException."""
    place = parsed(text)
    found = [each for each in standings if each.name[:3] == place]
    if not found:
        raise click.ClickException(
            f"there is no dead letter {text}; carillon dead-letters list --all shows those that there are"
        )
    return found[-1]


def note_of(name: Name, key: bytes, detail: str, now: int) -> DeadLetter:
    """The record that says that the letter was dealt with."""
    return DeadLetter(
        topic=name.topic,
        partition=name.partition,
        offset=name.offset,
        timestamp=name.timestamp,
        error=str(Reason.REPLAYED),
        detail=detail,
        key=key,
        value=b"",
        at=now,
    )


def is_cut(letter: DeadLetter) -> bool:
    """Only the beginning of the value is here: the whole was larger than any topic of ours takes."""
    return len(letter.value) == MAX_VALUE and letter.detail.endswith(f"(here: the first {MAX_VALUE})")


def _records(
    connection: Connection, told: Callable[[int, int], None] | None
) -> Iterator[tuple[Name, DeadLetter]]:
    prefix = connection.settings.topic_prefix
    for record in connection.each(TOPIC, progress=told):
        letter = connection.decode(TOPIC, DeadLetter, record)
        if letter is None:
            continue
        # Entity agents of an earlier release left the prefix out.
        topic = letter.topic.removeprefix(prefix)
        letter = msgspec.structs.replace(letter, topic=topic)
        yield Name(topic, letter.partition, letter.offset, letter.timestamp), letter
