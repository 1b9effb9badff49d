"""Web addresses that name a delivery: receipts and one-click unsubscribe."""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit, urlunsplit


def with_delivery(url: str, delivery_id: str, company: str) -> str:
    """``url`` with ``delivery_id`` and ``company`` added to whatever query it has."""
    parts = urlsplit(url)
    added = urlencode({"delivery_id": delivery_id, "company": company})
    return urlunsplit(parts._replace(query=f"{parts.query}&{added}" if parts.query else added))
