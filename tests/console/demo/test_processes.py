"""Children are there when they say so, and gone when they should be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from console.demo.processes import DemoError, Processes, read_ready, wait_until_ready

READY = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text('{\"port\": 7}'); time.sleep(600)"


def gone(pid: int) -> bool:
    """Of a process that is not ours to wait for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


def test_ready_killed_and_stopped(tmp_path: Path) -> None:
    processes = Processes(tmp_path / "logs")
    one = processes.start("one", ["-c", READY, str(tmp_path / "ready")], {})
    assert read_ready(tmp_path / "ready", one) == {"port": 7}
    processes.check()
    assert processes.kill("one") == one.pid
    assert one.popen.returncode == -signal.SIGKILL
    other = processes.start("other", ["-c", READY, str(tmp_path / "other")], {})
    read_ready(tmp_path / "other", other)
    processes.stop_all()
    assert other.popen.returncode == -signal.SIGTERM


def test_a_child_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    processes = Processes(tmp_path / "logs")
    child = processes.start("worker", ["-c", "raise SystemExit('broker: expected host:port')"], {})
    with pytest.raises(DemoError, match=r"(?s)worker ended with code 1.*broker: expected host:port"):
        read_ready(tmp_path / "never", child)


def test_a_child_that_never_gets_ready(tmp_path: Path) -> None:
    processes = Processes(tmp_path / "logs")
    child = processes.start("worker", ["-c", "import time; time.sleep(600)"], {})
    with pytest.raises(DemoError, match="was not ready within 0 s"):
        read_ready(tmp_path / "never", child, deadline=0)
    processes.stop_all()


UNREADY = """
import http.server, pathlib, sys
class Answers(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Answers.asked += 1
        self.send_response(200 if Answers.asked > int(sys.argv[2]) else 503)
        self.end_headers()
        self.wfile.write(b"still reading")
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Answers)
pathlib.Path(sys.argv[1]).write_text('{"port": %d}' % server.server_port)
server.serve_forever()
"""


@pytest.mark.parametrize(("refusals", "deadline"), [(3, 60), (1_000_000, 0.2)])
def test_who_listens_may_not_be_ready_yet(tmp_path: Path, refusals: int, deadline: float) -> None:
    processes = Processes(tmp_path / "logs")
    child = processes.start("web", ["-c", UNREADY, str(tmp_path / "web"), str(refusals)], {})
    address = f"http://127.0.0.1:{read_ready(tmp_path / 'web', child)['port']}/ready"
    if refusals == 3:
        wait_until_ready(address, child, deadline=deadline)
    else:
        with pytest.raises(DemoError, match=r"web was not ready .*still reading"):
            wait_until_ready(address, child, deadline=deadline)
    processes.stop_all()


def test_a_variable_can_be_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARILLON_BROKER", "elsewhere")
    processes = Processes(tmp_path)
    code = "import os; print(os.environ.get('CARILLON_BROKER'), os.environ['CARILLON_DATA'])"
    child = processes.start("x", ["-c", code], {"CARILLON_BROKER": None, "CARILLON_DATA": "d"})
    child.popen.wait(30)
    assert child.log.read_text().strip() == "None d"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's promise is Linux's")
def test_children_die_with_a_demo_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from console.demo.processes import *\n"
        f"p = Processes(Path({str(tmp_path)!r}))\n"
        f"c = p.start('c', ['-c', {READY!r}, {str(tmp_path / 'ready')!r}], {{}})\n"
        f"read_ready(Path({str(tmp_path / 'ready')!r}), c); print(c.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    fd = os.pidfd_open(pid)
    parent.kill()
    parent.wait()
    import select  # noqa: PLC0415 - Linux only, as pidfd_open is

    assert select.select([fd], [], [], 30)[0]
    os.close(fd)
    assert gone(pid)
