"""`nbdsvc snapshot`"""

import click

from nbdsvc.cli import show
from nbdsvc.cli.client import Client


@click.group()
def snapshot() -> None:
    """Create, list, show and delete snapshots."""


@snapshot.command("list")
@show.json_option
def list_snapshots(as_json: bool) -> None:
    """List snapshots."""
    show.rows(Client().get("snapshots", "detail")["snapshots"], ("id", "name", "status", "size", "volume_id"), as_json)


@snapshot.command("show")
@click.argument("snapshot")
@show.json_option
def show_snapshot(snapshot: str, as_json: bool) -> None:
    """Show one snapshot."""
    show.one(Client().find("snapshots", snapshot), as_json)


@snapshot.command()
@click.argument("volume")
@click.option("--name")
@click.option("--force", is_flag=True, help="Also while the volume is in use.")
@show.json_option
def create(volume: str, name: str | None, force: bool, as_json: bool) -> None:
    """Take a snapshot of VOLUME."""
    client = Client()
    body = {"volume_id": client.find("volumes", volume)["id"], "name": name, "force": force}
    made = client.post("snapshots", body={"snapshot": body})["snapshot"]
    show.follow(client, made["id"], as_json)
    show.one(client.find("snapshots", made["id"]), as_json)


@snapshot.command()
@click.argument("snapshots", nargs=-1, required=True)
def delete(snapshots: tuple[str, ...]) -> None:
    """Delete snapshots."""
    client = Client()
    for name in snapshots:
        id = client.find("snapshots", name)["id"]
        client.delete("snapshots", id)
        show.follow(client, id, quiet=False)
