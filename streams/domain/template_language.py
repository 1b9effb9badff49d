"""The template language: a small, safe part of Liquid (python-liquid), compiled and checked.

There are no loops, assignments, includes or ranges, so a text can't be longer or take longer than
what was written times the longest value. Curly brackets stand only around placeholders and tags:
a ``{customer.name}`` that somebody meant as a placeholder is an error, and since no bracket of the
source ever reaches the output, no placeholder can.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from liquid import BoundTemplate, Environment, Mode, RenderContext, Token
from liquid.ast import Node
from liquid.builtin import content, illegal, output
from liquid.builtin.expressions import FilteredExpression, Path
from liquid.builtin.expressions.primitive import RangeLiteral
from liquid.builtin.tags import case_tag, comment_tag, if_tag, unless_tag
from liquid.exceptions import FilterArgumentError, LiquidError, UndefinedError
from liquid.expression import Expression
from liquid.filter import with_context
from liquid.undefined import Undefined, is_undefined
from markupsafe import escape

from schemas.records import EntityKind
from streams.domain import formats
from streams.domain.template_values import (
    FORMATS,
    GETTERS,
    NAMES,
    Attributes,
    Getter,
    Moment,
    Money,
    TextContext,
    is_known,
    roots,
)

LONGEST_SOURCE = 50_000
_LONGEST_OUTPUT = 1_000_000
_LONGEST_TAG = 200
"""Characters between brackets: the library's patterns take quadratic time in them."""
_MOST_FAULTS = 20
"""Of one text; nobody reads more."""

TAGS = ("if", "elsif", "else", "unless", "case", "when", "comment")
_KINDS = frozenset(EntityKind)
_ENDS = frozenset(("endif", "endunless", "endcase", "endcomment"))
_DELIMITER = re.compile(r"\{\{|\{%|\}\}|%\}|[{}]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_TAG_NAME = re.compile(r"\A-?\s*(\w*).*", re.DOTALL)


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """What is wrong with a template, and where: ``line`` and ``column`` count from 1."""

    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.message}"


@dataclass(frozen=True, slots=True)
class Variable:
    """A placeholder that is nothing but a variable: most are, and need none of the language's machinery."""

    path: tuple[str, ...]
    token: Token
    get: Getter

    def write(self, ctx: TextContext, write: formats.Formats) -> str:
        """The value as text; UndefinedError where it is missing."""
        root = self.path[0]
        value = None if root in _KINDS and root != ctx.kind else self.get(ctx, write)
        if isinstance(value, Attributes):
            value = value.get(self.path[2])
        if value is None or value == "":
            raise missing(".".join(self.path), self.token)
        return str(value)


@dataclass(frozen=True, slots=True)
class Compiled:
    """A template to render, or the faults for which it can't be. ``paths`` are the variables it names,
    with their index; ``steps`` what is written one after the other."""

    source: str
    html: bool
    faults: tuple[Fault, ...]
    paths: tuple[tuple[tuple[str, ...], int], ...] = ()
    template: BoundTemplate | None = None
    steps: tuple[str | Variable | Node, ...] = ()

    def fault_at(self, index: int, message: str) -> Fault:
        return _fault(self.source, index, message)

    def render(self, ctx: TextContext, write: formats.Formats) -> str:
        """The text. Raises LiquidError, or whatever formatting a value raises; ValueError when the
        template has faults or the text is longer than a megabyte."""
        if self.template is None:
            raise ValueError(str(self.faults[0]))
        context: RenderContext | None = None
        parts = []
        for step in self.steps:
            if isinstance(step, str):
                parts.append(step)
            elif isinstance(step, Variable):
                text = step.write(ctx, write)
                parts.append(escape(text) if self.html else text)
            else:
                context = context or RenderContext(self.template, globals=roots(ctx, write))
                buffer = context.get_buffer()
                step.render(context, buffer)
                parts.append(buffer.getvalue())
        text = "".join(parts)
        if len(text) > _LONGEST_OUTPUT:
            raise ValueError(f"the text is longer than {_LONGEST_OUTPUT} characters")
        return text


