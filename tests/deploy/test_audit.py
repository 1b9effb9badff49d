"""What ``make audit`` says, with a stand-in for pip-audit that answers as the real one does."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from deploy.audit import audit

BAD = {"name": "jinja2", "version": "2.10", "vulns": [{"id": "PYSEC-2019-217", "fix_versions": ["2.10.1"]}]}
GOOD = {"name": "a", "version": "1", "vulns": []}
# As pip-audit 2.10 says of a package that a mirror has no page for; it exits with 0.
SKIPPED = {"name": "a", "skip_reason": "Dependency not found on PyPI and could not be audited: a (1)"}
SILENT = None
"""No JSON: the service could not be reached."""

STAND_IN = """
import json, sys
answers = json.loads(sys.argv[1])
service = sys.argv[sys.argv.index("--vulnerability-service") + 1]
which = "canary" if "known-bad" in sys.argv[sys.argv.index("--requirement") + 1] else "lock"
answer = answers[service][which]
if answer is None:
    sys.exit("Traceback ...\\nConnectionError: Failed to resolve the host")
print(json.dumps({"dependencies": answer, "fixes": []}))
"""


def answered(tmp_path: Path, **services: object) -> tuple[int, str]:
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    given = {"osv": {"canary": SILENT}, "pypi": {"canary": SILENT}} | services
    command = [sys.executable, str(tmp_path / "stand_in.py"), json.dumps(given)]
    return audit(command, tmp_path / "requirements.lock")


def test_nothing_known_of_any(tmp_path: Path) -> None:
    code, said = answered(tmp_path, osv={"canary": [BAD], "lock": [GOOD]})
    assert (code, said) == (0, "no known vulnerability in requirements.lock (osv)")


def test_something_known(tmp_path: Path) -> None:
    code, said = answered(tmp_path, osv={"canary": [BAD], "lock": [GOOD, BAD]})
    assert code == 1
    assert said.splitlines()[1] == "  jinja2 2.10: PYSEC-2019-217 (fixed in 2.10.1)"


@pytest.mark.parametrize(
    "empty", [[], [SKIPPED], [{"name": "jinja2", "version": "2.10", "vulns": []}]], ids=repr
)
def test_a_service_without_advisories_is_not_believed(tmp_path: Path, empty: object) -> None:
    code, said = answered(tmp_path, pypi={"canary": empty, "lock": [GOOD]})
    assert code == 2
    assert said.startswith("NOTHING WAS CHECKED")
    assert "osv: ConnectionError: Failed to resolve the host" in said
    assert "pypi: knows nothing of jinja2==2.10" in said


def test_the_next_service_is_asked(tmp_path: Path) -> None:
    code, said = answered(tmp_path, pypi={"canary": [BAD], "lock": [GOOD]})
    assert (code, said) == (0, "no known vulnerability in requirements.lock (pypi)")


def test_a_package_that_was_not_checked_is_told(tmp_path: Path) -> None:
    code, said = answered(tmp_path, osv={"canary": [BAD], "lock": [GOOD, SKIPPED]})
    assert code == 2
    assert "not all packages were checked" in said


def test_without_pip_audit_nothing_was_checked(tmp_path: Path) -> None:
    code, said = audit([str(tmp_path / "none")], tmp_path / "requirements.lock")
    assert code == 2
    assert "pip-audit did not run: FileNotFoundError" in said
