"""Postfix's own test sink, ``smtp-sink``: a real mail server's listener that takes all it is given."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local_kafka.node import free_ports

_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
_SINK, _SOURCE = (shutil.which(name, path=_PATH) for name in ("smtp-sink", "smtp-source"))
_BACKLOG = "1000"
_STARTS_WITHIN = 30.0
_MESSAGE_ID = re.compile(rb"^Message-ID: (<[^>\r\n]+>)", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class MailSink:
    port: int
    _dump: Path

    def source(self) -> bytes:
        """Everything that was taken, one message behind the other."""
        return self._dump.read_bytes() if self._dump.exists() else b""

    def message_ids(self) -> list[str]:
        return [found.decode() for found in _MESSAGE_ID.findall(self.source())]


@contextmanager
def mail_sink(*options: str, keep: bool = True) -> Iterator[MailSink]:
    """``options``: smtp-sink's own. ``keep``: what it takes is written to a file, which costs it time."""
    assert _SINK is not None, "need_mail_sink() was not asked"
    with tempfile.TemporaryDirectory(prefix="carillon-sink-") as name:
        folder, (port,) = Path(name), free_ports(1)
        if os.geteuid() == 0:  # it refuses to work as root
            options = ("-u", "nobody", *options)
            folder.chmod(0o777)
        if keep:
            options = ("-D", str(folder / "dump"), *options)
        with (folder / "log").open("wb") as log:
            command = [_SINK, *options, f"inet:127.0.0.1:{port}", _BACKLOG]
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _until_it_listens(process, port, folder / "log")
            yield MailSink(port, folder / "dump")
        finally:
            process.terminate()
            process.wait()


def source_limit(port: int, messages: int, size: int, sessions: int) -> float:
    """Messages a second that postfix's own ``smtp-source`` gets into the sink, over kept connections."""
    assert _SOURCE is not None, "need_mail_sink() was not asked"
    command = [_SOURCE, "-d", "-s", str(sessions), "-m", str(messages), "-l", str(size)]
    begin = time.perf_counter()
    subprocess.run([*command, f"inet:127.0.0.1:{port}"], check=True, capture_output=True)
    return messages / (time.perf_counter() - begin)


def mail_sink_there() -> bool:
    return _SINK is not None and _SOURCE is not None


def need_mail_sink() -> None:
    """Skips on a machine without it; in CI (``CI=true``) that is a failure like any other."""
    if not mail_sink_there():
        assert os.environ.get("CI") != "true", "CI needs smtp-sink: apt install postfix"
        pytest.skip("no smtp-sink on this machine (apt install postfix); CI would not skip this")


def _until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + _STARTS_WITHIN
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, "smtp-sink does not listen"
            time.sleep(0.02)
