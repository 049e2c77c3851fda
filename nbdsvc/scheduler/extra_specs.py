"""Whether the capabilities of a pool meet the extra specs of a volume type, by Cinder's rules.

A key without a scope, or with the scope `capabilities`, is a requirement for the pool; other scopes are for the driver.
A value is `<is> True`, `<in> text`, `<all-in> a b`, `<or> a <or> b`, an operator and an operand (`>= 5`, `s== text`),
or the text itself. A name with colons is a path into capabilities that are tables.
"""

import operator
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

_NUMBERS: dict[str, Callable[[float, float], bool]] = {
    "=": operator.ge,  # as in Cinder, = means at least
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
}
_TEXTS: dict[str, Callable[[str, str], bool]] = {
    "s==": operator.eq,
    "s!=": operator.ne,
    "s>=": operator.ge,
    "s>": operator.gt,
    "s<=": operator.le,
    "s<": operator.lt,
}
# The operators that are followed by an operand.
OPERATORS = (*_NUMBERS, *_TEXTS)
_TRUE = frozenset({"1", "t", "true", "y", "yes", "on"})
# Size of the cache: a decision compares the same few values with what each of some hundred pools has.
_KEPT = 1000
_Test = Callable[[Any], bool]


def demands(extra_specs: Mapping[str, str]) -> dict[str, str]:
    """The extra specs that the pool has to meet, without their scope."""
    found = {}
    for key, value in extra_specs.items():
        scope, colon, name = key.partition(":")
        if not colon or scope == "capabilities":
            found[name if colon else key] = value
    return found


def unmet(demanded: Mapping[str, str], capabilities: Mapping[str, Any]) -> list[str]:
    """The demands that the capabilities do not meet, by name; one that the pool does not report is not met."""
    return [name for name, value in demanded.items() if not meets(find(capabilities, name), value)]


def find(capabilities: Mapping[str, Any], name: str) -> Any:
    """The capability of this name, or the one at the path `a:b:c` in tables; None without such a capability."""
    if name in capabilities:
        return capabilities[name]
    found: Any = capabilities
    for part in name.split(":"):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def meets(has: Any, demand: str) -> bool:
    """Whether a capability, or one item of a list, meets the value of an extra spec. None meets no value."""
    if has is None:
        return False
    items = has if isinstance(has, list | tuple) else (has,)
    verb, _, operand = demand.strip().partition(" ")
    if verb == "<all-in>":
        return all(any(word in str(item) for item in items) for word in operand.replace("<all-in>", " ").split())
    return any(map(_test(demand), items))


@lru_cache(_KEPT)
def _test(demand: str) -> _Test:
    """Whether one item meets the value of an extra spec."""
    verb, _, operand = demand.strip().partition(" ")
    operand = operand.strip()
    if verb == "<is>":
        wanted = _is_true(operand)
        return lambda has: _is_true(has) == wanted
    if verb == "<in>":
        return lambda has: operand in str(has)
    if verb == "<or>":
        allowed = {each.strip() for each in demand.split("<or>") if each.strip()}
        return lambda has: str(has) in allowed
    if verb in _TEXTS:
        return lambda has: _TEXTS[verb](str(has), operand)
    if verb in _NUMBERS and operand:
        return lambda has: _numbers(verb, has, operand)
    return lambda has: str(has) == demand.strip()


def _is_true(value: Any) -> bool:
    return str(value).strip().lower() in _TRUE


def _numbers(verb: str, has: Any, operand: str) -> bool:
    try:
        return _NUMBERS[verb](float(has), float(operand))
    except (TypeError, ValueError):
        return False
