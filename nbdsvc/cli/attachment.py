"""`nbdsvc attachment`"""

import click

from nbdsvc.cli import show
from nbdsvc.cli.client import Client

_COLUMNS = ("id", "volume_id", "status", "attach_mode", "instance", "attached_at")


@click.group()
def attachment() -> None:
    """List, show and delete attachments, also of other hosts."""


@attachment.command("list")
@click.option("--all-projects", is_flag=True)
@click.option("--volume", help="Of this volume only.")
@show.json_option
def list_attachments(all_projects: bool, volume: str | None, as_json: bool) -> None:
    """List attachments."""
    client = Client()
    id = client.find("volumes", volume)["id"] if volume is not None else None
    wanted = {"all_tenants": 1 if all_projects else None, "volume_id": id}
    show.rows(client.get("attachments", "detail", **wanted)["attachments"], _COLUMNS, as_json)


@attachment.command("show")
@click.argument("attachment")
@show.json_option
def show_attachment(attachment: str, as_json: bool) -> None:
    """Show one attachment. With --json its connection_info has the secret of its export."""
    found = Client().get("attachments", attachment)["attachment"]
    if not as_json:
        found = {**found, "connection_info": found["connection_info"].get("driver_volume_type")}
    show.one(found, as_json)


@attachment.command()
@click.argument("attachments", nargs=-1, required=True)
def delete(attachments: tuple[str, ...]) -> None:
    """End the access of attachments. Their hosts lose the device: use `nbdsvc detach` on a host that is there."""
    client = Client()
    for id in attachments:
        client.delete("attachments", id)
