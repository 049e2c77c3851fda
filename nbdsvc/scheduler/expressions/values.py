"""The operators of expressions, on numbers and texts. A fault raises FaultyExpressionError and no other error."""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

Value = float | bool | str


class FaultyExpressionError(Exception):
    """The expression is wrong, or has no value for these variables; the message is the reason."""


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
    """The value of a variable. A text with a number counts as a number, because all extra specs are texts."""
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
    """The value as a number. Raises FaultyExpressionError for a text."""
    if isinstance(value, str):
        raise FaultyExpressionError(f"'{value[:40]}' is a text, and a number is needed")
    return float(value)


def calculate(sign: str, left: Value, right: Value) -> float:
    """One floating-point operation. Raises FaultyExpressionError when the result is no finite number."""
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
    """One comparison. A number and a text are never equal; FaultyExpressionError for their order."""
    if sign in ("!=", "<>"):
        return left != right
    if sign == "==":
        return left == right
    if isinstance(left, str) != isinstance(right, str):
        raise FaultyExpressionError(f"{sign} compares a number with a text")
    return _ORDERS[sign](left, right)


def call(function: str, arguments: Sequence[Value]) -> float:
    """abs of one number, or max or min of several. Raises FaultyExpressionError for a text."""
    numbers = [number(each) for each in arguments]
    if function == "abs":
        return abs(numbers[0])
    return max(numbers) if function == "max" else min(numbers)
