"""The broker's jars, fetched once with Maven from wherever this machine's Maven settings say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

KAFKA_VERSION = "4.1.0"
SCALA_VERSION = "2.13"
_LOG4J_VERSION = (
    "2.24.3"  # the one that Kafka 4.1.0 brings; its binding for slf4j is not among the dependencies
)
_JAVA_MINIMUM = 17

_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>carillon</groupId>
  <artifactId>local-kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_{SCALA_VERSION}</artifactId>
      <version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>{_LOG4J_VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""


class LocalKafkaError(Exception):
    """The broker can't be had or does not run; the message says what to do."""


def cache_folder() -> Path:
    """Where jars and the standing broker's files are kept: ``$XDG_CACHE_HOME/carillon``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "carillon"


def java() -> str:
    """The path of a Java that can run the broker. Raises LocalKafkaError."""
    found = shutil.which("java")
    if found is None:
        raise LocalKafkaError(
            f"Apache Kafka needs Java {_JAVA_MINIMUM} or newer, and there is no java in PATH"
        )
    said = subprocess.run([found, "-version"], capture_output=True, text=True, check=False).stderr  # noqa: S603 - the path is from which()
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < _JAVA_MINIMUM:
        first = said.splitlines()[0] if said else "nothing"
        raise LocalKafkaError(f"Apache Kafka needs Java {_JAVA_MINIMUM} or newer; {found} says: {first}")
    return found


def jars() -> Path:
    """The folder with the jars of the broker; the first call on a machine fetches them (50 MB, seconds).

    Raises LocalKafkaError when Maven is missing or fails.
    """
    target = cache_folder() / f"kafka-{KAFKA_VERSION}"
    if target.is_dir():
        return target
    maven = shutil.which("mvn")
    if maven is None:
        raise LocalKafkaError(
            f"fetching Apache Kafka {KAFKA_VERSION} needs Maven, and there is no mvn in PATH"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="fetch-") as work:
        (Path(work) / "pom.xml").write_text(_POM)
        libs = Path(work) / "libs"
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={libs}"]
        fetched = subprocess.run(  # noqa: S603 - the path is from which()
            [maven, "--batch-mode", "--quiet", *goal], cwd=work, capture_output=True, text=True, check=False
        )
        if fetched.returncode != 0 or not any(libs.glob("kafka_*.jar")):
            tail = "\n".join((fetched.stdout + fetched.stderr).splitlines()[-15:])
            raise LocalKafkaError(f"Maven could not fetch Apache Kafka {KAFKA_VERSION}:\n{tail}")
        try:
            libs.rename(target)  # whoever sees the folder sees all of it
        except OSError:
            if not target.is_dir():  # else another process was faster
                raise
    return target
