"""A real Apache Kafka with listeners for every way to connect safely, as a fixture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy.local_kafka import Listener, LocalKafka
from tests.support.certificates import Authority, host, loopback

USER = "carillon"
PASSWORD = "correct-horse"


@dataclass(slots=True)
class SecureKafka:
    """``login`` asks for a user, ``certificate`` for the client's certificate; the certificate of
    ``elsewhere`` is for another host. ``kafka.bootstrap`` is without any of it."""

    kafka: LocalKafka
    folder: Path
    ca: Path
    other_ca: Path
    client: Path
    secrets: list[str] = field(default_factory=lambda: [PASSWORD])
    """What no output may show."""

    @property
    def login(self) -> str:
        return self.kafka.bootstrap_of("LOGIN")

    @property
    def certificate(self) -> str:
        return self.kafka.bootstrap_of("CERTIFICATE")

    @property
    def elsewhere(self) -> str:
        return self.kafka.bootstrap_of("ELSEWHERE")

    def secret(self, name: str, value: str) -> str:
        """The setting for a secret in a file."""
        file = self.folder / name
        file.write_text(value)
        self.secrets.append(value)
        return f"file:{file}"

    def with_password(self, mechanism: str) -> dict[str, str]:
        """Settings of a client that logs in, and may."""
        return {
            "broker": self.login,
            "security_protocol": "SASL_SSL",
            "ssl_ca": str(self.ca),
            "sasl_mechanism": mechanism,
            "sasl_user": USER,
            "sasl_password": self.secret("password", PASSWORD),
        }

    def with_certificate(self) -> dict[str, str]:
        """Settings of a client that shows its certificate."""
        return {
            "broker": self.certificate,
            "security_protocol": "SSL",
            "ssl_ca": str(self.ca),
            "ssl_cert": str(self.client),
        }

    def with_token(self, file: Path) -> dict[str, str]:
        """Settings of a client that has a bearer token."""
        return {
            "broker": self.login,
            "security_protocol": "SASL_SSL",
            "ssl_ca": str(self.ca),
            "sasl_mechanism": "OAUTHBEARER",
            "oauth_token_file": str(file),
        }


@pytest.fixture(scope="session")
def secure_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    """One node."""
    folder = tmp_path_factory.mktemp("secure")
    ours, other = Authority(folder, "ca"), Authority(folder, "other-ca")
    broker = ours.issue("broker", loopback())
    listeners = (
        Listener("LOGIN", "SASL_SSL", broker, mechanisms=("PLAIN", "SCRAM-SHA-512", "OAUTHBEARER")),
        Listener("CERTIFICATE", "SSL", broker, client_ca=ours.ca),
        Listener("ELSEWHERE", "SSL", ours.issue("elsewhere", host("elsewhere.invalid"))),
    )
    with LocalKafka(listeners=listeners, users={USER: PASSWORD}) as kafka:
        yield SecureKafka(kafka, folder, ours.ca, other.ca, ours.issue("client"))
