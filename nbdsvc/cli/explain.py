"""`nbdsvc explain`"""

from typing import Any

import click

from nbdsvc import errors
from nbdsvc.cli import show
from nbdsvc.cli.client import Client
from nbdsvc.model import names


@click.command()
@click.argument("subject", metavar="[VOLUME|SNAPSHOT|BACKEND]", required=False)
@click.option("--fix", is_flag=True, help="Mend what is safe to mend, after showing it. Bytes are never removed.")
@click.option("--yes", is_flag=True, help="Mend without asking.")
@show.json_option
def explain(subject: str | None, fix: bool, yes: bool, as_json: bool) -> None:
    """Say what differs between database, storage, exports and initiators: of one volume or snapshot (by name or id), of a
    backend (HOST@BACKEND), or of everything. For administrators."""
    client = Client()
    about = _resolved(client, subject) if subject else None
    found = client.get("explain", subject=about)["findings"]
    if as_json and not fix:
        show.rows(found, (), as_json=True)
        return
    if not as_json:
        _print(found)
    chosen = [finding for finding in found if finding["fix"]]
    if fix and chosen and (yes or _agreed(chosen)):
        body = {"mend": {"keys": [finding["key"] for finding in chosen], "subject": about}}
        _report(client.post("explain", body=body)["mended"], as_json)
    elif fix and as_json:
        show.rows([], (), as_json=True)


def _resolved(client: Client, subject: str) -> str:
    """The id of a volume or snapshot of this name; an id stays, whether it has a row or not."""
    if "@" in subject or names.is_id(subject):
        return subject
    try:
        return str(client.find("volumes", subject)["id"])
    except errors.NotFound:
        return str(client.find("snapshots", subject)["id"])


def _print(found: list[dict[str, Any]]) -> None:
    for finding in found:
        click.echo(f"{finding['severity']}: {finding['message']}")
        click.echo(f"    {finding['kind']}: {finding['remedy']}")
    if not found:
        click.echo("nothing differs")


def _agreed(chosen: list[dict[str, Any]]) -> bool:
    """Asked on standard error, so that standard output stays JSON."""
    click.echo("--fix would:", err=True)
    for finding in chosen:
        click.echo(f"    {finding['fix']} ({finding['resource_type']} {finding['resource_id']})", err=True)
    return click.confirm("do it?", err=True)


def _report(mended: list[dict[str, Any]], as_json: bool) -> None:
    """Ends with a failure where one could not be mended."""
    if as_json:
        show.rows(mended, (), as_json=True)
    for each in mended if not as_json else []:
        click.echo(f"not mended: {each['key']}: {each['error']}" if each["error"] else f"mended: {each['key']}")
    if failed := sum(bool(each["error"]) for each in mended):
        raise errors.Conflict(reason=f"{failed} of {len(mended)} findings could not be mended")
