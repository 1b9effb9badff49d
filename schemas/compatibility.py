"""``python -m schemas.compatibility``: may the contracts change as they did?

Each ``schemas/avro/X.avsc`` is compared with ``schemas/avro/baseline/X.avsc``, what publishers and analysts
have today. Either side may be the older one, so a change must let new readers read old records (BACKWARD)
and old readers read new ones (FORWARD). ``--accept`` renews the baseline after a change that does both.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro

from schemas.contracts import CHANGES, FOLDER, LEADING

BASELINE = FOLDER / "baseline"

_PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})


@dataclass(frozen=True, slots=True)
class Break:
    """One incompatible change: in which file, at which field, and what to do instead."""

    file: str
    field: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}: {self.field}" if self.field else self.file
        return f"{where}: {self.message}"


def breaks(file: str, old: Any, new: Any) -> list[Break]:
    """What in ``new`` (a parsed .avsc) is incompatible with ``old``."""
    found = [Break(file, field, message) for field, message in _compare(_Side(old), _Side(new), old, new, "")]
    if file.removesuffix(".avsc") in CHANGES.values():
        names = [field["name"] for field in new.get("fields", ())] + [""] * len(LEADING)
        for place, (want, name) in enumerate(zip(LEADING, names, strict=False), 1):
            if want != name:
                message = (
                    f"must stay field {place}: matching reads the first fields only; add others at the end"
                )
                found.append(Break(file, want, message))
                break
    return found


class _Side:
    """A schema with its named types, so that a reference by name can be followed."""

    def __init__(self, schema: Any) -> None:
        self._named: dict[str, Any] = {}
        self._collect(schema)

    def resolve(self, schema: Any) -> Any:
        """The type itself, for a reference or a type in brackets."""
        if isinstance(schema, str) and schema not in _PRIMITIVES:
            return self._named.get(schema.rpartition(".")[2], schema)
        if isinstance(schema, dict) and isinstance(schema["type"], dict):
            return self.resolve(schema["type"])
        return schema

    def shape(self, schema: Any) -> str:
        """What must stay: kind, name of a named type, logical type; for a union the set of its branches."""
        schema = self.resolve(schema)
        if isinstance(schema, str):
            return schema
        if isinstance(schema, list):
            return "union of " + ", ".join(sorted(self.shape(branch) for branch in schema))
        parts = (schema["type"], schema.get("name", ""), schema.get("logicalType", ""))
        return " ".join(part for part in parts if part)

    def _collect(self, schema: Any) -> None:
        if isinstance(schema, list):
            for branch in schema:
                self._collect(branch)
        elif isinstance(schema, dict):
            if "name" in schema and schema["type"] in ("record", "enum", "fixed"):
                self._named[schema["name"].rpartition(".")[2]] = schema
            for inner in ("type", "items", "values"):
                if isinstance(schema.get(inner), dict | list):
                    self._collect(schema[inner])
            for field in schema.get("fields", ()):
                self._collect(field["type"])


def _compare(old: _Side, new: _Side, a: Any, b: Any, path: str) -> Iterator[tuple[str, str]]:
    a, b = old.resolve(a), new.resolve(b)
    if old.shape(a) != new.shape(b):
        yield path, f"the type changed from {old.shape(a)} to {new.shape(b)}; add a new field instead"
        return
    if isinstance(a, list):
        pairs = {old.shape(branch): branch for branch in a}
        for branch in b:
            yield from _compare(old, new, pairs[new.shape(branch)], branch, path)
    elif not isinstance(a, dict):
        return
    elif a["type"] == "record":
        yield from _fields(old, new, a, b, path)
    elif a["type"] == "enum":
        yield from _symbols(a, b, path)
    elif a["type"] in ("array", "map"):
        inner = "items" if a["type"] == "array" else "values"
        yield from _compare(old, new, a[inner], b[inner], f"{path}[]")


def _fields(old: _Side, new: _Side, a: Any, b: Any, path: str) -> Iterator[tuple[str, str]]:
    before = {field["name"]: field for field in a["fields"]}
    after = {field["name"]: field for field in b["fields"]}
    for name, field in before.items():
        inner = f"{path}.{name}".lstrip(".")
        if name in after:
            yield from _compare(old, new, field["type"], after[name]["type"], inner)
            if "default" in field and "default" not in after[name]:
                yield inner, "lost its default: publishers that leave it out would fail; give it one"
        elif "default" not in field:
            yield inner, "was removed or renamed, and has no default: old readers need it; put it back"
    for name, field in after.items():
        if name not in before and "default" not in field:
            inner = f"{path}.{name}".lstrip(".")
            yield inner, "is new and has no default: old records don't have it; give it a default"


def _symbols(a: Any, b: Any, path: str) -> Iterator[tuple[str, str]]:
    removed = [symbol for symbol in a["symbols"] if symbol not in b["symbols"]]
    added = [symbol for symbol in b["symbols"] if symbol not in a["symbols"]]
    if removed and "default" not in b:
        yield path, f"lost {', '.join(removed)}: old records have it; put it back"
    if added and "default" not in a:
        yield path, f"gained {', '.join(added)}: old readers fail at it; add a new field instead"


def check(folder: Path = FOLDER, baseline: Path = BASELINE) -> tuple[list[Break], list[str]]:
    """(what is incompatible, names of the files that changed compatibly or are new)."""
    found: list[Break] = []
    changed: list[str] = []
    current = {path.name: path for path in sorted(folder.glob("*.avsc"))}
    for path in sorted(baseline.glob("*.avsc")):
        if path.name not in current:
            found.append(Break(path.name, "", "the contract was removed or renamed; put it back"))
    for name, path in current.items():
        try:
            new = json.loads(path.read_text("utf-8"))
            fastavro.parse_schema(new)
        except Exception as error:  # noqa: BLE001 - the file is being edited by hand
            found.append(Break(name, "", f"is not an Avro schema: {type(error).__name__}: {error}"))
            continue
        if not (baseline / name).exists():
            changed.append(name)
            continue
        old = json.loads((baseline / name).read_text("utf-8"))
        found += breaks(name, old, new)
        if old != new:
            changed.append(name)
    return found, changed


def main(arguments: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """0: compatible; 1: not, with each reason on standard error."""
    parser = argparse.ArgumentParser(prog="python -m schemas.compatibility", description=__doc__)
    parser.add_argument("--accept", action="store_true", help="renew the baseline after a compatible change")
    accept = parser.parse_args(arguments).accept
    baseline = folder / BASELINE.name
    if not accept and not any(baseline.glob("*.avsc")):
        sys.stderr.write(f"{baseline} is empty: run this in the source tree, or make it with --accept\n")
        return 1
    found, changed = check(folder, baseline)
    for one in found:
        sys.stderr.write(f"incompatible: {one}\n")
    if found:
        sys.stderr.write("A contract that must change this way gets a new topic and a new file.\n")
        return 1
    if accept:
        baseline.mkdir(exist_ok=True)
        for name in changed:
            (baseline / name).write_bytes((folder / name).read_bytes())
            sys.stdout.write(f"accepted: {name}\n")
    elif changed:
        sys.stdout.write(
            f"compatible, not in the baseline yet: {', '.join(changed)}; run with --accept and commit\n"
        )
    else:
        sys.stdout.write("the contracts are those of the baseline\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
