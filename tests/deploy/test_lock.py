"""The lock file: what is installed is exactly what was locked, and is what pyproject.toml asks for. Without
any network; known vulnerabilities are ``make audit``'s business."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def logical_lines(text: str) -> list[str]:
    """Lines as pip reads them: comments gone, those that end in a backslash joined with the next."""
    plain = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return [line.strip() for line in plain.replace("\\\n", " ").splitlines() if line.strip()]


def faults(lock: str, wanted: list[str]) -> list[str]:
    """What is wrong with the lock file, in words."""
    found: list[str] = []
    pinned: dict[str, str] = {}
    for line in logical_lines(lock):
        text, *hashes = re.split(r"\s+(?=--)", line)
        if text.startswith("-"):
            found.append(f"an option of pip: {text}")
            continue
        requirement = Requirement(text)
        specifiers = list(requirement.specifier)
        if requirement.url is not None:
            found.append(f"{requirement.name}: a direct address")
        elif len(specifiers) != 1 or specifiers[0].operator != "==" or "*" in specifiers[0].version:
            found.append(f"{requirement.name}: not one version")
        else:
            pinned[canonicalize_name(requirement.name)] = specifiers[0].version
        if not hashes or not all(_HASH.fullmatch(each) for each in hashes):
            found.append(f"{requirement.name}: no hash, or none that counts")
    for text in wanted:
        requirement = Requirement(text)
        version = pinned.get(canonicalize_name(requirement.name))
        if version is None:
            found.append(f"{requirement.name}: pyproject.toml asks for it, and it is not locked")
        elif not requirement.specifier.contains(version, prereleases=True):
            found.append(
                f"{requirement.name}: pyproject.toml asks for {requirement.specifier}, not {version}"
            )
    return found


def asked_for() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extras: dict[str, list[str]] = project["project"]["optional-dependencies"]
    return [*project["project"]["dependencies"], *(each for extra in extras.values() for each in extra)]


def test_the_lock_file_is_whole_and_is_what_was_asked_for() -> None:
    assert faults((ROOT / "requirements.lock").read_text("utf-8"), asked_for()) == []


HASH = "--hash=sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("lock", "fault"),
    [
        ("a==1", "a: no hash, or none that counts"),
        ("a==1 --hash=md5:00", "a: no hash, or none that counts"),
        (f"a>=1 {HASH}", "a: not one version"),
        (f"a==1.* {HASH}", "a: not one version"),
        (f"a @ https://example.com/a.whl {HASH}", "a: a direct address"),
        (f"a==1 {HASH}\n--extra-index-url https://example.com", "an option of pip: --extra-index-url"),
        (f"a==1 {HASH}\n-e .", "an option of pip: -e ."),
        (f"b==1 \\\n    {HASH}\n    # via x", "a: pyproject.toml asks for it, and it is not locked"),
        (f"A==3 \\\n    {HASH}", "A: pyproject.toml asks for <3, not 3"),
    ],
)
def test_what_is_wrong_is_found(lock: str, fault: str) -> None:
    assert any(each.lower().startswith(fault.lower()) for each in faults(lock, ["A<3"]))


def test_a_good_one_is_good() -> None:
    assert (
        faults(f"a[x]==1.2 ; sys_platform != 'win32' \\\n    {HASH} \\\n    {HASH}\n    # via y", ["A>1"])
        == []
    )


def test_nothing_is_installed_without_its_hash() -> None:
    """``make setup``, the image and CI."""
    for name in ("Makefile", "deploy/Dockerfile"):
        text = (ROOT / name).read_text("utf-8").replace("\\\n", " ")
        installs = [line for line in text.splitlines() if re.search(r"pip install.* -r ", line)]
        assert installs, name
        assert all("--require-hashes" in line for line in installs), installs
