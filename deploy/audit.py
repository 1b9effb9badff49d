"""``make audit``: has any locked package a known vulnerability?

pip-audit asks an advisory service. A service may be out of reach, or be a mirror that has the packages but
not the advisories; pip-audit then finds nothing, and says so as if all were well. So each service is first
asked about a release whose vulnerabilities are known to everybody; one that knows none of them is not
believed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SERVICES = ("osv", "pypi")
KNOWN_BAD = "jinja2==2.10"
"""Escapes from its sandbox (CVE-2019-10906) and others since."""
_TIMEOUT = 600


@dataclass(frozen=True, slots=True)
class Answer:
    """``bad``: what has known vulnerabilities, in words; ``skipped``: what the service knows nothing of."""

    bad: tuple[str, ...]
    skipped: tuple[str, ...]


def audit(pip_audit: Sequence[str], lock: Path) -> tuple[int, str]:
    """(exit code, what to say): 0 only if a service that knows of vulnerabilities knows of none in any locked
    package; 1 if it does; 2 if nothing, or not everything, was checked."""
    tried: list[str] = []
    for service in SERVICES:
        with tempfile.TemporaryDirectory() as folder:
            known_bad = Path(folder, "known-bad.txt")
            known_bad.write_text(KNOWN_BAD + "\n")
            answer, why = ask(pip_audit, known_bad, service, "--no-deps")
        if answer is None or not answer.bad:
            tried.append(f"  {service}: {why or f'knows nothing of {KNOWN_BAD}, which has vulnerabilities'}")
            continue
        answer, why = ask(pip_audit, lock, service, "--require-hashes")
        if answer is None:
            tried.append(f"  {service}: {why}")
            continue
        if answer.bad:
            return 1, "\n".join((f"known vulnerabilities ({service}):", *answer.bad))
        if answer.skipped:
            return 2, "\n".join(("not all packages were checked:", *answer.skipped))
        return 0, f"no known vulnerability in {lock.name} ({service})"
    return 2, "\n".join(("NOTHING WAS CHECKED: no service with advisories could be asked", *tried))


def ask(pip_audit: Sequence[str], requirements: Path, service: str, how: str) -> tuple[Answer | None, str]:
    """What the service knows of these requirements; None, and why, where it did not answer."""
    command = [*pip_audit, "--requirement", str(requirements), "--disable-pip", how]
    command += ["--vulnerability-service", service, "--format", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run(  # noqa: S603 - the command of the Makefile, with our own options
            command, capture_output=True, text=True, check=False, timeout=_TIMEOUT
        )
        packages = json.loads(done.stdout)["dependencies"]
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"pip-audit did not run: {type(error).__name__}"
    except (ValueError, KeyError):
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        return None, said[-1][:200] if said else "no answer"
    bad = [
        f"  {package['name']} {package['version']}: "
        + ", ".join(
            f"{each['id']} (fixed in {' or '.join(each['fix_versions']) or 'no release'})"
            for each in package["vulns"]
        )
        for package in packages
        if package.get("vulns")
    ]
    skipped = [f"  {each['name']}: {each['skip_reason']}" for each in packages if "skip_reason" in each]
    return Answer(tuple(bad), tuple(skipped)), ""


if __name__ == "__main__":
    code, words = audit(sys.argv[1:] or ["pip-audit"], Path("requirements.lock"))
    print(words)  # noqa: T201 - it is a command
    sys.exit(code)
