"""Small mistakes to put into a module: what a tired engineer, or a wrong merge, might leave there.

Not touched, since a test could not or should not tell: texts, annotations, decorators (cache sizes), asserts
(they speak to the type checker), imports, and removals outside of functions (the module would not import).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_SKIPPED_FIELDS = frozenset({"annotation", "returns", "decorator_list", "bases", "format_spec"})
_SKIPPED_NODES = (ast.Assert, ast.Import, ast.ImportFrom)
_REMOVABLE = (ast.Expr, ast.Assign, ast.AugAssign, ast.Raise, ast.Continue, ast.Break, ast.Delete)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mistake: the line of the original it is in, what it was and became, and the whole new module."""

    line: int
    was: str
    became: str
    source: str


def mutants(source: str) -> list[Mutant]:
    """Every mistake in a module, in the order of its lines."""
    tree = ast.parse(source)
    found = []
    for slot in _slots(tree, inside=False):
        original = slot.get()
        was = ast.unparse(original)
        for changed in _variants(original, slot):
            slot.put(changed)
            found.append(Mutant(_line(original), was, ast.unparse(changed), ast.unparse(tree)))
            slot.put(original)
    return sorted(found, key=lambda mutant: mutant.line)


@dataclass(frozen=True, slots=True)
class _Slot:
    """A place in the tree: a field of a node, or one item of a field that is a list."""

    parent: ast.AST
    field: str
    index: int | None
    inside: bool
    """In the body of a function."""

    def get(self) -> ast.AST:
        value = getattr(self.parent, self.field)
        node = value if self.index is None else value[self.index]
        assert isinstance(node, ast.AST)
        return node

    def put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


def _slots(parent: ast.AST, *, inside: bool) -> Iterator[_Slot]:
    inside = inside or isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for field, value in ast.iter_fields(parent):
        if field in _SKIPPED_FIELDS:
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.expr | ast.stmt) and not isinstance(child, _SKIPPED_NODES):
                yield _Slot(parent, field, index, inside)
            if isinstance(child, ast.AST) and not isinstance(child, _SKIPPED_NODES):
                yield from _slots(child, inside=inside)


def _variants(node: ast.AST, slot: _Slot) -> Iterator[ast.AST]:
    match node:
        case ast.Compare():
            for number, operator in enumerate(node.ops):
                operators = [*node.ops]
                operators[number] = _COMPARISONS[type(operator)]()
                yield ast.Compare(node.left, operators, node.comparators)
        case ast.BoolOp():
            yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node.operand
        case ast.BinOp() if type(node.op) in _ARITHMETIC:
            yield ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right)
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)
        case ast.Constant(value=int() as value):
            yield ast.Constant(value + 1)
            yield ast.Constant(value - 1)
        case ast.Return(value=ast.expr() as answer) if not isinstance(answer, ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Constant()):  # a docstring
            return
        case _ if isinstance(node, _REMOVABLE) and slot.inside:
            yield ast.Pass()
    # A condition that is a comparison or a negation has its own mistakes.
    if slot.field != "test" or isinstance(node, ast.Compare | ast.BoolOp | ast.UnaryOp):
        return
    if isinstance(node, ast.expr):
        yield ast.UnaryOp(ast.Not(), node)


def _line(node: ast.AST) -> int:
    line = getattr(node, "lineno", 0)
    assert isinstance(line, int)
    return line
