"""SMS by Twilio, through its own client library."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
from twilio.base.exceptions import TwilioException
from twilio.rest import Client

from schemas.records import Channel
from senders.details import detail_of
from senders.outcomes import twilio_verdict
from senders.pacing import Bucket
from senders.settings import LONGEST_VALIDITY, TwilioSettings
from senders.twilio_http import Refusal, TwilioHttp
from senders.web import NOT_SENT
from streams.clock import Clock
from streams.domain.messages import (
    Accepted,
    Inquiry,
    Message,
    NotFound,
    Outcome,
    Rejected,
    RetryAt,
    SmsMessage,
    Unknown,
)
from streams.domain.reasons import Reason

PROVIDER = "twilio"

PAGE_SIZE = 1000
"""The API's largest."""

MOST_PAGES = 20
"""20,000 messages to one person: past that the question stays open rather than load the API."""

CALLBACK_RETRIES = "#rc=3&rp=all"
"""Behind a callback's address: three more tries within fifteen seconds, whatever went wrong. Twilio takes the
fragment off. https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides"""

TRIAL_PREFIX = "Sent from your Twilio trial account - "
"""What a trial account puts before every text, and shows in its list."""

LIST_TRIES = 5
"""Of one page, when the API asks for a pause or does not answer: nothing is lost by asking again."""

LIST_PAUSE = 1.0
"""Seconds in between, at least."""

_DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class Listed:
    """A message as the provider's own list shows it. Milliseconds."""

    sid: str
    to: str = field(repr=False)
    sender: str
    """What we sent it as: the messaging service where there is one, else the number or name."""
    body: str = field(repr=False)
    created: int
    """In whole seconds, rounded down."""
    status: str


class ListError(Exception):
    """The provider's list can't be read. The message says why, without an address."""


