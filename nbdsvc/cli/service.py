"""`nbdsvc service`"""

from typing import Any

import click

from nbdsvc.cli import show
from nbdsvc.cli.client import Client

_COLUMNS = ("host", "binary", "zone", "status", "state", "frozen", "disabled_reason", "updated_at")
_LEVELS = click.Choice(["debug", "info", "warning", "error"], case_sensitive=False)


@click.group()
def service() -> None:
    """List services, which are the backends of hosts; disable and freeze them; set log levels."""


@service.command("list")
@click.option("--host", help="A host, or host@backend.")
@click.option("--binary", help="cinder-volume.")
@show.json_option
def list_services(host: str | None, binary: str | None, as_json: bool) -> None:
    """List the services."""
    show.rows(Client().get("os-services", host=host, binary=binary)["services"], _COLUMNS, as_json)


@service.command()
@click.argument("host")
def enable(host: str) -> None:
    """Let HOST, a host or host@backend, take new volumes again."""
    _put("enable", host=host)


@service.command()
@click.argument("host")
@click.option("--reason", help="Why, for the list.")
def disable(host: str, reason: str | None) -> None:
    """Place no new volumes on HOST, a host or host@backend."""
    if reason is None:
        _put("disable", host=host)
    else:
        _put("disable-log-reason", host=host, disabled_reason=reason)


@service.command()
@click.argument("host")
def freeze(host: str) -> None:
    """Refuse what would change something on HOST, a host or host@backend. Volumes are used as before."""
    _put("freeze", host=host)


@service.command()
@click.argument("host")
def thaw(host: str) -> None:
    """End the freeze of HOST, a host or host@backend."""
    _put("thaw", host=host)


def _loggers(function: Any) -> Any:
    for option in (
        click.option("--prefix", help="What the names of the loggers begin with, as nbdsvc.volumes."),
        click.option("--server", help="A host, or host@backend."),
        click.option("--binary", help="cinder-volume for hosts, cinder-api for the API; both without it."),
    ):
        function = option(function)
    return function


@service.command("set-log")
@click.argument("level", type=_LEVELS)
@_loggers
def set_log(level: str, **target: str | None) -> None:
    """Set the log level of running processes to LEVEL, until they end."""
    _put("set-log", level=level, **target)


@service.command("get-log")
@_loggers
@show.json_option
def get_log(as_json: bool, **target: str | None) -> None:
    """Show the log levels of running processes."""
    found = _put("get-log", **target)["log_levels"]
    rows = [
        {"binary": each["binary"], "host": each["host"], "logger": name, "level": level}
        for each in found
        for name, level in each["levels"].items()
    ]
    show.rows(rows, ("binary", "host", "logger", "level"), as_json)


def _put(verb: str, **fields: str | None) -> Any:
    return Client().put("os-services", verb, body={key: value for key, value in fields.items() if value is not None})
