"""What the SMS provider has accepted, held against what the delivery log says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

from console.findings import Finding, Found
from console.stories import UNFINISHED, Story
from schemas.records import Channel, Company, DeliveryState
from senders.twilio_sms import PROVIDER, Listed
from streams.domain.ids import address_hash, mask

_BEFORE = 60_000
"""Milliseconds by which the provider's clock may be behind ours, and its times are rounded down."""
_WITHIN = 15 * 60_000
"""From an attempt's beginning to the moment that the provider gives: pauses and time-outs of ours."""


class LookUp(Protocol):
    def __call__(self, sid: str) -> Listed | None:
        """The provider's message of this id; None: there is none."""


@dataclass(frozen=True, slots=True)
class Accept:
    """One message of the provider's list. About 300 bytes."""

    sid: str
    to: str
    sender: str
    text: bytes
    """Hash of the text: is it the same again?"""
    created: int


def accept_of(listed: Listed) -> Accept:
    text = blake2b(listed.body.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return Accept(listed.sid, listed.to, listed.sender, text, listed.created)


class Accepts:
    """The list of a period beside the stories of the same period (which may go on behind it)."""

    def __init__(self, stories: Collection[Story], companies: Iterable[Company], hash_key: bytes) -> None:
        """``companies``: those whose messages are looked at."""
        self._hash_key = hash_key
        self._senders: dict[str, list[str]] = {}
        for company in companies:
            self._senders.setdefault(company.sms_sender, []).append(company.id)
        self._claimed: dict[str, list[Story]] = {}
        self._by_address: dict[str, list[Story]] = {}
        for story in sorted(stories, key=lambda story: (story.sent_at or 0, story.delivery_id)):
            if story.provider_id and story.provider == PROVIDER:
                self._claimed.setdefault(story.provider_id, []).append(story)
            if story.channel == Channel.SMS and story.address_hash and story.tried_at:
                self._by_address.setdefault(story.address_hash, []).append(story)
        self._accepts: dict[str, Accept] = {}
        self.foreign = 0
        """Messages of the account from senders that no company has: not judged."""

    def __len__(self) -> int:
        return len(self._accepts)

    def add(self, listed: Iterable[Listed]) -> None:
        for one in listed:
            if one.sid in self._claimed or one.sender in self._senders:
                self._accepts[one.sid] = accept_of(one)
            else:
                self.foreign += 1

    def findings(
        self, since: int, settled: int, look_up: LookUp, progress: Callable[[int, int | None], None]
    ) -> Iterator[Found]:
        """``since`` and ``settled``: what the provider accepted, or we took for accepted, outside of them may
        have its other side outside of the period, or still under way."""
        yield from self._claims(since, settled, look_up, progress)
        texts: dict[tuple[str, str, bytes], list[Accept]] = {}
        for accept in self._accepts.values():
            if accept.sid in self._claimed:
                texts.setdefault((accept.to, accept.sender, accept.text), []).append(accept)
        explained: set[str] = set()
        for accept in sorted(self._accepts.values(), key=lambda one: one.created):
            if accept.sid not in self._claimed and since + _BEFORE <= accept.created <= settled:
                found = self._unclaimed(accept, texts, explained)
                if found is not None:
                    yield found

    def _claims(
        self, since: int, settled: int, look_up: LookUp, progress: Callable[[int, int | None], None]
    ) -> Iterator[Found]:
        """Sent at ours: is it there, and only once claimed?"""
        for number, (sid, stories) in enumerate(self._claimed.items()):
            progress(number, len(self._claimed))
            sent = [story for story in stories if story.sent_at is not None and story.sent_at >= since]
            if len(stories) > 1:
                others = ", ".join(story.delivery_id for story in stories[1:])
                yield stories[0].found(Finding.SHARED, f"the other: {others}")
            # The list may lag, and it is sorted by what a queued message does not have: ask by the id.
            judged = [story for story in sent if (story.sent_at or 0) <= settled]
            if judged and sid not in self._accepts and look_up(sid) is None:
                yield judged[0].found(Finding.MISSING_AT_PROVIDER)

    def _unclaimed(
        self, accept: Accept, texts: Mapping[tuple[str, str, bytes], list[Accept]], explained: set[str]
    ) -> Found | None:
        """The provider has it, and no ``sent`` of the log names it."""
        near = [
            story
            for company in self._senders.get(accept.sender, ())
            for story in self._by_address.get(address_hash(self._hash_key, company, accept.to), ())
            if any(-_BEFORE <= accept.created - tried <= _WITHIN for tried in story.tried_at)
            and story.delivery_id not in explained
        ]
        by_state = {story.state: story for story in near}
        same = min(
            texts.get((accept.to, accept.sender, accept.text), ()),
            key=lambda one: abs(one.created - accept.created),
            default=None,
        )
        # The log keeps no text: what has the text of a message of the same minutes is a copy of that one,
        # else it is rather the one that was given up.
        copied = same is not None and abs(same.created - accept.created) <= _WITHIN
        closed = by_state.get(DeliveryState.UNKNOWN_CLOSED)
        if closed is not None and not copied:
            explained.add(closed.delivery_id)
            return _of(closed, Finding.CLOSED_BUT_ACCEPTED, accept)
        if UNFINISHED & by_state.keys():
            return None  # its worker is about to find out
        if same is not None:
            story = self._claimed[same.sid][0]
            return _of(story, Finding.ACCEPTED_TWICE, accept, f"the other: {same.sid}")
        other = next((story for story in near if story.state != DeliveryState.SENT), None)
        if other is not None:
            explained.add(other.delivery_id)
            return _of(other, Finding.NOT_SENT_BUT_ACCEPTED, accept, f"the log says {other.state}")
        companies = self._senders.get(accept.sender, ())
        return Found(
            kind=Finding.STRANGER,
            company=companies[0] if len(companies) == 1 else "",
            at=accept.created,
            provider_id=accept.sid,
            to=mask(accept.to),
        )


def _of(story: Story, kind: Finding, accept: Accept, detail: str = "") -> Found:
    found = story.found(kind, detail)
    return Found(
        kind=kind,
        company=found.company,
        entity=found.entity,
        delivery_id=found.delivery_id,
        rule_id=found.rule_id,
        at=accept.created,
        provider_id=accept.sid,
        to=mask(accept.to),
        detail=detail,
    )
