"""Pictures of the main pages for ``docs/console.md``, of the demo's company: ``make screenshots``."""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path

from tests.browser.chromium import ENTER, Chromium
from tests.browser.test_demo import found, guide_of
from tests.console.demo.test_demo import called, start

FOLDER = Path(__file__).parents[2] / "docs" / "images"
COMPANY = "spoke-and-wheel"
WIDE, PHONE = (1100, 700), (360, 640)
PAGES = {
    "rules": (WIDE, "rules?entity=appointment"),
    "reminder": (WIDE, "rules/new?entity=appointment&kind=reminder"),
    "template": (WIDE, "templates/appointment-reminder?about=appointment&about_id=a-1"),
    "pending": (WIDE, "pending"),
    "feed": (WIDE, "feed/appointment/a-1"),
    "channels": (WIDE, "channels?days=14"),
    "hours": (WIDE, "hours"),
    "phone": (PHONE, "feed/appointment/a-1"),
}
"""By the name of the picture: its size in pixels, and the page."""


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="carillon-screenshots-") as folder:
        here = Path(folder)
        process = start(here / "demo", "--speed", "0", "--for", "12d", "--console")
        try:
            guide = guide_of(process)
            called(found(r"program would: (.*)", guide))
            with Chromium(here / "profile") as browser:
                _take(browser, guide)
        finally:
            process.send_signal(signal.SIGINT)
            output, error = process.communicate(timeout=120)
    if process.returncode:
        sys.exit(output + error)


def _take(browser: Chromium, guide: str) -> None:
    page = found(r"Its page: (\S+)/", guide)
    browser.go(f"{page}/login")
    browser.type("#user", found(r"user (\w+)", guide))
    browser.type("#password", found(r"password (\w+)", guide) + ENTER)
    browser.until("Companies")
    browser.go(f"{page}/c/{COMPANY}/feed/appointment/a-1")
    browser.until("the message moved along", again=True)
    for name, (size, path) in PAGES.items():
        browser.sized(*size)
        browser.go(f"{page}/c/{COMPANY}/{path}")
        (FOLDER / f"{name}.png").write_bytes(browser.picture())


if __name__ == "__main__":
    main()
