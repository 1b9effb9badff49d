"""What the compatibility check lets pass and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.compatibility import breaks, check, main
from schemas.contracts import CONTRACTS, FOLDER

Edit = Callable[[dict[str, Any]], None]


def field(schema: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in schema["fields"] if one["name"] == name)


def facts(schema: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = field(schema, "before")["type"][1]
    return found


def edited(name: str, edit: Edit) -> list[str]:
    new = CONTRACTS[name].schema
    edit(new)
    return [str(one) for one in breaks(f"{name}.avsc", CONTRACTS[name].schema, new)]


def add(schema: dict[str, Any], place: int = 99, **fields: Any) -> None:
    schema["fields"].insert(place, {"name": "colour", "type": "string", **fields})


def drop(schema: dict[str, Any], name: str) -> None:
    schema["fields"].remove(field(schema, name))


def test_the_committed_baseline_is_current() -> None:
    found, changed = check()
    assert found == []
    assert changed == [], "run python -m schemas.compatibility --accept and commit the baseline"


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("order-change", lambda s: add(s, default="")),
        ("order-change", lambda s: add(s, type=["null", "string"], default=None)),
        ("order-change", lambda s: add(facts(s), default="")),
        ("customer", lambda s: add(s, 0, default="")),
        ("customer", lambda s: drop(s, "name")),
        ("customer", lambda s: s.update(doc="Other words.")),
        ("customer", lambda s: field(s, "version").update(default=0)),
        ("customer", lambda s: s["fields"].reverse()),
    ],
)
def test_compatible_changes_pass(name: str, edit: Edit) -> None:
    assert edited(name, edit) == []


@pytest.mark.parametrize(
    ("name", "edit", "where"),
    [
        ("customer", add, "colour"),
        ("order-change", lambda s: add(facts(s)), "before.colour"),
        ("customer", lambda s: drop(s, "company"), "company"),
        ("order-change", lambda s: drop(facts(s), "status_id"), "before.status_id"),
        ("customer", lambda s: field(s, "customer_id").update(name="client_id"), "customer_id"),
        ("customer", lambda s: field(s, "name").pop("default"), "name"),
        ("customer", lambda s: field(s, "version").update(type="int"), "version"),
        ("customer", lambda s: field(s, "version").update(type=["null", "long"]), "version"),
        ("order-change", lambda s: field(s, "occurred_at").update(type="long"), "occurred_at"),
        ("order-change", lambda s: facts(s).update(name="Other"), "before"),
        ("customer", lambda s: s.update(name="Client"), "customer.avsc"),
        ("order-change", lambda s: field(s, "operation")["type"]["symbols"].append("upsert"), "operation"),
        ("order-change", lambda s: field(s, "operation")["type"]["symbols"].remove("read"), "operation"),
        ("template", lambda s: add(field(s, "texts")["type"]["values"]), "texts[].colour"),
        ("rule", lambda s: field(s, "locations").update(type=["null", "string"]), "locations"),
        ("order-change", lambda s: add(s, 2, default=""), "operation"),
        ("lead-change", lambda s: s["fields"].insert(0, s["fields"].pop(8)), "company"),
    ],
)
def test_incompatible_changes_are_refused_by_file_and_field(name: str, edit: Edit, where: str) -> None:
    found = edited(name, edit)
    assert found
    assert f"{name}.avsc" in found[0]
    assert f"{where}: " in found[0]


class TestCommand:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        shutil.copytree(FOLDER, tmp_path / "avro")
        return tmp_path / "avro"

    def change(self, folder: Path, name: str, edit: Edit) -> None:
        schema = CONTRACTS[name].schema
        edit(schema)
        (folder / f"{name}.avsc").write_text(json.dumps(schema))

    def test_untouched(self, folder: Path) -> None:
        assert main([], folder) == 0

    def test_a_break_exits_1_and_is_not_accepted(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.change(folder, "customer", lambda s: drop(s, "company"))
        assert main([], folder) == 1
        assert "customer.avsc: company: was removed or renamed" in capsys.readouterr().err
        assert main(["--accept"], folder) == 1
        assert main([], folder) == 1

    def test_a_compatible_change_is_accepted_into_the_baseline(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.change(folder, "customer", lambda s: add(s, default=""))
        assert main([], folder) == 0
        assert "run with --accept" in capsys.readouterr().out
        assert main(["--accept"], folder) == 0
        self.change(folder, "customer", lambda s: add(s, type="long", default=0))
        assert main([], folder) == 1

    def test_a_contract_that_vanished(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (folder / "rule.avsc").unlink()
        assert main([], folder) == 1
        assert "rule.avsc: the contract was removed" in capsys.readouterr().err

    def test_a_file_that_is_no_schema(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.change(folder, "order-change", lambda s: facts(s).update(name="Other"))
        assert main([], folder) == 1
        assert "order-change.avsc: is not an Avro schema" in capsys.readouterr().err

    def test_without_a_baseline(self, folder: Path) -> None:
        shutil.rmtree(folder / "baseline")
        assert main([], folder) == 1
