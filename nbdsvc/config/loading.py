"""Reads the settings from files, the environment and the command line."""

import ipaddress
import os
import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from nbdsvc import errors
from nbdsvc.config.convert import convert
from nbdsvc.config.settings import Settings

DEFAULT_FILE = Path("/etc/nbdsvc/nbdsvc.toml")
PREFIX = "NBDSVC_"
# Variables that the command-line client reads (cli/client.py); they are not settings of the service.
_CLIENT = frozenset({"NBDSVC_ENDPOINT", "NBDSVC_TOKEN", "NBDSVC_PROJECT"})


def load(file: Path | None = None, environment: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """The settings in force; ConfigError names the setting that is wrong."""
    values: dict[str, Any] = {}
    for path in _files(file):
        values |= _parse(path)
    for key, text in (os.environ if environment is None else environment).items():
        if key.startswith(PREFIX) and key not in _CLIENT:
            values[key.removeprefix(PREFIX).lower()] = text
    values |= {key: value for key, value in overrides.items() if value is not None}
    return _settings(values)


def _files(file: Path | None) -> list[Path]:
    if file is not None:
        if not file.is_file():
            raise errors.ConfigError(setting="--config", reason=f"there is no file {file}")
        return [file]
    drop_ins = sorted((DEFAULT_FILE.parent / "conf.d").glob("*.toml"), key=lambda path: path.name)
    return [path for path in (DEFAULT_FILE, *drop_ins) if path.is_file()]


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise errors.ConfigError(setting=str(path), reason=str(error)) from error
    except OSError as error:
        raise errors.ConfigError(setting=str(path), reason=error.strerror or str(error)) from error


def _settings(values: dict[str, Any]) -> Settings:
    defaults = Settings()
    known = {f.name for f in fields(Settings)}
    converted = {}
    for key, value in values.items():
        if key not in known:
            raise errors.ConfigError(setting=key, reason="there is no such setting")
        converted[key] = convert(key, value, getattr(defaults, key))
    settings = replace(defaults, **converted)
    if "auth" not in values and not _is_loopback(settings.listen):
        reason = (
            "everybody who reaches this address would be an administrator: set auth = token or keystone "
            "(or noauth, if so be it)"
        )
        raise errors.ConfigError(setting="listen", reason=reason)
    return _check(settings)


def _is_loopback(address: str) -> bool:
    try:
        return address == "localhost" or ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _check(settings: Settings) -> Settings:
    for wrong, setting, reason in settings.checks():
        if wrong:
            raise errors.ConfigError(setting=setting, reason=reason)
    return settings
