"""How the channels are, and what went over them."""

from __future__ import annotations

import re

import msgspec

from console.connection import RawPublication
from schemas.records import Channel, DeliveryState
from senders.pauses import Pause, pause_key
from tests.console.api.conftest import RIVAL, Spot, delivery
from tests.console.web.conftest import Enter
from tests.support.shop import C

OWN, OTHERS = "wrong texts in template 7", "zenith is in trouble"


def pause(spot: Spot, channel: Channel, company: str, why: str | None) -> None:
    value = None if why is None else msgspec.json.encode(Pause(since=1_700_000_000_000, by="op", why=why))
    with spot.connection.writer() as writer:
        writer.put([RawPublication("pauses", 0, pause_key(channel, company), value, ())])


def flows(spot: Spot, who: str = "viewer") -> dict[str, tuple[str, str]]:
    answer = spot.get(f"/companies/{C}/channels", who=who)
    assert answer.status == 200, answer
    return {one["channel"]: (one["flow"], one["why"]) for one in answer.json["channels"]}


def test_a_pause_is_seen_and_says_only_what_is_the_companys_own(place: Spot, enter: Enter) -> None:
    assert flows(place) == {"sms": ("open", ""), "email": ("open", "")}
    pause(place, Channel.SMS, RIVAL, OTHERS)
    pause(place, Channel.EMAIL, C, OWN)
    place.until(lambda: flows(place)["email"] == ("paused", OWN))
    assert flows(place)["sms"] == ("open", "")
    pause(place, Channel.SMS, "", OTHERS)
    place.until(lambda: flows(place)["sms"] == ("paused", ""))
    page = enter("viewer").go(f"/c/{C}/channels")
    assert page.count("since Tue 14 Nov 2023, 23:13") == 2
    assert OWN in page
    assert OTHERS not in page
    for channel, company in ((Channel.SMS, RIVAL), (Channel.SMS, ""), (Channel.EMAIL, C)):
        pause(place, channel, company, None)
    place.until(lambda: {flow for flow, _ in flows(place).values()} == {"open"})


def test_volumes_and_failures_are_shown_as_a_picture_and_beside_it_as_numbers(
    place: Spot, enter: Enter
) -> None:
    now = place.desk.clock.now()
    place.publish(
        *(delivery(800 + n, DeliveryState.SENT, at=now, due_at=None, channel="email") for n in range(3)),
        delivery(803, DeliveryState.FAILED, at=now, due_at=None, channel="email", reason="gave_up"),
        delivery(804, DeliveryState.RETRYING, at=now, due_at=now, channel="email", reason="throttled"),
        delivery(805, DeliveryState.SENT, at=now - 20 * 24 * 3_600_000, due_at=None, channel="email"),
    )

    def counted(days: int) -> tuple[int, int]:
        found = place.get(f"/companies/{C}/channels?days={days}").json["volumes"]
        mails = [one for one in found if one["channel"] == "email"]
        assert len(mails) == days
        return sum(one["sent"] for one in mails), sum(one["not_sent"] for one in mails)

    place.until(lambda: counted(14) == (3, 1))
    assert counted(30) == (4, 1)
    assert flows(place)["email"][0] == "throttled"
    browser = enter("viewer")
    page = browser.go(f"/c/{C}/channels?days=7")
    mail = page.partition('id="volume-email"')[2]
    assert "Sent: 3. Not sent: 1." in mail  # for those who don't see the picture
    assert '<span class="key sent">Sent: 3</span>' in mail
    (picture,) = re.findall(r"<svg.*?</svg>", mail, re.DOTALL)
    assert 'role="img" aria-labelledby="plot-email-title plot-email-desc"' in picture
    heights = dict(re.findall(r'height="([\d.]+)" class="(\w+)"', picture))
    assert heights == {"75.0": "sent", "25.0": "unsent"}
    assert "Every attempt was refused until the message was of no more use." in mail
    assert "slowed down" in page
    assert browser.go(f"/c/{C}/channels?days=never").count('role="alert"') == 1
