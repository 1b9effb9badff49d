"""The whole demo as a person runs it: the embedded broker, local providers, a worker that is killed."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from email import message_from_bytes
from pathlib import Path
from urllib.parse import urlencode

import pytest

from schemas.records import FINAL_STATES

pytestmark = [pytest.mark.embedded, pytest.mark.slow, pytest.mark.timeout(600)]

_LIBRARIES = ("rdkafka#", "faust", "Traceback", "WARNING", "%3|", "%4|", "%6|")


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "console", "demo", "--out", str(folder), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "CARILLON_BROKER": "somewhere.invalid:1"},
    )


def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    process = start(folder, *arguments)
    output, error = process.communicate()
    return process.returncode, output, error


def story(output: str) -> list[str]:
    return output.partition("What became of every message")[0].splitlines()


def test_the_whole_story(tmp_path: Path) -> None:
    code, output, error = run(tmp_path / "one", "--speed", "0")
    assert code == 0, output + error
    assert "✗" not in output
    assert output.count("✓") >= 17
    assert "lost 0, twice 0" in output.partition("the worker is back")[2]
    assert "still waiting, lost 0, twice 0" in output
    assert not [line for line in (output + error).splitlines() if any(name in line for name in _LIBRARIES)]
    assert "\x1b" not in output + error

    out = tmp_path / "one"
    log = [json.loads(line) for line in (out / "delivery-log.jsonl").read_text().splitlines()]
    sent = [record["delivery_id"] for record in log if record["state"] == "sent"]
    assert len(set(sent)) == len(sent) > 300
    ended = {record["delivery_id"] for record in log if record["state"] in FINAL_STATES}
    assert {record["delivery_id"] for record in log} == ended
    assert "Nowy termin wizyty" in (out / "texts.txt").read_text()
    mails = sorted((out / "mail").glob("*.eml"))
    assert mails
    assert message_from_bytes(mails[0].read_bytes())["Subject"]

    code, again, _ = run(tmp_path / "two", "--speed", "0")
    assert code == 0
    assert story(again) == story(output)


def test_one_scene_without_a_crowd(tmp_path: Path) -> None:
    code, output, error = run(tmp_path, "--speed", "0", "--scene", "held", "--crowd", "0", "--seed", "7")
    assert code == 0, output + error
    lines = [line for line in story(output) if line.strip()]
    assert any(" ~ SMS to " in line and "waits until Wed 8 Apr 09:30" in line for line in lines)
    assert any(line.startswith("Wed  8 Apr 09:30  Lisbon") and " > SMS to " in line for line in lines)


def test_the_providers(tmp_path: Path) -> None:
    """STOP, one click, a bounce, an outage and Gmail, with a gateway of its own."""
    given = ("--speed", "0", "--scene", "providers", "--crowd", "0")
    code, output, error = run(tmp_path / "one", *given)
    assert code == 0, output + error
    assert "✗" not in output
    assert output.count("✓") >= 15
    lines = [line for line in story(output) if line.strip()]

    def marks(words: str) -> str:
        return "".join(line[28] for line in lines if words in line)

    assert marks("[Work has begun]") == "x", "STOP is obeyed"
    assert marks("[Order ready") == ">", "START frees"
    assert marks("[Reminder by e-mail]") == "++xx", "unsubscribed and bounced"
    assert marks("[Reminder by SMS]") == "++>>"
    assert marks("by the second provider") == ">", "while the first is away"
    assert marks("from maria@spokeandwheel.example: ") == ">>"
    assert marks("not from mailbox maria: its access was revoked") == ">"
    mails = sorted((tmp_path / "one" / "gmail").glob("*.eml"))
    assert len(mails) == 2, "what Gmail had taken does not go again"
    assert "carillon gateway" in error
    assert "Traceback" not in (tmp_path / "one" / "logs" / "gateway.log").read_text()

    code, again, _ = run(tmp_path / "two", *given)
    assert code == 0
    assert story(again) == story(output)


def test_one_of_two_workers_is_killed(tmp_path: Path) -> None:
    code, output, error = run(tmp_path, "--speed", "0", "--scene", "crash", "--crowd", "0", "--workers", "2")
    assert code == 0, output + error


def test_the_shop_stays_open_with_its_console(tmp_path: Path) -> None:
    """What the story told is there; an appointment is moved, and the clock put forward."""
    process = start(tmp_path, "--speed", "0", "--scene", "held", "--crowd", "0", "--console")
    try:
        assert process.stderr is not None
        assert process.stdout is not None
        told = re.compile(r"its API: (\S+), token (\S+)\)")
        found = next(match for line in process.stderr if (match := told.search(line)))
        told = re.compile(r"its page: (\S+)/, user demo, password (\S+)\)")
        page = next(match for line in process.stderr if (match := told.search(line)))
        guide = list(iter(process.stdout.readline, "It stays until Ctrl-C\n"))
        request = urllib.request.Request(f"{found[1]}/companies/spoke-and-wheel/deliveries?state=sent")
        request.add_header("Authorization", f"Bearer {found[2]}")
        until = time.monotonic() + 60
        while not (items := json.load(urllib.request.urlopen(request, timeout=60))["items"]):
            assert time.monotonic() < until, "the console never read what was sent"
            time.sleep(0.1)
        assert {each["state"] for each in items} == {"sent"}
        form = urlencode({"user": "demo", "password": page[2], "back": "/static/style.css"}).encode()
        with urllib.request.urlopen(f"{page[1]}/login", form, timeout=60) as answer:
            assert answer.url == f"{page[1]}/static/style.css"
        (move,) = [line.partition(": ")[2] for line in guide if " move a-1 " in line]
        assert "is moved from" in called(move)
        (forward,) = [line.partition(": ")[2] for line in guide if " forward " in line]
        assert "the shop's clock shows" in called(forward)
        texts = (tmp_path / "sms" / "sms.jsonl").read_text()
        assert texts.count("+48500009991") == 2, "moved, and reminded"
    finally:
        process.send_signal(signal.SIGINT)
        output, error = process.communicate(timeout=120)
    assert process.returncode == 0, output + error
    assert "Traceback" not in error


def called(command: str) -> str:
    """What the line says that the demo has printed."""
    done = subprocess.run(shlex.split(command), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_shop_that_is_not_open_is_said_to_be(tmp_path: Path) -> None:
    """Also elsewhere than in a terminal, where the demo ends with its story."""
    code, output, error = run(tmp_path, "move", "a-1", "2026-05-20 15:00")
    assert code == 1
    assert f"no demo is open in {tmp_path}/" in error
    assert not output


def test_ctrl_c_ends_it_with_the_summary_and_leaves_nobody_behind(tmp_path: Path) -> None:
    process = start(tmp_path, "--scene", "moved")
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, error = process.communicate(timeout=120)
    assert process.returncode == 130, error
    assert " · " in first
    assert "What became of every message" in rest
    assert "Traceback" not in error
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert str(tmp_path).encode() not in line.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
