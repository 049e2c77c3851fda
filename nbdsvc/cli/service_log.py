"""The log of a service: to standard error, with levels that may change while it runs (nbdsvc/log_levels.py)."""

import logging
import sys
from typing import Any

from nbdsvc import config, errors
from nbdsvc.cli.slim_logging import structlog
from nbdsvc.log_levels import LEVELS, checked


class _NamedLogger(structlog.WriteLogger):  # type: ignore[misc]
    """Knows the name of its module, by which its level is found."""

    def __init__(self, name: str) -> None:
        super().__init__(sys.stderr)
        self.name = name


def _make_logger(name: str = "", *_: Any) -> Any:
    return _NamedLogger(name)


def _drop(logger: Any, method: str, event: Any) -> Any:
    """Let through what the logger's level allows. structlog's own filter is fixed when a logger is first used."""
    if LEVELS.lets_pass(logger.name, method):
        return event
    raise structlog.DropEvent


def set_up(settings: config.Settings) -> None:
    """Begin with the level and the format of the settings. ConfigError for a level that there is not."""
    try:
        LEVELS.set("", checked(settings.log_level))
    except errors.InvalidInput as error:
        raise errors.ConfigError(setting="log_level", reason=error.reason) from error
    as_json = settings.log_format == "json"
    shown = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[
            _drop,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            shown,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=_make_logger,
        cache_logger_on_first_use=True,
    )
