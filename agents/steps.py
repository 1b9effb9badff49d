"""The lock of a partition, which knows since when the step under way has been going on."""

from __future__ import annotations

import asyncio
import time
from typing import Literal


class StepLock(asyncio.Lock):
    """Rounds and batches of one partition run one after the other under it."""

    began: float | None = None
    """When the step under way began (``time.monotonic``); None between steps."""

    async def acquire(self) -> Literal[True]:
        taken = await super().acquire()
        self.began = time.monotonic()
        return taken

    def release(self) -> None:
        self.began = None
        super().release()
