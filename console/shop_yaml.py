"""YAML read strictly: every value by hand from its text, every mistake with its line and its path.

Values are taken as they are written, so that ``no`` (Norwegian) is not false and ``09:00`` not 540.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeVar

import yaml

T = TypeVar("T")

_DEEPEST = 50
"""Levels; a shop file has seven. The library's own limit is the interpreter's stack."""


@dataclass(frozen=True, slots=True, order=True)
class FileProblem:
    """``line`` counts from 1; ``field`` is the path of the value (``rules.order-ready.status``)."""

    line: int
    field: str
    message: str

    def __str__(self) -> str:
        return (
            f"line {self.line}: {self.field}: {self.message}"
            if self.field
            else f"line {self.line}: {self.message}"
        )


class Value:
    """A value in the file. What is read as the wrong thing becomes a problem and a harmless stand-in, so
    that reading goes on and one run tells of every mistake."""

    __slots__ = ("_lines", "_node", "_problems", "line", "path")

    def __init__(
        self, node: yaml.Node, path: str, line: int, problems: list[FileProblem], lines: dict[str, int]
    ) -> None:
        self._node = node
        self._problems = problems
        self._lines = lines
        self.path = path
        self.line = line
        lines[path] = line

    def fail(self, message: str) -> None:
        self._problems.append(FileProblem(self.line, self.path, message))

    def is_scalar(self) -> bool:
        return isinstance(self._node, yaml.ScalarNode)

    def text(self) -> str:
        if not isinstance(self._node, yaml.ScalarNode):
            self.fail(f"must be a text, not {_shape(self._node)}")
            return ""
        if self._node.tag == "tag:yaml.org,2002:null":
            self.fail("has no value; write one, or leave the line out")
            return ""
        return str(self._node.value)

    def parsed(self, parse: Callable[[str], T], otherwise: T) -> T:
        """The text through ``parse``, whose ValueError says what is wrong."""
        problems = len(self._problems)
        text = self.text()
        if len(self._problems) == problems:
            try:
                return parse(text)
            except ValueError as error:
                self.fail(str(error))
        return otherwise

    def entries(self) -> dict[str, Value]:
        """A mapping with keys that the person chooses (ids, languages)."""
        if not isinstance(self._node, yaml.MappingNode):
            self.fail(f"must be a mapping (key: value), not {_shape(self._node)}")
            return {}
        found: dict[str, Value] = {}
        for key, node in self._node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self._problems.append(FileProblem(line, self.path, "a key must be a text"))
                continue
            name = str(key.value)
            path = f"{self.path}.{name}" if self.path else name
            if name in found:
                first = found[name].line
                self._problems.append(FileProblem(line, path, f"is there twice; first in line {first}"))
                continue
            found[name] = Value(node, path, line, self._problems, self._lines)
        return found

    def fields(self, known: Collection[str], required: Collection[str] = ()) -> Mapping[str, Value]:
        """A mapping with fixed keys. A missing one that is ``required`` is a problem of the whole."""
        problems = len(self._problems)
        found = self.entries()
        if len(self._problems) > problems and not found:
            return found
        for name in found.keys() - set(known):
            near = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(known)}"
            found.pop(name).fail(f"is not known here; {hint}")
        for name in required:
            if name not in found:
                self.fail(f"needs {name!r}")
        return found

    def items(self) -> list[Value]:
        if not isinstance(self._node, yaml.SequenceNode):
            self.fail(f"must be a list, not {_shape(self._node)}")
            return []
        return [
            Value(node, f"{self.path}[{number}]", node.start_mark.line + 1, self._problems, self._lines)
            for number, node in enumerate(self._node.value)
        ]


@dataclass(frozen=True, slots=True)
class Document:
    """What reading has found: the lines of all paths, and the problems so far."""

    root: Value | None
    lines: dict[str, int]
    problems: list[FileProblem]


class _RefusedError(Exception):
    """YAML that is right, but not taken."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.problem = FileProblem(line, "", message)


class _Loader(yaml.SafeLoader):
    """Composes nodes, without aliases: a value under two names would have two paths, nested ones a
    billion."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        line = self.line + 1
        if self.check_event(yaml.AliasEvent):
            raise _RefusedError(line, "aliases (*name) can't be used here")
        if self.depth == _DEEPEST:
            raise _RefusedError(line, "is nested too deeply")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def read(text: str) -> Document:
    """One YAML document; ``root`` is None when it can't be read at all."""
    problems: list[FileProblem] = []
    lines: dict[str, int] = {}
    try:
        node = yaml.compose(text, Loader=_Loader)
    except _RefusedError as refused:
        return Document(None, lines, [refused.problem])
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        return Document(
            None, lines, [FileProblem(line, "", f"is not YAML: {error.problem or error.context}")]
        )
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        return Document(None, lines, [FileProblem(line, "", f"is not YAML: {error.reason}")])
    if node is None:
        return Document(None, lines, [FileProblem(1, "", "the file is empty")])
    return Document(Value(node, "", node.start_mark.line + 1, problems, lines), lines, problems)


def line_of(field: str, lines: Mapping[str, int]) -> int:
    """The line of a path, or of what it is part of."""
    while field not in lines and field:
        field = field[: max(field.rfind("."), field.rfind("["), 0)]
    return lines.get(field, 1)


def _shape(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return f"{node.value[:40]!r}" if node.value else "nothing"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
