"""`nbdsvc quota`"""

from typing import Any

import click

from nbdsvc.cli import show
from nbdsvc.cli.client import Client
from nbdsvc.cli.pairs import pairs

_COLUMNS = ("resource", "limit", "in_use", "reserved")


@click.group()
def quota() -> None:
    """Show and set what a project may have."""


@quota.command("show")
@click.argument("project", required=False)
@show.json_option
def show_quota(project: str | None, as_json: bool) -> None:
    """Show the limits of PROJECT and what it has of them; without one, of NBDSVC_PROJECT. -1: no limit; gigabytes are GiB."""
    client = Client()
    _print(client, _named(client, project), as_json)


@quota.command("set")
@click.argument("project")
@click.argument("limits", nargs=-1, required=True, metavar="RESOURCE=LIMIT...")
@show.json_option
def set_quota(project: str, limits: tuple[str, ...], as_json: bool) -> None:
    """Set limits of PROJECT, as volumes=20 gigabytes=1000; -1: no limit. For administrators."""
    client = Client()
    wanted = {key: _number(key, value) for key, value in pairs("RESOURCE=LIMIT", limits).items()}
    client.put("os-quota-sets", project, body={"quota_set": wanted})
    _print(client, project, as_json)


@quota.command()
@click.argument("project")
@show.json_option
def reset(project: str, as_json: bool) -> None:
    """Let PROJECT have the limits of every project again. For administrators."""
    client = Client()
    client.delete("os-quota-sets", project)
    _print(client, project, as_json)


def _print(client: Client, project: str, as_json: bool) -> None:
    found = client.get("os-quota-sets", project, usage="true")["quota_set"]
    rows: list[dict[str, Any]] = [{"resource": key, **each} for key, each in found.items() if isinstance(each, dict)]
    show.rows(rows, _COLUMNS, as_json)


def _named(client: Client, project: str | None) -> str:
    found = project or client.project
    if not found:
        raise click.UsageError("name the PROJECT, or set NBDSVC_PROJECT")
    return found


def _number(key: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise click.UsageError(f"{key}={text}: the limit is a whole number, -1 for none") from None
