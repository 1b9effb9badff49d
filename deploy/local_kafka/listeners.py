"""What a node listens on, as Kafka's own properties: plain, with TLS and log-in where asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PLAIN = "PLAINTEXT"
CONTROLLER = "CONTROLLER"

_LOGIN = "org.apache.kafka.common.security"


@dataclass(frozen=True, slots=True)
class Listener:
    """A listener beside the plain one, on a port of its own. ``name`` is in capitals.

    ``keystore``: a PEM file with the broker's key (PKCS 8) and certificate chain. ``client_ca``: a PEM file;
    clients must show a certificate that it has signed. ``mechanisms`` are for SASL_SSL: PLAIN and
    SCRAM-SHA-512 know the cluster's ``users``; OAUTHBEARER takes any unsigned token, as Kafka's own
    validator for development does (RFC 7515, appendix A.5).
    """

    name: str
    protocol: Literal["SSL", "SASL_SSL"]
    keystore: Path
    client_ca: Path | None = None
    mechanisms: tuple[str, ...] = ()


def listener_properties(
    ports: Mapping[str, int], listeners: Sequence[Listener], users: Mapping[str, str]
) -> dict[str, str]:
    """For a node whose listeners have these ``ports``, ``PLAINTEXT`` and ``CONTROLLER`` among them.
    ``users``: password by name."""
    protocols = {PLAIN: PLAIN, CONTROLLER: PLAIN} | {one.name: one.protocol for one in listeners}
    where = {name: f"{name}://127.0.0.1:{ports[name]}" for name in protocols}
    found = {
        "listeners": ",".join(where.values()),
        "advertised.listeners": ",".join(url for name, url in where.items() if name != CONTROLLER),
        "listener.security.protocol.map": ",".join(f"{name}:{what}" for name, what in protocols.items()),
        "inter.broker.listener.name": PLAIN,
        "controller.listener.names": CONTROLLER,
    }
    for one in listeners:
        prefix = f"listener.name.{one.name.lower()}."
        # PEM files, so that nobody needs Java's keytool.
        found[f"{prefix}ssl.keystore.type"] = "PEM"
        found[f"{prefix}ssl.keystore.location"] = str(one.keystore)
        if one.client_ca is not None:
            found[f"{prefix}ssl.client.auth"] = "required"
            found[f"{prefix}ssl.truststore.type"] = "PEM"
            found[f"{prefix}ssl.truststore.location"] = str(one.client_ca)
        if one.mechanisms:
            found[f"{prefix}sasl.enabled.mechanisms"] = ",".join(one.mechanisms)
            for mechanism in one.mechanisms:
                found[f"{prefix}{mechanism.lower()}.sasl.jaas.config"] = _jaas(mechanism, users)
    return found


def scram_arguments(users: Mapping[str, str]) -> list[str]:
    """For ``kafka-storage format``: the users are there when the broker starts for the first time."""
    return [
        part
        for name, password in users.items()
        for part in ("--add-scram", f"SCRAM-SHA-512=[name={name},password={password}]")
    ]


def _jaas(mechanism: str, users: Mapping[str, str]) -> str:
    if mechanism == "PLAIN":
        known = " ".join(f'user_{name}="{password}"' for name, password in users.items())
        return f"{_LOGIN}.plain.PlainLoginModule required {known};"
    if mechanism == "OAUTHBEARER":
        module = f"{_LOGIN}.oauthbearer.OAuthBearerLoginModule"
        return f'{module} required unsecuredLoginStringClaim_sub="broker";'
    return f"{_LOGIN}.scram.ScramLoginModule required;"
