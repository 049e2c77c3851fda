"""A compiled filter or goodness function."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from nbdsvc import errors
from nbdsvc.scheduler.expressions import variables as known
from nbdsvc.scheduler.expressions.values import FaultyExpressionError, Value

if TYPE_CHECKING:
    from nbdsvc.scheduler.expressions.parsing import Node

# Size of the cache: each backend has two expressions at most; a larger cache would only have unused ones.
_KEPT = 1000


@dataclass(frozen=True)
class Expression:
    """A parsed expression. setting: its origin, for errors."""

    setting: str
    text: str
    _node: "Node"

    @property
    def names(self) -> Collection[str]:
        """The variables in the expression: stats.host ..."""
        return self._node.names.keys()

    def value(self, variables: Mapping[str, Mapping[str, Any]]) -> Value:
        """The value for these variables (group -> name -> value). ConfigError without a value: division by zero ..."""
        try:
            return self._node.value(variables)
        except FaultyExpressionError as error:
            raise errors.ConfigError(setting=self.setting, reason=str(error)) from None


@lru_cache(_KEPT)
def compile_expression(text: str, setting: str) -> Expression:
    """Parse an expression. Raises ConfigError, which names the setting and the column of the error."""
    # Imported here, because lark is needed only where a backend has such a function.
    from nbdsvc.scheduler.expressions.parsing import parse

    try:
        node = parse(text)
        known.check(node.names)
    except FaultyExpressionError as error:
        raise errors.ConfigError(setting=setting, reason=str(error)) from None
    return Expression(setting, text, node)
