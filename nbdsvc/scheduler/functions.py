"""The filter and goodness functions of backends, evaluated (rows S078, S079)."""

from nbdsvc import errors
from nbdsvc.driver import FILTER, GOODNESS
from nbdsvc.scheduler.candidate import Candidate, Request
from nbdsvc.scheduler.expressions import variables
from nbdsvc.scheduler.expressions.expression import compile_expression
from nbdsvc.scheduler.expressions.values import Value

_PROTOCOLS = frozenset({"stats.storage_protocol", "capabilities.storage_protocol"})
BEST = 100.0


def lacks(candidate: Candidate, request: Request) -> str | None:
    """The reason why the filter function refuses the pool, also without a value; None if it passes or is not set."""
    if candidate.filter_function is None:
        return None
    try:
        passes = any(_values(candidate.filter_function, FILTER, candidate, request))
    except errors.ConfigError as error:
        return str(error)
    return None if passes else f"the backend's filter_function is false: {candidate.filter_function[:200]}"


def goodness(candidate: Candidate, request: Request) -> float:
    """The goodness, 0 to 100. Without a function, or with no value in this range, it is 0; true is 100."""
    if candidate.goodness_function is None:
        return 0.0
    try:
        found = _values(candidate.goodness_function, GOODNESS, candidate, request)
    except errors.ConfigError:
        return 0.0
    return max(map(_score, found))


def _score(value: Value) -> float:
    if isinstance(value, bool):
        return BEST if value else 0.0
    return value if isinstance(value, float) and 0 <= value <= BEST else 0.0


def _values(text: str, setting: str, candidate: Candidate, request: Request) -> list[Value]:
    """One value, or one for each transport if the expression uses the transport. Raises ConfigError."""
    expression = compile_expression(text, setting)
    looks = not _PROTOCOLS.isdisjoint(expression.names)
    protocols = candidate.protocols if looks else candidate.protocols[:1]
    return [expression.value(variables.of(candidate, request, each)) for each in protocols]
