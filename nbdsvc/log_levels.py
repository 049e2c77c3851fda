"""The levels of this process's loggers, by what their names begin with; they change while it runs (os-services/set-log).

A logger is named as its module. Nothing of this is kept: a start begins with the level of the settings.
"""

import sys
from collections.abc import Mapping

from nbdsvc import errors

_NUMBERS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
NAMES = tuple(name.upper() for name in _NUMBERS)


class LogLevels:
    """Levels by prefix of a logger's name; the longest one that fits counts."""

    def __init__(self, level: str = "info") -> None:
        # Replaced and never changed, so that threads that log need no lock.
        self._levels: Mapping[str, str] = {"": level}
        self._found: dict[str, int] = {}

    def set(self, prefix: str, level: str) -> None:
        """Give this level to every logger whose name begins with `prefix`, whatever it had. InvalidInput for no level."""
        kept = {key: value for key, value in self._levels.items() if not key.startswith(prefix)}
        self._levels = {**kept, prefix: checked(level)}
        self._found = {}

    def of(self, name: str) -> str:
        """The level of this logger: debug, info, warning or error."""
        levels = self._levels
        return levels[max((prefix for prefix in levels if name.startswith(prefix)), key=len)]

    def lets_pass(self, name: str, method: str) -> bool:
        """Whether this logger writes what is logged by `method` (debug, info ..., exception)."""
        found, least = self._found, self._found.get(name)
        if least is None:
            least = found[name] = _NUMBERS[self.of(name)]
        return _NUMBERS.get(method, _NUMBERS["error"]) >= least

    def of_loggers(self, prefix: str) -> dict[str, str]:
        """The levels of the loggers of loaded modules whose names begin with `prefix`, in capitals as in Cinder."""
        return {name: self.of(name).upper() for name in sorted(_loggers()) if name.startswith(prefix)}


def checked(level: str) -> str:
    """The level in lower case. InvalidInput for what is none."""
    if level.lower() not in _NUMBERS:
        reason = f"must be one of {', '.join(NAMES)}"
        raise errors.InvalidInput(field="level", value=level[:80], reason=reason)
    return level.lower()


def _loggers() -> list[str]:
    """Names of the modules that have a logger of structlog, ours and those of drivers."""
    modules = list(sys.modules.items())
    return [name for name, module in modules if _has_logger(module)]


def _has_logger(module: object) -> bool:
    return type(getattr(module, "log", None)).__module__.startswith("structlog.")


# One instance, because a process has one set of loggers.
LEVELS = LogLevels()
