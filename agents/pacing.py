"""What workers tell each other, and operators tell them, of what may go now: the topics ``backlogs`` (who has
how much waiting, so that an account's rate goes where the messages are, and has sent how much of a mailbox's
day) and ``pauses``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

import msgspec

from agents.outputs import Outputs
from senders.pauses import Pauses
from senders.shares import WINDOW, Report, Shares
from senders.usage import Usage, Used
from streams.kafka.broadcast import BroadcastReader, BroadcastRecord

log = logging.getLogger(__name__)

BACKLOGS, PAUSES = "backlogs", "pauses"
_AHEAD = 10
"""Windows by which a report may be ahead of our clock. One that is more comes of a clock that is wrong (which
keeps its worker from sending); all others would wait until that time has come."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Report).decode


class Pacing:
    """``backlog``: what waits on this worker now, by account with a rate. Where none has one, only what was
    sent of mailboxes is told, when it has changed. ``on_pauses`` is told on the event loop."""

    def __init__(
        self,
        bootstrap: str,
        security: Mapping[str, str],
        outputs: Outputs,
        shares: Shares,
        usage: Usage,
        pauses: Pauses,
        backlog: Callable[[], Mapping[str, int]],
        on_pauses: Callable[[], None],
        now: Callable[[], int],
    ) -> None:
        self._outputs = outputs
        self._shares = shares
        self._usage = usage
        self._pauses = pauses
        self._backlog = backlog
        self._on_pauses = on_pauses
        self._now = now
        self._task: asyncio.Task[None] | None = None
        topics = [outputs.topic(BACKLOGS), outputs.topic(PAUSES)]
        self._reader = BroadcastReader(bootstrap, security, topics, self._apply)

    async def start(self) -> None:
        await self._reader.start()
        self._task = asyncio.create_task(self._follow(), name="pacing")

    async def caught_up(self, timeout: float) -> None:
        """Returns once every pause is known. Raises BroadcastError after ``timeout`` seconds."""
        await self._reader.caught_up(timeout)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        await self._reader.stop()

    @property
    def failure(self) -> BaseException | None:
        task = self._task
        if task is not None and task.done() and not task.cancelled():
            return task.exception()
        return self._reader.failure

    async def _follow(self) -> None:
        """Tells once in a window what waits."""
        told: Used = {}
        worker = self._shares.worker
        while True:
            backlog, used = self._backlog(), self._usage.own()
            if backlog or used != told:
                report = Report(worker, self._now() // WINDOW, backlog, used)
                await self._outputs.send(BACKLOGS, [(worker.encode(), _encode(report))])
                told = used
            now = self._now()
            await asyncio.sleep((WINDOW - now % WINDOW) / 1000)

    def _apply(self, batch: list[BroadcastRecord]) -> None:
        pauses = False
        for record in batch:
            try:
                if record.topic == self._outputs.topic(PAUSES):
                    pauses = True
                    self._pauses.apply(record.key, record.value)
                elif record.value is not None:
                    self._saw(_decode(record.value))
            except ValueError as error:
                log.error("%s offset %d was left out: %s", record.topic, record.offset, error)  # noqa: TRY400 - no traceback: it is the record that is wrong
        if pauses:
            self._on_pauses()

    def _saw(self, report: Report) -> None:
        if report.window > self._now() // WINDOW + _AHEAD:
            return
        self._usage.saw(report.worker, report.used)
        if report.backlog:
            self._shares.saw(report)
