"""What the peers need: Kafka Streams by Maven and javac, Quix Streams in a virtual environment of its own.
Made once, in the cache folder that the local broker's jars are in."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from deploy.local_kafka.jars import LocalKafkaError, cache_folder
from tests.benchmarks.measure import say

STREAMS_VERSION = "4.1.0"
QUIX_VERSION = "3.28.1"
JVM_FLAGS = ("-XX:+UseParallelGC", "-Xms1g", "-Xmx1g")

_SOURCE = Path(__file__).parent / "peers" / "OrderJoin.java"

_DEPENDENCIES = (
    ("org.apache.kafka", "kafka-streams", STREAMS_VERSION),
    ("com.fasterxml.jackson.core", "jackson-databind", "2.19.0"),
    ("org.apache.avro", "avro", "1.12.0"),
    ("org.slf4j", "slf4j-nop", "1.7.36"),
)


def built_streams() -> Path:
    """The folder with ``OrderJoin.class`` and ``libs``. Raises LocalKafkaError without Maven or a JDK."""
    pom = _pom()
    fingerprint = hashlib.sha256(pom.encode() + _SOURCE.read_bytes()).hexdigest()[:12]
    target = cache_folder() / f"order-join-{fingerprint}"
    if target.is_dir():
        return target
    maven, javac = shutil.which("mvn"), shutil.which("javac")
    if maven is None or javac is None:
        raise LocalKafkaError("Kafka Streams needs Maven and a JDK (mvn and javac in PATH), 17 or newer")
    say("building the Kafka Streams peer (once) ...")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="build-") as work:
        folder = Path(work)
        (folder / "pom.xml").write_text(pom)
        libs = folder / "libs"
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={libs}"]
        _run([maven, "--batch-mode", "--quiet", *goal], folder)
        _run([javac, "-cp", f"{libs}/*", "-d", str(folder), str(_SOURCE)], folder)
        folder.rename(target)
        folder.mkdir()  # for the context manager to remove
    return target


def quix_python() -> Path:
    """The interpreter of an environment that has Quix Streams, made on the first call."""
    return _environment(f"quix-{QUIX_VERSION}", [f"quixstreams=={QUIX_VERSION}"])


def peer_python() -> Path:
    """The same with the clients of Redis and PostgreSQL, and APScheduler."""
    return _environment("timer-peers", ["redis>=5,<9", "psycopg[binary]>=3.2,<4", "apscheduler>=3.11,<4"])


def _environment(name: str, packages: list[str]) -> Path:
    folder = cache_folder() / name
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        say(f"making an environment for {name} (once) ...")
        _run([sys.executable, "-m", "venv", "--clear", str(folder)], Path.cwd())
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*install, *packages], Path.cwd())
        (folder / "ready").touch()
    return python


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise LocalKafkaError(f"{Path(command[0]).name} failed:\n{tail}")


def _pom() -> str:
    dependencies = "".join(
        f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId>"
        f"<version>{version}</version></dependency>"
        for group, name, version in _DEPENDENCIES
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>carillon</groupId><artifactId>order-join</artifactId><version>1</version>"
        f"<packaging>pom</packaging><dependencies>{dependencies}</dependencies></project>\n"
    )
