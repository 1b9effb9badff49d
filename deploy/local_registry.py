"""A real schema registry on this machine: Apicurio, which speaks Confluent's REST API. Java 17 and Maven, no
Docker. https://www.apicur.io/registry/docs/apicurio-registry/2.6.x/
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.local_kafka.jars import LocalKafkaError, cache_folder, java
from deploy.local_kafka.node import free_ports

VERSION = "2.6.13.Final"
_ARTIFACT = "apicurio-registry-app"
_API = "/apis/ccompat/v7"
_TAIL = 25  # lines of the log that an error shows


class LocalRegistryError(LocalKafkaError):
    """The registry can't be had or does not run; the message says what to do."""


class LocalRegistry:
    """One process on a loopback port of its own. What is registered lies in ``folder`` and outlives ``kill``
    and ``start``; None: a temporary folder, which ``close`` removes. Blocking; use it as a context manager.
    It does not end by itself when this process is killed.
    """

    def __init__(self, *, folder: Path | None = None, heap_mb: int = 256) -> None:
        self._given = folder
        self._folder: Path | None = None
        self._heap_mb = heap_mb
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For clients of Confluent's API; known, and kept, from the first start on."""
        return f"http://127.0.0.1:{self._port}{_API}"

    def start(self, timeout: float = 90.0) -> str:
        """Fetches the program if need be, starts it and blocks until it answers. Returns ``url``.

        Raises LocalRegistryError with the end of its log when it does not.
        """
        if self._process is not None:
            raise LocalRegistryError("it is running already")
        if self._folder is None:
            self._folder = self._given or Path(tempfile.mkdtemp(prefix="carillon-registry-"))
            self._folder.mkdir(parents=True, exist_ok=True)
        if not self._port:
            (self._port,) = free_ports(1)
        environment = os.environ | {
            "QUARKUS_HTTP_HOST": "127.0.0.1",
            "HTTP_PORT": str(self._port),
            "REGISTRY_DATASOURCE_URL": f"jdbc:h2:file:{self._folder / 'registry'}",
        }
        with (self._folder / "registry.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own Java and arguments
                [
                    java(),
                    f"-Xmx{self._heap_mb}m",
                    "-XX:+UseSerialGC",  # a small heap on a small machine: fewer threads, less memory
                    "-XX:TieredStopAtLevel=1",  # starts sooner
                    "-jar",
                    str(program() / f"{_ARTIFACT}-{VERSION}-runner.jar"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=environment,
                start_new_session=True,  # a Ctrl-C at the terminal is for the program that uses it
            )
        deadline = time.monotonic() + timeout
        while not self._answers():
            if self._process.poll() is not None:
                self._process = None
                raise LocalRegistryError(f"the schema registry did not start:\n{self._log_tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise LocalRegistryError(f"the schema registry is not ready in time:\n{self._log_tail()}")
            time.sleep(0.1)
        return self.url

    def kill(self) -> None:
        """kill -9; the next ``start`` has the same port and content. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def close(self) -> None:
        """Ends it and removes a temporary folder. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._folder is not None and self._given is None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=5) as answer:  # noqa: S310 - loopback
                return bool(answer.status == 200)
        except (OSError, urllib.error.HTTPError):
            return False

    def _log_tail(self) -> str:
        assert self._folder is not None
        return "\n".join((self._folder / "registry.log").read_text(errors="replace").splitlines()[-_TAIL:])

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def program() -> Path:
    """The folder of the registry; the first call on a machine fetches it with Maven (140 MB).

    Raises LocalRegistryError when Maven is missing or fails.
    """
    target = cache_folder() / f"apicurio-{VERSION}"
    if target.is_dir():
        return target
    maven = shutil.which("mvn")
    if maven is None:
        raise LocalRegistryError(f"fetching Apicurio {VERSION} needs Maven, and there is no mvn in PATH")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="fetch-") as work:
        goal = ["dependency:copy", f"-Dartifact=io.apicurio:{_ARTIFACT}:{VERSION}:tar.gz:all"]
        fetched = subprocess.run(  # noqa: S603 - the path is from which()
            [maven, "--batch-mode", "--quiet", *goal, f"-DoutputDirectory={work}"],
            cwd=work,
            capture_output=True,
            text=True,
            check=False,
        )
        archive = Path(work) / f"{_ARTIFACT}-{VERSION}-all.tar.gz"
        if fetched.returncode != 0 or not archive.is_file():
            tail = "\n".join((fetched.stdout + fetched.stderr).splitlines()[-15:])
            raise LocalRegistryError(f"Maven could not fetch Apicurio {VERSION}:\n{tail}")
        unpacked = Path(work) / "unpacked"
        with tarfile.open(archive) as tar:
            tar.extractall(unpacked, filter="data")
        try:
            unpacked.rename(target)  # whoever sees the folder sees all of it
        except OSError:
            if not target.is_dir():  # else another process was faster
                raise
    return target
