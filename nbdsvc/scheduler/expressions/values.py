"""What the operators of an expression do with numbers and texts. A fault is an error of the expression, never a crash."""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

Value = float | bool | str


class FaultyExpressionError(Exception):
    """The expression is wrong, or has no value for these variables; its text says why."""


_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "^": math.pow,
}


def of_variable(found: Any, name: str) -> Value:
    """What a variable stands for: a text that is a number counts as one, as extra specs are texts."""
    if isinstance(found, bool | int | float):
        return float(found)
    if not isinstance(found, str):
        raise FaultyExpressionError(f"{name} is neither a number nor a text")
    try:
        number = float(found)
    except ValueError:
        return found
    return number if math.isfinite(number) else found


def number(value: Value) -> float:
    """The value as a number; a text is a fault."""
    if isinstance(value, str):
        raise FaultyExpressionError(f"'{value[:40]}' is a text, and a number is needed")
    return float(value)


def calculate(sign: str, left: Value, right: Value) -> float:
    """One step of arithmetic, with floating point numbers throughout. A result that is none is a fault."""
    try:
        result = _ARITHMETIC[sign](number(left), number(right))
    except ZeroDivisionError:
        raise FaultyExpressionError("division by zero") from None
    except (OverflowError, ValueError):
        raise FaultyExpressionError(f"the result of {sign} is no number") from None
    if not math.isfinite(result):
        raise FaultyExpressionError(f"the result of {sign} is too large")
    return result


def compare(sign: str, left: Value, right: Value) -> bool:
    """One comparison. A number and a text are never equal, and to order them is a fault."""
    if sign in ("!=", "<>"):
        return left != right
    if sign == "==":
        return left == right
    if isinstance(left, str) != isinstance(right, str):
        raise FaultyExpressionError(f"{sign} compares a number with a text")
    return _ORDERS[sign](left, right)


def call(function: str, arguments: Sequence[Value]) -> float:
    """abs of one number, max or min of one or more."""
    numbers = [number(each) for each in arguments]
    if function == "abs":
        return abs(numbers[0])
    return max(numbers) if function == "max" else min(numbers)
