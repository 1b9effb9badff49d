"""How the channels are, and how much went over them: pictures, each beside its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from console.api import messages
from console.api.forms import TrafficQuery
from console.service.channels import ChannelView, FailureView, TrafficView, VolumeView
from console.service.errors import RefusedError
from console.web.layout import notice, table
from console.web.markup import Html, h, joined, url
from console.web.messages import reason_in_words
from console.web.reading import read
from console.web.visits import Answer, Page, Visit
from schemas.records import Channel

_SPANS = (7, 14, 30, 60)
"""Days that can be chosen."""
_WIDE, _HIGH, _GAP = 20, 100, 4
"""Of a day's place in the picture; its units are nobody's."""


async def show_channels(visit: Visit) -> Answer:
    words, wrong = visit.words, None
    try:
        query = read(TrafficQuery, {"days": visit.query.get("days", "14")})
    except RefusedError as error:
        wrong, query = notice(f"{words('error.invalid')} {error}", wrong=True), TrafficQuery()
    reply = await messages.get_traffic(visit.call(query=query))
    found = reply.value
    assert isinstance(found, TrafficView)
    body = [wrong, _states(visit, found.channels), _spans(visit, query.days)]
    for channel in Channel:
        body.append(_volumes(visit, channel, [one for one in found.volumes if one.channel is channel]))
    body.append(_failures(visit, found.failures))
    return Page(title=words("menu.channels"), body=[one for one in body if one is not None], at="channels")


def _states(visit: Visit, channels: Sequence[ChannelView]) -> Html:
    words = visit.words
    rows = []
    for one in channels:
        told = [words(f"flow.{one.flow}.hint")]
        if one.since is not None:
            told.append(words("since", moment=words.moment(one.since, visit.shop.zone)))
        if one.why:
            told.append(one.why)
        state = h("span", words(f"flow.{one.flow}"), class_=f"flow {one.flow}")
        rows.append((words(f"channel.{one.channel}"), state, " · ".join(told), str(one.retrying)))
    heads = [words(f"head.{name}") for name in ("channel", "state", "details", "retrying")]
    return table(heads, rows, words("flows"))


def _spans(visit: Visit, days: int) -> Html:
    words = visit.words
    entries = [
        h(
            "li",
            h(
                "a",
                words.amount(span, "days"),
                href=url("c", visit.shop.id, "channels", days=str(span)),
                aria_current="page" if span == days else None,
            ),
        )
        for span in _SPANS
    ]
    return h("nav", h("ul", entries, class_="tabs"), aria_label=words("span"))


def _volumes(visit: Visit, channel: Channel, days: Sequence[VolumeView]) -> Html:
    words, heading = visit.words, f"volume-{channel}"
    sent, unsent = sum(one.sent for one in days), sum(one.not_sent for one in days)
    name = words(f"channel.{channel}")
    said = words("volume.told", sent=sent, not_sent=unsent)
    busy = [one for one in days if one.sent or one.not_sent]
    rows = [
        (words.day(date.fromisoformat(one.day)), str(one.sent), str(one.not_sent)) for one in reversed(busy)
    ]
    heads = (words("by.day"), words("part.sent"), words("part.not sent"))
    numbers = table(heads, rows, words("volume.table", channel=name)) if rows else h("p", words("none"))
    return h(
        "section",
        h("h2", name, id=heading),
        h(
            "p",
            h("span", words("part.sent"), f": {sent}", class_="key sent"),
            h("span", words("part.not sent"), f": {unsent}", class_="key unsent"),
        ),
        h("div", plot(visit, channel, days, said), h("div", numbers, class_="numbers"), class_="beside"),
        aria_labelledby=heading,
    )


def plot(visit: Visit, channel: Channel, days: Sequence[VolumeView], said: str) -> Html:
    """A bar for each day: what was sent, and on top of it what was not. The table beside says the same."""
    words = visit.words
    most = max([one.sent + one.not_sent for one in days] + [1])
    bars = []
    for number, one in enumerate(days):
        low, high = _HIGH * one.sent / most, _HIGH * one.not_sent / most
        x = number * _WIDE + _GAP // 2
        when = words.day(date.fromisoformat(one.day))
        told = h("title", f"{when}: {words('volume.told', sent=one.sent, not_sent=one.not_sent)}")
        shown = [
            h("rect", x=x, y=f"{top:.1f}", width=_WIDE - _GAP, height=f"{height:.1f}", class_=name)
            for name, top, height in (("sent", _HIGH - low, low), ("unsent", _HIGH - low - high, high))
            if height
        ]
        bars.append(h("g", told, shown))
    title, described = f"plot-{channel}-title", f"plot-{channel}-desc"
    ends = [words.day(date.fromisoformat(one.day)) for one in (days[0], days[-1])]
    return h(
        "figure",
        h(
            "svg",
            h("title", words("volume.table", channel=words(f"channel.{channel}")), id=title),
            h("desc", said, id=described),
            h("line", x1=0, y1=_HIGH, x2=len(days) * _WIDE, y2=_HIGH),
            bars,
            viewBox=f"0 0 {len(days) * _WIDE} {_HIGH + 1}",
            preserveAspectRatio="none",
            role="img",
            aria_labelledby=f"{title} {described}",
            class_="plot",
        ),
        h(
            "figcaption",
            h("span", ends[0]),
            h("span", words("volume.most", most=most)),
            h("span", ends[1]),
            aria_hidden="true",
        ),
    )


def _failures(visit: Visit, failures: Sequence[FailureView]) -> Html:
    words, company = visit.words, visit.shop.id
    most = max((one.count for one in failures), default=1)
    rows = [
        (
            h(
                "a",
                reason_in_words(words, one.reason) if one.reason else words(f"state.{one.state}"),
                href=url("c", company, "deliveries", state=one.state),
            ),
            words(f"state.{one.state}"),
            words(f"channel.{one.channel}"),
            joined(str(one.count), " ", h("meter", value=one.count, max=most, aria_hidden="true")),
        )
        for one in failures
    ]
    heads = [words(f"head.{name}") for name in ("why", "state", "channel", "count")]
    shown = table(heads, rows, words("failures")) if rows else h("p", words("none"))
    return h("section", h("h2", words("failures"), id="failures"), shown, aria_labelledby="failures")
