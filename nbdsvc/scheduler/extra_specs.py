"""Whether what a pool can do meets the extra specs of a volume type, by Cinder's rules for them.

A key without a scope, or with the scope `capabilities`, is a demand on the pool; other scopes are the driver's. A value is
`<is> True`, `<in> text`, `<all-in> a b`, `<or> a <or> b`, an operator and an operand (`>= 5`, `s== text`), or the text
itself. A name with colons leads into capabilities that are tables.
"""

import operator
from collections.abc import Callable, Mapping
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
# Those with an operand behind them.
OPERATORS = (*_NUMBERS, *_TEXTS)
_TRUE = frozenset({"1", "t", "true", "y", "yes", "on"})


def demands(extra_specs: Mapping[str, str]) -> dict[str, str]:
    """The extra specs that the pool has to meet, without their scope."""
    found = {}
    for key, value in extra_specs.items():
        scope, colon, name = key.partition(":")
        if not colon or scope == "capabilities":
            found[name if colon else key] = value
    return found


def unmet(extra_specs: Mapping[str, str], capabilities: Mapping[str, Any]) -> list[str]:
    """Names of the demands that these capabilities do not meet; one that the pool does not report is not met."""
    return [name for name, value in demands(extra_specs).items() if not meets(find(capabilities, name), value)]


def find(capabilities: Mapping[str, Any], name: str) -> Any:
    """The capability of that name, or the one in tables that `a:b:c` leads to; None where there is none."""
    if name in capabilities:
        return capabilities[name]
    found: Any = capabilities
    for part in name.split(":"):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def meets(has: Any, demand: str) -> bool:
    """Whether a capability meets the value of an extra spec; of a list, whether one of its items does. None meets nothing."""
    if has is None:
        return False
    items = list(has) if isinstance(has, list | tuple) else [has]
    verb, _, operand = demand.strip().partition(" ")
    if verb == "<all-in>":
        return all(any(word in str(item) for item in items) for word in operand.replace("<all-in>", " ").split())
    return any(_meets(each, demand) for each in items)


def _meets(has: Any, demand: str) -> bool:
    verb, _, operand = demand.strip().partition(" ")
    operand = operand.strip()
    if verb == "<is>":
        return _is_true(has) == _is_true(operand)
    if verb == "<in>":
        return operand in str(has)
    if verb == "<or>":
        return str(has) in [each.strip() for each in demand.split("<or>") if each.strip()]
    if verb in _TEXTS:
        return _TEXTS[verb](str(has), operand)
    return _numbers(verb, has, operand) if verb in _NUMBERS and operand else str(has) == demand.strip()


def _is_true(value: Any) -> bool:
    return str(value).strip().lower() in _TRUE


def _numbers(verb: str, has: Any, operand: str) -> bool:
    try:
        return _NUMBERS[verb](float(has), float(operand))
    except (TypeError, ValueError):
        return False
