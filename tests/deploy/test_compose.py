"""docker-compose.yml and the Dockerfile can't be run here; what they name must at least exist."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from agents.web import LIVE, READY
from console.cli import COMMANDS, main
from streams.settings import PREFIX, Settings, read_settings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}


@pytest.mark.parametrize("name", OURS)
def test_each_service_of_ours_runs_something_that_there_is(name: str) -> None:
    service = OURS[name]
    if "entrypoint" in service:
        python, flag, module = service["entrypoint"]
        assert (python, flag) == ("python", "-m")
        assert importlib.util.find_spec(module) is not None
        return
    command, *arguments = service["command"]
    assert command in COMMANDS
    found = main.get_command(click.Context(main), command)
    assert found is not None
    if isinstance(found, click.Group) and not (found.invoke_without_command and not arguments):
        assert arguments[0] in found.commands
    else:
        options = {option for parameter in found.params for option in parameter.opts}
        assert {argument for argument in arguments if argument.startswith("--")} <= options


@pytest.mark.parametrize("name", OURS)
def test_its_settings_are_settings(name: str) -> None:
    environment = {key: str(value) for key, value in OURS[name]["environment"].items()}
    settings = read_settings(environment)
    assert settings.broker == "kafka:29092"
    assert any(key.startswith(PREFIX) for key in environment)


def test_hosts_and_ports_that_settings_name_are_those_of_services() -> None:
    environment = OURS["worker"]["environment"]
    assert (
        f"INSIDE://{environment['CARILLON_BROKER']}"
        in (SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"])
    )
    assert environment["CARILLON_SMTP_HOST"] in SERVICES
    assert environment["CARILLON_SMTP_PORT"] in SERVICES["mail"]["command"]
    match = re.fullmatch(r"http://(\w+):(\d+)", environment["CARILLON_SMS_API"])
    assert match is not None
    assert match[2] in SERVICES[match[1]]["command"]
    assert re.match(r"http://registry:8080/", environment["CARILLON_REGISTRY"])


def test_links_in_messages_lead_to_the_gateway() -> None:
    """Workers write them, the gateway opens them: one address, one key."""
    worker, gateway = (
        read_settings({key: str(value) for key, value in OURS[name]["environment"].items()})
        for name in ("worker", "gateway")
    )
    assert worker.public_url == gateway.public_url
    assert worker.link_key.reveal() == gateway.link_key.reveal() != ""
    port = gateway.public_url.rpartition(":")[2]
    assert int(port) == gateway.gateway_port
    assert OURS["gateway"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert gateway.gateway_host == "0.0.0.0", "in a container"


def test_dependencies_and_mounted_folders_exist() -> None:
    for service in SERVICES.values():
        assert set(service.get("depends_on", {})) <= set(SERVICES)
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]


def test_what_is_asked_for_a_workers_health_is_there_to_answer() -> None:
    """The image asks whether it lives, the compose file whether it is ready for others."""
    dockerfile = (ROOT / "deploy/Dockerfile").read_text()
    healthcheck = re.search(r"^HEALTHCHECK (?:.*\\\n)*.*$", dockerfile, re.MULTILINE)
    assert healthcheck is not None
    asked = {"image": healthcheck[0], "worker": str(SERVICES["worker"]["healthcheck"]["test"])}
    found = {name: re.search(r"http://127\.0\.0\.1:(\d+)(/\w+)", text) for name, text in asked.items()}
    paths = {name: match[2] for name, match in found.items() if match is not None}
    assert paths == {"image": LIVE, "worker": READY}
    ports = {int(match[1]) for match in found.values() if match is not None}
    assert ports == {Settings().web_port}
    for name in ("gateway", "console"):
        assert SERVICES[name]["healthcheck"] == SERVICES["worker"]["healthcheck"]
    for name in OURS.keys() - {"worker", "gateway", "console"}:
        assert OURS[name]["healthcheck"] == {"disable": True}, name


def test_the_dockerfile_copies_every_package() -> None:
    copied = set(re.findall(r"^COPY (\w+) \w+$", (ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE))
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert copied == packages
