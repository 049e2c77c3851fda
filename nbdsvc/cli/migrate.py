"""`nbdsvc migrate`"""

import click

from nbdsvc.cli import show
from nbdsvc.cli.client import Client


@click.command()
@click.argument("volume")
@click.argument("destination", required=False)
@click.option("--force-host-copy", is_flag=True, help="Copy it, also where its driver could move it.")
@click.option("--lock-volume", is_flag=True, help="Refuse other commands meanwhile; else they end the migration.")
@show.json_option
def migrate(volume: str, destination: str | None, force_host_copy: bool, lock_volume: bool, as_json: bool) -> None:
    """Move VOLUME to the pool DESTINATION: host@backend#pool, or to one that the scheduler chooses; in use, on its host.

    To end it, cancel its operation: until the copy is whole, the volume is where it was.
    """
    client = Client()
    id = client.find("volumes", volume)["id"]
    body = {"host": destination, "force_host_copy": force_host_copy, "lock_volume": lock_volume}
    client.act("volumes", id, "os-migrate_volume", body)
    show.follow(client, id, as_json)
    show.one(client.find("volumes", id), as_json)
