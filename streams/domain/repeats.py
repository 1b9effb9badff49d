"""Too many, or the same again: what a company does not want to send to a customer who has had messages."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from schemas.records import Company
from streams.domain.reasons import Reason
from streams.domain.zones import DAY, local_date

LONGEST_DAY = 2 * DAY
"""Milliseconds: no local day began longer ago."""
MOST = 100
"""Messages remembered of one customer."""


class Recent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A message that has gone to a customer, or is about to. Text and address as keyed hashes."""

    delivery_id: str
    at: int
    body: str
    to: str


def remembers(company: Company) -> bool:
    """Does the company ask for anything that needs a memory?"""
    return company.customer_daily_cap > 0 or company.duplicate_window > 0


def kept(recents: Sequence[Recent], window: int, now: int) -> list[Recent]:
    """Those that may still count, the newest ``MOST``. ``window``: the company's ``duplicate_window``."""
    since = now - max(window, LONGEST_DAY)
    return [recent for recent in recents if recent.at > since][-MOST:]


def repeated(recents: Sequence[Recent], new: Recent, company: Company, zone: str) -> Reason | None:
    """Why ``new`` is not to go; ``recents`` may have an earlier attempt at it. ``zone``: whose day it is."""
    others = [recent for recent in recents if recent.delivery_id != new.delivery_id]
    since = new.at - company.duplicate_window
    for recent in others:
        if recent.at > since and (recent.body, recent.to) == (new.body, new.to):
            return Reason.DUPLICATE_TEXT
    if company.customer_daily_cap:
        today = local_date(new.at, zone)
        if sum(local_date(recent.at, zone) == today for recent in others) >= company.customer_daily_cap:
            return Reason.OVER_CAP
    return None
