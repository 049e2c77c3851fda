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

# Backends of one installation have two each at most; a larger memory would only keep what is not used any more.
_KEPT = 1000


@dataclass(frozen=True)
class Expression:
    """setting: which one it came from, for errors."""

    setting: str
    text: str
    _node: "Node"

    @property
    def names(self) -> Collection[str]:
        """The variables in it: stats.host ..."""
        return self._node.names.keys()

    def value(self, variables: Mapping[str, Mapping[str, Any]]) -> Value:
        """Its value for these variables, each by its group and name. ConfigError where there is none: division by zero ..."""
        try:
            return self._node.value(variables)
        except FaultyExpressionError as error:
            raise errors.ConfigError(setting=self.setting, reason=str(error)) from None


@lru_cache(_KEPT)
def compile_expression(text: str, setting: str) -> Expression:
    """ConfigError names the setting, and the column in which the text is wrong."""
    # Imported here: lark is needed only where a backend has such a function.
    from nbdsvc.scheduler.expressions.parsing import parse

    try:
        node = parse(text)
        known.check(node.names)
    except FaultyExpressionError as error:
        raise errors.ConfigError(setting=setting, reason=str(error)) from None
    return Expression(setting, text, node)