class TwilioSms:
    """A Sender. One account, one session; ``send`` may run many times at once."""

    channel = Channel.SMS
    name = PROVIDER

    def __init__(self, settings: TwilioSettings, clock: Clock) -> None:
        self._clock = clock
        self.bucket = Bucket(settings.per_second, settings.burst) if settings.per_second else None
        self._http = TwilioHttp(settings)
        client = Client(
            username=settings.account_sid,
            http_client=self._http,
            # Not empty, or the library reads the process's: TWILIO_EDGE and TWILIO_REGION would change the
            # host that api_base names.
            environment={"CARILLON": "settings are passed by value"},
        )
        client.api.base_url = settings.api_base.rstrip("/")
        self._messages = client.api.v2010.account.messages

    async def send(self, message: Message) -> Outcome:
        if not isinstance(message, SmsMessage):
            return Rejected(PROVIDER, Reason.REFUSED, "not an SMS")
        try:
            message.text.encode()
        except UnicodeEncodeError:
            return Rejected(PROVIDER, Reason.CONTENT, "the text is not Unicode (half of a surrogate pair)")
        left = message.valid_until - self._clock.now()
        if left < 0:
            return RetryAt(PROVIDER, Reason.LATENESS, "it waited for its turn too long", called=False)
        try:
            created = await self._messages.create_async(**_parameters(message, left))
        except Refusal as refusal:
            verdict = twilio_verdict(refusal.status, refusal.code)
            return verdict.outcome(PROVIDER, _detail(refusal, message), refusal.after)
        except NOT_SENT as error:
            return RetryAt(PROVIDER, Reason.UNREACHABLE, type(error).__name__)
        except Exception as error:  # noqa: BLE001 - whatever else went wrong, the request may have arrived
            return Unknown(PROVIDER, Reason.NO_ANSWER, type(error).__name__)
        if not created.sid:
            return Unknown(PROVIDER, Reason.NO_ANSWER, "accepted without an id")
        return _accepted(created)

    async def inquire(self, message: Message, since: int, until: int) -> Inquiry:
        """Asks for all messages to the recipient. Not by DateSent: a message that Twilio still queues has
        none. Nor does the list show the delivery id, so recipient, sender, text and time must all fit."""
        if not isinstance(message, SmsMessage):
            return Unknown(PROVIDER, Reason.NO_ANSWER, "not an SMS")
        found: list[Any] = []
        try:
            page = await self._messages.page_async(to=message.to, page_size=PAGE_SIZE)
            for _ in range(MOST_PAGES):
                found += (item for item in page if _fits(item, message, since, until))
                page = await page.next_page_async()
                if page is None:
                    break
            else:
                return Unknown(PROVIDER, Reason.NO_ANSWER, "too many messages to this recipient")
        except Refusal as refusal:
            return Unknown(PROVIDER, Reason.NO_ANSWER, _detail(refusal, message))
        except Exception as error:  # noqa: BLE001 - a question without an answer is no reason to stop
            return Unknown(PROVIDER, Reason.NO_ANSWER, type(error).__name__)
        if not found:
            return NotFound(PROVIDER)
        if len({item.sid for item in found}) > 1:
            return Unknown(PROVIDER, Reason.NO_ANSWER, "several messages fit")
        return _accepted(found[0])

    async def listed(self, since: int, until: int, now: int) -> AsyncIterator[list[Listed]]:
        """Page by page, newest first, what the account has sent from ``since`` to ``until`` (milliseconds):
        everything but what others sent to us. Raises ListError.

        The list can be narrowed by DateSent only, which a message has when it has left: so it is read from
        its newest page on until a page is older than ``since``, unless the period is days ago.
        """
        if until < now - 2 * _DAY:
            # Nothing of that time is still queued; validity is ten hours at most.
            before = datetime.fromtimestamp((until + _DAY) / 1000, UTC)
            page = await self._asked(
                lambda: self._messages.page_async(date_sent_before=before, page_size=PAGE_SIZE)
            )
        else:
            page = await self._asked(lambda: self._messages.page_async(page_size=PAGE_SIZE))
        while page is not None:
            items = list(page)
            yield [
                _listed(item)
                for item in items
                if item.direction != "inbound" and since <= _millis(item.date_created) <= until
            ]
            newest = max((max(_millis(i.date_created), _millis(i.date_sent)) for i in items), default=since)
            if newest < since:
                return
            page = await self._asked(page.next_page_async)

    async def look_up(self, sid: str) -> Listed | None:
        """The message of this id; None: the account has none. Raises ListError."""
        try:
            return _listed(await self._asked(lambda: self._messages(sid).fetch_async()))
        except ListError as error:
            if isinstance(error.__cause__, Refusal) and error.__cause__.status == 404:
                return None
            raise

    async def _asked(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """The answer to a question that may be asked again."""
        for left in reversed(range(LIST_TRIES)):
            try:
                return await ask()
            except Refusal as refusal:
                if not left or (refusal.status != 429 and refusal.status < 500):
                    raise ListError(
                        f"the provider refuses: {detail_of(f'{refusal} {refusal.message}')}"
                    ) from refusal
                await asyncio.sleep(max(refusal.after / 1000, LIST_PAUSE))
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                if not left:
                    raise ListError(f"the provider does not answer ({type(error).__name__})") from error
                await asyncio.sleep(LIST_PAUSE)
            except (TwilioException, ValueError, KeyError) as error:
                raise ListError(f"the provider's answer is no list ({type(error).__name__})") from error
        raise AssertionError("unreachable")

    async def close(self) -> None:
        await self._http.close()


def _parameters(message: SmsMessage, left: int) -> dict[str, object]:
    """``left``: milliseconds in which the text is of use. Twilio's smart encoding, which a messaging service
    does by default, is switched off: the list that we ask later must show what we sent."""
    parameters: dict[str, object] = {
        "to": message.to,
        "body": message.text,
        "validity_period": max(1, min(left // 1000, LONGEST_VALIDITY)),
        "smart_encoded": False,
        "messaging_service_sid" if is_service(message.sender) else "from_": message.sender,
    }
    if message.status_url:
        parameters["status_callback"] = message.status_url + CALLBACK_RETRIES
    return parameters


def is_service(sender: str) -> bool:
    """``MG`` and 32 hexadecimal digits; an alphanumeric sender has at most 11 characters."""
    return sender.startswith("MG") and len(sender) == 34


def _fits(item: Any, message: SmsMessage, since: int, until: int) -> bool:
    """Twilio's times have whole seconds, rounded down."""
    sender = item.messaging_service_sid if is_service(message.sender) else item.from_
    return (
        item.direction != "inbound"
        and item.to == message.to
        and sender == message.sender
        and item.body in (message.text, TRIAL_PREFIX + message.text)
        and item.date_created is not None
        and since // 1000 * 1000 <= int(item.date_created.timestamp()) * 1000 <= until
    )


def _listed(item: Any) -> Listed:
    return Listed(
        str(item.sid),
        str(item.to or ""),
        str(item.messaging_service_sid or item.from_ or ""),
        str(item.body or ""),
        _millis(item.date_created),
        str(item.status or ""),
    )


def _millis(moment: datetime | None) -> int:
    return int(moment.timestamp()) * 1000 if moment is not None else 0


def _accepted(item: Any) -> Accepted:
    segments = str(item.num_segments or "")
    price = str(item.price or "")
    return Accepted(
        PROVIDER,
        str(item.sid),
        # A messaging service says 0 until it has chosen a number.
        segments=int(segments) if segments.isdigit() and segments != "0" else None,
        price=price.removeprefix("-"),
        currency=str(item.price_unit or "").upper() if price else "",
    )


def _detail(refusal: Refusal, message: SmsMessage) -> str:
    said = f": {refusal.message}" if refusal.message else ""
    return detail_of(f"{refusal}{said}", message.to, message.text)
