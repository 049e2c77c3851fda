"""Converts values from files and environment variables to the types of the settings."""

import tomllib
from pathlib import Path
from typing import Any

from nbdsvc import errors


def convert(key: str, value: Any, default: Any) -> Any:
    """`value` converted to the type of the default; text comes from the environment. ConfigError names the setting."""
    try:
        if isinstance(default, bool):
            return (
                value
                if isinstance(value, bool)
                else {"true": True, "1": True, "false": False, "0": False}[str(value).lower()]
            )
        if isinstance(default, tuple):
            return tuple(value.split(",") if isinstance(value, str) else value)
        if isinstance(default, dict):
            return _table(value) if isinstance(value, str) else dict(value)
        if isinstance(default, Path) or key in ("tokens_file", "image_ca_file", "backup_key_file", "glance_user_file"):
            return Path(value).absolute()  # exports outlive this process, and run in / (exports/nbd/launch.py)
        return type(default)(value)
    except (KeyError, TypeError, ValueError) as error:
        raise errors.ConfigError(setting=key, reason=f"{value!r} is not a {type(default).__name__}") from error


def _table(text: str) -> dict[str, Any]:
    """Parse lines of TOML, or the inside of an inline table, because a variable in a unit file has only one line."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        table: dict[str, Any] = tomllib.loads(f"table = {{ {text} }}")["table"]
        return table
