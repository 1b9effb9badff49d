"""Where the story is shown: in colour with a line of counters on a terminal, as plain lines elsewhere.

The story goes to standard output, byte for byte the same for the same seed; what depends on the machine
(ports, process ids, how long something took) goes to standard error, or on a terminal between the lines.
"""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Iterable
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from console.demo.narrator import Line

_STYLES = {"·": "", "+": "dim", "~": "yellow", ">": "bold green", "x": "red", "!": "bold magenta"}
_GAP = 1.1
"""Seconds between two lines at speed 1: what it takes to read one."""


class Pace:
    """Keeps lines apart. ``speed`` 0: as fast as it goes."""

    def __init__(self, speed: float) -> None:
        self._gap = _GAP / speed if speed > 0 else 0.0
        self._last = 0.0

    def wait(self) -> None:
        """Returns when the last line has stood long enough; the time that the machine needed counts."""
        left = self._last + self._gap - time.monotonic()
        if self._gap and left > 0:
            time.sleep(left)
        self._last = time.monotonic()


class Screen(Protocol):
    def story(self, line: Line) -> None:
        """One line of the story."""

    def aside(self, text: str) -> None:
        """What is being done behind the stage."""

    def counters(self, text: str) -> None:
        """The crowd, as of now."""

    def block(self, lines: Iterable[str]) -> None:
        """Several lines that belong together: the summary."""

    def close(self) -> None:
        """Gives the terminal back."""


class PlainScreen:
    """For pipes, files and build logs."""

    def __init__(self) -> None:
        self._counters = ""
        self._shown = ""

    def story(self, line: Line) -> None:
        day = line.when[:10]
        if day != self._shown and self._counters:
            self.aside(self._counters)
            self._counters = ""
        self._shown = day
        print(line, flush=True)

    def aside(self, text: str) -> None:
        print(f"  ({text})", file=sys.stderr, flush=True)

    def counters(self, text: str) -> None:
        self._counters = text

    def block(self, lines: Iterable[str]) -> None:
        print("\n".join(lines), flush=True)

    def close(self) -> None:
        """Nothing was taken."""


class RichScreen:
    """For a terminal."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        # No refresh thread: the demo forks processes, and it knows when something has changed.
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()

    def story(self, line: Line) -> None:
        prefix = f"{line.when}  "
        # Wrapped here, so that a text goes on under itself and not under the time.
        width = max(30, self._console.width - len(prefix) - 2)
        first, *rest = textwrap.wrap(line.text, width) or [""]
        style = _STYLES.get(line.mark, "")
        shown = Text.assemble((prefix, "cyan"), (f"{line.mark} ", style), (first, style))
        for part in rest:
            shown.append("\n" + " " * (len(prefix) + 2))
            shown.append(part, style)
        self._console.print(shown, soft_wrap=True)

    def aside(self, text: str) -> None:
        self._console.print(Text(f"  {text}", "dim"))

    def counters(self, text: str) -> None:
        self._live.update(Text(text, "reverse"), refresh=True)

    def block(self, lines: Iterable[str]) -> None:
        self._live.update(Text(""), refresh=True)
        for line in lines:
            style = "bold" if line and not line.startswith(" ") else ""
            self._console.print(Text(line, style), soft_wrap=True)

    def close(self) -> None:
        self._live.stop()


def open_screen() -> Screen:
    return RichScreen() if sys.stdout.isatty() else PlainScreen()