# Of ten thousand companies that send at the same time each has at least one: to compile it takes 170 us, as
# much as all else that a stage does for a message. Some 3 KB each.
@lru_cache(maxsize=16_384)
def compiled(source: str, *, html: bool = False) -> Compiled:
    """``source`` ready to render; with ``html`` values are escaped. Never raises."""
    faults = list(islice(_lexical_faults(source), _MOST_FAULTS))
    if faults:
        return Compiled(source, html, tuple(faults))
    try:
        template = (_HTML if html else _TEXT).from_string(source)
    except LiquidError as error:
        return Compiled(source, html, (fault_of(error, source),))
    expressions = sorted(_expressions(template.nodes), key=lambda each: each.token.start_index)
    faults.extend(islice(_static_faults(expressions, source), _MOST_FAULTS))
    if faults:
        return Compiled(source, html, tuple(sorted(faults)))
    paths = tuple((_path(each), each.token.start_index) for each in expressions if isinstance(each, Path))
    return Compiled(source, html, (), paths, template, tuple(map(_step, template.nodes)))


def _path(expression: Path) -> tuple[str, ...]:
    return tuple(map(str, expression.path))


def _step(node: Node) -> str | Variable | Node:
    if isinstance(node, content.ContentNode):
        return node.text
    if isinstance(node, output.OutputNode) and isinstance(node.expression, FilteredExpression):
        variable = node.expression.left
        if isinstance(variable, Path) and not node.expression.filters:
            path = _path(variable)
            return Variable(path, variable.token, GETTERS[path[0]][path[1]])
    return node


def missing(name: str, token: Token | None) -> UndefinedError:
    return UndefinedError(f"{name} is missing (use 'default' or 'if')", token=token)


def fault_of(error: Exception, source: str) -> Fault:
    """An error of the language with its position; of any other error only its words."""
    token = error.token if isinstance(error, LiquidError) else None
    message = str(error.message) if isinstance(error, LiquidError) else str(error)
    return _fault(source, token.start_index if token is not None else 0, message)


def _fault(source: str, index: int, message: str) -> Fault:
    before = source[: max(index, 0)]
    return Fault(before.count("\n") + 1, len(before) - before.rfind("\n"), message)


def _lexical_faults(source: str) -> Iterator[Fault]:
    if len(source) > LONGEST_SOURCE:
        yield _fault(source, LONGEST_SOURCE, f"longer than {LONGEST_SOURCE} characters")
        return
    surrogate = _SURROGATE.search(source)
    if surrogate:
        yield _fault(source, surrogate.start(), "half of a character (a lone surrogate)")
    closing, opened = "", 0
    for match in _DELIMITER.finditer(source):
        mark, at = match[0], match.start()
        if not closing:
            if mark not in ("{{", "{%"):
                yield _fault(
                    source, at, f"unexpected {mark!r}: curly brackets stand only around placeholders"
                )
            else:
                closing, opened = ("}}" if mark == "{{" else "%}"), at
        elif mark != closing:
            yield _fault(source, opened, f"'{closing}' is missing after {source[opened : opened + 2]!r}")
            return
        else:
            yield from _tag_faults(source, opened, at, closing)
            closing = ""
    if closing:
        yield _fault(source, opened, f"'{closing}' is missing after {source[opened : opened + 2]!r}")


def _tag_faults(source: str, opened: int, at: int, closing: str) -> Iterator[Fault]:
    inner = source[opened + 2 : at]
    if len(inner) > _LONGEST_TAG:
        yield _fault(source, opened, f"more than {_LONGEST_TAG} characters between brackets")
    if closing == "%}":
        name = _TAG_NAME.sub(r"\1", inner)
        if name not in TAGS and name not in _ENDS:
            yield _fault(source, opened, f"unknown tag '{name}'; there are {', '.join(TAGS)}")


