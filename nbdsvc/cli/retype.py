"""`nbdsvc retype`"""

import click

from nbdsvc.cli import show
from nbdsvc.cli.client import Client


@click.command()
@click.argument("volume")
@click.argument("new_type", metavar="TYPE")
@click.option(
    "--migration-policy",
    type=click.Choice(["never", "on-demand"]),
    default="never",
    show_default=True,
    help="Whether the volume may be moved to a pool that meets the type.",
)
@show.json_option
def retype(volume: str, new_type: str, migration_policy: str, as_json: bool) -> None:
    """Give VOLUME another type, where it is or in a pool that meets the type."""
    client = Client()
    id = client.find("volumes", volume)["id"]
    client.act("volumes", id, "os-retype", {"new_type": new_type, "migration_policy": migration_policy})
    if client.find("volumes", id)["status"] == "retyping":
        show.follow(client, id, as_json)
    show.one(client.find("volumes", id), as_json)
