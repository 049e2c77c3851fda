"""The levels of loggers by prefix."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdsvc import errors
from nbdsvc.log_levels import LogLevels

_NAMES = ["nbdsvc", "nbdsvc.volumes.create", "nbdsvc.volumes.delete", "nbdsvc.api.server", "drivers.file"]
_PREFIXES = ["", "n", "nbdsvc", "nbdsvc.volumes", "nbdsvc.volumes.c", "drivers"]
_LEVELS = ["debug", "info", "warning", "error"]
_METHODS = [*_LEVELS, "exception", "critical"]


@given(st.lists(st.tuples(st.sampled_from(_PREFIXES), st.sampled_from(_LEVELS)), max_size=8))
def test_the_last_setting_of_a_logger_counts(settings: list[tuple[str, str]]) -> None:
    """Whatever was set before, with longer and shorter prefixes, and whichever was looked at in between."""
    levels, expected = LogLevels("warning"), dict.fromkeys(_NAMES, "warning")
    for prefix, level in settings:
        levels.set(prefix, level.upper())
        expected |= {name: level for name in _NAMES if name.startswith(prefix)}
        for name in _NAMES:
            assert levels.of(name) == expected[name]
            written = [method for method in _METHODS if levels.lets_pass(name, method)]
            assert written == _METHODS[_LEVELS.index(expected[name]) :]


@pytest.mark.parametrize("level", ["", "loud", "10", "None"])
def test_what_is_no_level_is_refused(level: str) -> None:
    """With the levels that there are, and nothing changes."""
    levels = LogLevels()
    with pytest.raises(errors.InvalidInput, match="DEBUG, INFO, WARNING, ERROR"):
        levels.set("", level)
    assert levels.of("nbdsvc") == "info"


def test_only_what_logs_is_listed() -> None:
    """Loggers of loaded modules, by prefix."""
    import nbdsvc.operations.engine  # noqa: F401 - it has a logger

    found = LogLevels().of_loggers("nbdsvc.operations")
    assert found["nbdsvc.operations.engine"] == "INFO"
    assert all(name.startswith("nbdsvc.operations") for name in found)
