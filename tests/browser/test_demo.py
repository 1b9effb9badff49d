"""Somebody who has never seen it, before ``carillon demo``: a reminder one day before, by SMS, for two
locations only; it is pending for an appointment; the appointment is moved; the feed says what happened. By
keyboard alone, with the processes and the printed guide of the demo itself."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.browser.chromium import ENTER, SPACE, Chromium
from tests.console.demo.test_demo import called, start

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


def guide_of(process: subprocess.Popen[str]) -> str:
    """What it prints when its story is told."""
    assert process.stdout is not None
    return "".join(iter(process.stdout.readline, "It stays until Ctrl-C\n"))


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, text
    return match[1]


def test_a_reminder_is_set_up_and_an_appointment_moved(tmp_path: Path, window: Chromium) -> None:
    process = start(tmp_path, "--speed", "0", "--scene", "lead", "--crowd", "0", "--console")
    try:
        guide = guide_of(process)
        window.wide()
        window.go(found(r"Its page: (\S+)", guide))
        _sign_in(window, found(r"user (\w+)", guide), found(r"password (\w+)", guide))
        _set_up(window)
        for which in ("a-1", "a-2"):
            window.tab_to("Pending messages")
            window.press(ENTER)
            window.until(f"Appointment {which}", again=True)
            window.until("The day before", again=True)
        assert re.search(r"Appointment a-3.*The day before", window.text) is None
        before = _due(window, "a-1")

        assert "is moved from" in called(found(r"program would: (.*)", guide))
        window.until("The scheduled time changed; the message moved along.", again=True)
        assert _due(window, "a-1") != before
        window.until("Appointment has a new time", again=True)  # the customer has been told
    finally:
        process.send_signal(signal.SIGINT)
        output, error = process.communicate(timeout=120)
    assert process.returncode == 0, output + error
    assert window.complaints() == []


def _sign_in(window: Chromium, user: str, password: str) -> None:
    window.tab_to("user")
    window.press(*user)
    window.tab_to("password")
    window.press(*password, ENTER)
    window.until("Spoke & Wheel")
    window.tab_to("Spoke & Wheel")
    window.press(ENTER)
    window.until("Notifications")


def _set_up(window: Chromium) -> None:
    window.tab_to("Appointments")
    window.press(ENTER)
    window.until("Reminder by SMS")
    window.tab_to("Add a reminder")
    window.press(ENTER)
    window.until("How long before the scheduled time")
    window.tab_to("name")
    window.press(*"The day before")
    assert window.run("return document.getElementById('offset').value") == "1"
    assert window.run("return document.getElementById('offset_unit').value") == "days"
    assert window.run("return document.getElementById('channel').value") == "sms"
    window.tab_to("template_id")
    window.press(*"Appointment rem")
    window.tab_to("where-all")
    window.press("\ue015")  # arrow down: the next of the choice
    for place in ("location-warsaw", "location-lisbon"):
        window.tab_to(place)
        window.press(SPACE)
    window.tab_to("Save")
    window.press(ENTER)
    window.until("The day before")


def _due(window: Chromium, which: str) -> str:
    """When the feed says that the new reminder of an appointment goes. Leaves the feed open."""
    if f"Appointment {which}" not in window.text.splitlines()[:20]:
        window.tab_to("Event feed")
        window.press(ENTER)
        window.until("Its id")
        window.tab_to("kind")
        window.press("A")
        window.tab_to("id")
        window.press(*which, ENTER)
    window.until("The day before", again=True)
    script = (
        "return [...document.querySelectorAll('.feed > li')].find("
        "(one) => one.innerText.startsWith('The day before')).querySelector('time').dateTime"
    )
    return str(window.run(script))
