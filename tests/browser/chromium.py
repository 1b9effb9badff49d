"""Debian's Chromium, driven through chromedriver by the WebDriver protocol (W3C Recommendation): as much of
it as the tests need."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
import threading
import time
from base64 import b64decode
from pathlib import Path
from typing import Any, Self

DEADLINE = 60.0
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The key under which a reference to an element is sent (section 12.2)."""
TAB, ENTER, SPACE = "\ue004", "\ue007", " "
PROGRAMS = ("chromium", "chromedriver")


def installed() -> bool:
    return all(shutil.which(name) for name in PROGRAMS)


class Chromium:
    def __init__(self, folder: Path) -> None:
        self._driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self._driver.stdout is not None
        found = None
        for line in self._driver.stdout:
            found = re.search(r"started successfully on port (\d+)", line)
            if found is not None:
                break
        assert found is not None, "chromedriver did not start"
        self._port = int(found[1])
        # Nobody may wait for a full pipe.
        threading.Thread(target=self._driver.stdout.read, daemon=True).start()
        arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--lang=en",
        ]
        arguments += ["--window-size=1100,900", f"--user-data-dir={folder}"]
        options = {"goog:chromeOptions": {"binary": shutil.which("chromium"), "args": arguments}}
        self._session = ""
        wanted = {"capabilities": {"alwaysMatch": {**options, "goog:loggingPrefs": {"browser": "ALL"}}}}
        self._session = self._ask("POST", "/session", wanted)["sessionId"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._ask("DELETE", "")
        finally:
            self._driver.terminate()
            self._driver.wait(DEADLINE)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE)
        try:
            target = f"/session/{self._session}{path}" if self._session else path
            data = json.dumps({} if body is None else body) if method == "POST" else None
            connection.request(method, target, data)
            value = json.loads(connection.getresponse().read())["value"]
        finally:
            connection.close()
        if isinstance(value, dict) and "error" in value:
            raise AssertionError(f"{value['error']}: {value['message'].splitlines()[0]}")
        return value

    def go(self, address: str) -> None:
        self._ask("POST", "/url", {"url": address})

    def narrow(self, address: str) -> None:
        """As wide as a small phone; a window can't be."""
        self.sized(360, 740)
        self.go(address)

    def sized(self, width: int, height: int) -> None:
        """In pixels; narrow ones as a phone."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        command = {"cmd": "Emulation.setDeviceMetricsOverride", "params": size}
        self._ask("POST", "/goog/cdp/execute", command)

    def picture(self) -> bytes:
        """PNG of what is shown."""
        return b64decode(self._ask("GET", "/screenshot"))

    def wide(self) -> None:
        """As wide as its window again."""
        command = {"cmd": "Emulation.clearDeviceMetricsOverride", "params": {}}
        self._ask("POST", "/goog/cdp/execute", command)

    def run(self, script: str, *arguments: object) -> Any:
        """What ``script`` returns; it is the body of a function."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    @property
    def text(self) -> str:
        """As it is shown: without what is hidden."""
        return str(self.run("return document.body.innerText"))

    def _element(self, selector: str, using: str = "css selector") -> str:
        found = self._ask("POST", "/element", {"using": using, "value": selector})
        return str(found[_ELEMENT])

    def click(self, selector: str) -> None:
        """Fails where a person could not: hidden, or under something else."""
        self._ask("POST", f"/element/{self._element(selector)}/click")

    def choose(self, selector: str, value: str) -> None:
        """One of a list."""
        self.click(f'{selector} option[value="{value}"]')

    def button(self, text: str) -> None:
        found = self._element(f"//main//button[normalize-space()='{text}']", "xpath")
        self._ask("POST", f"/element/{found}/click")

    def clear(self, selector: str) -> None:
        self._ask("POST", f"/element/{self._element(selector)}/clear")

    def type(self, selector: str, text: str) -> None:
        self._ask("POST", f"/element/{self._element(selector)}/value", {"text": text})

    def press(self, *keys: str) -> None:
        """On the keyboard, wherever the focus is."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._ask("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    @property
    def focused(self) -> str:
        """What has the focus: its id, else its text."""
        return str(self.run("return document.activeElement.id || document.activeElement.textContent"))

    def tab_to(self, name: str) -> None:
        """By the tabulator key alone, as somebody without a mouse."""
        for _ in range(80):
            if self.focused == name:
                shown = self.run("return getComputedStyle(document.activeElement).outlineStyle")
                assert shown != "none", f"one can't see that {name} has the focus"
                return
            self.press(TAB)
        raise AssertionError(f"{name} can't be reached:\n{self.text}")

    def until(self, text: str, *, again: bool = False) -> None:
        """Until the page shows it; ``again``: loading it anew."""
        pause, end = threading.Event(), time.monotonic() + DEADLINE
        while time.monotonic() < end:
            if text in self.text:
                return
            pause.wait(0.1)
            if again:
                self._ask("POST", "/refresh")
        raise AssertionError(f"{text!r} is not shown:\n{self.text}")

    def complaints(self) -> list[str]:
        """Of the console: scripts that failed, and what the content security policy refused."""
        entries = self._ask("POST", "/se/log", {"type": "browser"})
        severe = [entry["message"] for entry in entries if entry["level"] == "SEVERE"]
        # A form that is refused is no fault of the page.
        return [message for message in severe if "status of 422" not in message]
