"""How a company's channels are: open, paused, or waiting for a provider; how much went, and what did not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum

import msgspec

from console.feed import STATES, reason_text
from console.index.queries import Queries
from schemas.records import Channel, DeliveryState
from senders.pauses import Pauses
from streams.domain.catalog import Catalog
from streams.domain.zones import zone_of


class Flow(StrEnum):
    OPEN = "open"
    PAUSED = "paused"
    """By somebody who operates Carillon: the whole channel, or this company on it."""
    THROTTLED = "throttled"
    """The provider takes nothing for now, or not so much: messages wait for another try."""


class ChannelView(msgspec.Struct, frozen=True, kw_only=True):
    channel: Channel
    flow: Flow
    since: int | None
    """When it was paused, in milliseconds."""
    why: str
    """What was said when this company was paused; of a pause for all, nothing: it may name others."""
    retrying: int
    """Messages of this company that wait for another try."""


class VolumeView(msgspec.Struct, frozen=True, kw_only=True):
    """One day on the company's clocks."""

    day: str
    channel: Channel
    sent: int
    not_sent: int


class FailureView(msgspec.Struct, frozen=True, kw_only=True):
    """What was not sent, by reason."""

    channel: Channel
    state: DeliveryState
    reason: str
    reason_text: str
    count: int


class TrafficView(msgspec.Struct, frozen=True, kw_only=True):
    channels: tuple[ChannelView, ...]
    volumes: tuple[VolumeView, ...]
    """Every day of the time asked for, for each channel, in order."""
    failures: tuple[FailureView, ...]
    """The most frequent first."""


def traffic(
    queries: Queries, catalog: Catalog, pauses: Pauses, company: str, days: int, now: int
) -> TrafficView:
    """Of the last ``days``, with the one that ``now`` (milliseconds) is in."""
    zone = zone_of(catalog.zone(company, ""))
    today = datetime.fromtimestamp(now / 1000, zone).date()
    first = today - timedelta(days=days - 1)
    since = int(datetime.combine(first, time(), zone).astimezone(UTC).timestamp() * 1000)
    sent: Counter[tuple[str, str]] = Counter()
    unsent: Counter[tuple[str, str]] = Counter()
    failures: Counter[tuple[str, DeliveryState, str]] = Counter()
    for one, count in queries.outcomes(company, since).items():
        day = datetime.fromtimestamp(one.quarter / 1000, zone).date().isoformat()
        part = STATES[one.state][0]
        if part == "sent":
            sent[day, one.channel] += count
        elif part == "not sent":
            unsent[day, one.channel] += count
            failures[one.channel, one.state, one.reason] += count
    return TrafficView(
        channels=tuple(_channel(each, company, pauses, queries.retrying(company)) for each in Channel),
        volumes=tuple(
            VolumeView(day=day, channel=channel, sent=sent[day, channel], not_sent=unsent[day, channel])
            for channel in Channel
            for day in ((first + timedelta(days=n)).isoformat() for n in range(days))
        ),
        failures=tuple(
            FailureView(
                channel=Channel(channel), state=state, reason=reason, reason_text=reason_text(reason), count=n
            )
            for (channel, state, reason), n in failures.most_common()
            if channel in set(Channel)
        ),
    )


def _channel(channel: Channel, company: str, pauses: Pauses, retrying: Mapping[str, int]) -> ChannelView:
    held, waiting = pauses.all(), retrying.get(channel, 0)
    found = [pause for place in ((channel, ""), (channel, company)) if (pause := held.get(place)) is not None]
    own = held.get((channel, company))
    flow = Flow.PAUSED if found else Flow.THROTTLED if waiting else Flow.OPEN
    return ChannelView(
        channel=channel,
        flow=flow,
        since=min((pause.since for pause in found), default=None),
        why="" if own is None else own.why,
        retrying=waiting,
    )
