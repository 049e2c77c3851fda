"""Text to nodes: an evaluation calls each node's function at most once, so that the number of nodes limits the time."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, UnexpectedToken, VisitError

from nbdsvc.scheduler.expressions import values
from nbdsvc.scheduler.expressions.grammar import GRAMMAR
from nbdsvc.scheduler.expressions.values import FaultyExpressionError, Value

Variables = Mapping[str, Mapping[str, Any]]

MAX_CHARACTERS = 4096
MAX_NODES = 1000
# The deepest nesting of parentheses, signs and choices: less than Python's stack allows below the API's frames.
MAX_DEPTH = 50


@dataclass(frozen=True)
class Node:
    """A part of an expression. names: the variables in it, each with the column of its first use, from 1."""

    value: Callable[[Variables], Value]
    size: int
    depth: int
    names: Mapping[str, int]


def parse(text: str) -> Node:
    """The expression as one node. Raises FaultyExpressionError, with the column of a fault, or for too large a text."""
    if len(text) > MAX_CHARACTERS:
        raise FaultyExpressionError(f"it has {len(text)} characters, at most {MAX_CHARACTERS} are allowed")
    try:
        node: Node = _parser().parse(text)  # type: ignore[assignment]
    except UnexpectedInput as error:
        raise FaultyExpressionError(_syntax_error(text, error)) from None
    except VisitError as error:
        raise error.orig_exc from None
    return node


def _syntax_error(text: str, error: UnexpectedInput) -> str:
    at_end = isinstance(error, UnexpectedEOF) or (isinstance(error, UnexpectedToken) and error.token.type == "$END")
    if at_end or error.pos_in_stream is None:
        return f"column {len(text) + 1}: something is missing at the end"
    at = error.pos_in_stream
    found = re.match(r"[\w.]{1,40}|.", text[at:], re.DOTALL)
    hint = ""
    if isinstance(error, UnexpectedCharacters) and found and found[0].isidentifier():
        hint = ": variables are written like volume.size, texts in quotes"
    return f"column {at + 1}: {found[0] if found else ''!r} is not expected here{hint}"


def _column(token: Token) -> int:
    """The column from 1, counted over all lines, because a setting usually has one line."""
    return (token.start_pos or 0) + 1


@cache
def _parser() -> Lark:
    return Lark(GRAMMAR, parser="lalr", lexer="contextual", transformer=_Nodes())


def _node(value: Callable[[Variables], Value], parts: Sequence[Node]) -> Node:
    size = 1 + sum(part.size for part in parts)
    depth = max((part.depth for part in parts), default=0) + 1
    if size > MAX_NODES:
        raise FaultyExpressionError(f"it has more than {MAX_NODES} parts")
    if depth > MAX_DEPTH:
        raise FaultyExpressionError(f"it is nested more than {MAX_DEPTH} times")
    names: dict[str, int] = {}
    for part in parts:
        for name, column in part.names.items():
            names.setdefault(name, column)
    return Node(value, size, depth, names)


class _Nodes(Transformer[Token, Node]):
    """A method for each rule of the grammar; lark calls them while it parses."""

    def number(self, found: list[Token]) -> Node:
        constant = float(found[0])
        if not math.isfinite(constant):
            raise FaultyExpressionError(f"column {_column(found[0])}: the number is too large")
        return _node(lambda _variables: constant, ())

    def text(self, found: list[Token]) -> Node:
        constant = str(found[0][1:-1])
        return _node(lambda _variables: constant, ())

    def name(self, found: list[Token]) -> Node:
        name = str(found[0])
        group, _, entry = name.partition(".")

        def value(variables: Variables) -> Value:
            try:
                return values.of_variable(variables[group][entry], name)
            except KeyError:
                raise FaultyExpressionError(f"there is no {name}") from None

        return Node(value, 1, 1, {name: _column(found[0])})

    def group(self, parts: list[Node]) -> Node:
        return _node(parts[0].value, parts)

    def call(self, found: list[Any]) -> Node:
        function, *arguments = found
        if function == "abs" and len(arguments) > 1:
            raise FaultyExpressionError(f"column {_column(function)}: abs has one argument, not {len(arguments)}")
        name = str(function)
        return _node(lambda variables: values.call(name, [each.value(variables) for each in arguments]), arguments)

    def sign(self, found: list[Any]) -> Node:
        factor, part = (-1.0 if found[0] == "-" else 1.0), found[1]
        return _node(lambda variables: factor * values.number(part.value(variables)), [part])

    def raised(self, parts: list[Node]) -> Node:
        base, exponent = parts
        return _node(lambda variables: values.calculate("^", base.value(variables), exponent.value(variables)), parts)

    def _chain(self, found: list[Any]) -> Node:
        first, signs, others = found[0], [str(each) for each in found[1::2]], found[2::2]

        def value(variables: Variables) -> Value:
            result = first.value(variables)
            for sign, other in zip(signs, others, strict=True):
                result = values.calculate(sign, result, other.value(variables))
            return result  # type: ignore[no-any-return]

        return _node(value, found[0::2])

    sum = product = _chain

    def comparison(self, found: list[Any]) -> Node:
        signs, parts = [str(each) for each in found[1::2]], found[0::2]
        if len(signs) == 1:  # nearly all; a decision has some for each of its pools
            (sign,), (left, right) = signs, parts
            return _node(lambda variables: values.compare(sign, left.value(variables), right.value(variables)), parts)

        def value(variables: Variables) -> Value:
            found = [part.value(variables) for part in parts]
            return all(values.compare(sign, *two) for sign, two in zip(signs, pairwise(found), strict=True))

        return _node(value, parts)

    def negate(self, parts: list[Node]) -> Node:
        part = parts[0]
        return _node(lambda variables: not part.value(variables), parts)

    def both(self, parts: list[Node]) -> Node:
        def value(variables: Variables) -> Value:
            for part in parts:
                if not (result := part.value(variables)):
                    break
            return result

        return _node(value, parts)

    def either(self, parts: list[Node]) -> Node:
        def value(variables: Variables) -> Value:
            for part in parts:
                if result := part.value(variables):
                    break
            return result

        return _node(value, parts)

    def ternary(self, parts: list[Node]) -> Node:
        condition, then, otherwise = parts

        def value(variables: Variables) -> Value:
            return (then if condition.value(variables) else otherwise).value(variables)

        return _node(value, parts)