def _expressions(nodes: list[Node]) -> Iterator[Expression]:
    # The context is the library's hook for includes, of which there are none here.
    nowhere = RenderContext(_TEXT.from_string(""))
    pending = list(nodes)
    while pending:
        node = pending.pop()
        pending.extend(node.children(nowhere))
        inner = list(node.expressions())
        while inner:
            expression = inner.pop()
            inner.extend(expression.children())
            yield expression


def _static_faults(expressions: list[Expression], source: str) -> Iterator[Fault]:
    for expression in expressions:
        at = expression.token.start_index
        if isinstance(expression, RangeLiteral):
            yield _fault(source, at, "ranges are not allowed")
        elif isinstance(expression, Path) and not is_known(_path(expression)):
            name = str(expression)
            yield _fault(source, at, f"unknown variable '{name}'{_nearest(name, NAMES)}")
        elif isinstance(expression, FilteredExpression):
            for used in expression.filters or ():
                if used.name not in FILTERS:
                    nearest = _nearest(used.name, tuple(FILTERS))
                    yield _fault(source, used.token.start_index, f"unknown filter '{used.name}'{nearest}")


def _nearest(name: str, names: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name[:60], names, n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


# --- filters ---------------------------------------------------------------------------------------


def _default(value: object, instead: object) -> object:
    return instead if is_undefined(value) or value is None or value == "" else value


def _upcase(value: object) -> str:
    return str(value).upper()


def _downcase(value: object) -> str:
    return str(value).lower()


def _capitalize(value: object) -> str:
    text = str(value)
    return text[:1].upper() + text[1:]


def _truncate(value: object, length: object, end: object = "...") -> str:
    if not isinstance(length, int) or length < 1:
        raise FilterArgumentError("truncate needs a number of characters", token=None)
    text, tail = str(value), str(end)
    return text if len(text) <= length else (text[: max(length - len(tail), 0)] + tail)[:length]


def _scheduled(value: object, name: str) -> Moment:
    if isinstance(value, Moment):
        return value
    # A missing value says of itself that it is missing.
    raise FilterArgumentError(f"{name} needs a scheduled time, not '{value}'", token=None)


def _date(value: object, width: object = "") -> str:
    moment = _scheduled(value, "date")
    return moment.formats.date(moment.millis, str(width))


def _time(value: object) -> str:
    moment = _scheduled(value, "time")
    return moment.formats.time(moment.millis)


@with_context
def _money(value: object, *, context: RenderContext) -> str:
    if isinstance(value, Money):
        return str(value)
    write = context.resolve(FORMATS)
    assert isinstance(write, formats.Formats)
    return write.money_text(str(value))


def _phone(value: object, style: object = "international") -> str:
    return formats.phone(str(value), str(style))


FILTERS: dict[str, Callable[..., str | object]] = {
    "default": _default,
    "upcase": _upcase,
    "downcase": _downcase,
    "capitalize": _capitalize,
    "truncate": _truncate,
    "date": _date,
    "time": _time,
    "money": _money,
    "phone": _phone,
}


# --- the environment -------------------------------------------------------------------------------


class Missing(Undefined):
    """A variable without a value: false, never equal to a text, an error when written out."""

    __slots__ = ()

    def __str__(self) -> str:
        raise missing((self.hint or self.name).removesuffix(" is undefined"), self.token)


class _If(if_tag.IfTag):
    mode = Mode.STRICT  # the default drops a second else, with its text, in silence


class _Unless(unless_tag.UnlessTag):
    mode = Mode.STRICT


class _Language(Environment):
    """Only what is documented. The limits are a second fence: without loops nothing comes near them."""

    block_nesting_limit = 10
    context_depth_limit = 15
    loop_iteration_limit = 1
    local_namespace_limit = 1
    output_stream_limit = _LONGEST_OUTPUT

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        for tag in (content.Literal, output.Output, illegal.Illegal):
            self.add_tag(tag)
        for block in (_If, _Unless, case_tag.CaseTag, comment_tag.CommentTag):
            self.add_tag(block)
        for name, function in FILTERS.items():
            self.add_filter(name, function)


_TEXT = _Language(undefined=Missing)
_HTML = _Language(undefined=Missing, autoescape=True)
