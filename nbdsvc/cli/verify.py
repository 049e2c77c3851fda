"""`nbdsvc verify`"""

import click

from nbdsvc import units
from nbdsvc.cli import show
from nbdsvc.cli.client import Client


@click.command()
@click.argument("volume")
@click.option("--record", is_flag=True, help="Make new digests of what it holds now, to compare with later.")
@show.json_option
def verify(volume: str, record: bool, as_json: bool) -> None:
    """Read VOLUME from its storage and compare it with the digests that were made when it was filled.

    A difference is an error that names the offset and both digests. A volume that was attached for writing since has none.
    """
    client = Client()
    id = client.find("volumes", volume)["id"]
    client.act("volumes", id, "nbdsvc-verify", {"record": record})
    ended = show.follow(client, id, as_json)
    if as_json:
        show.one(ended, as_json)
        return
    size = units.human(ended["progress"]["total"])
    click.echo(f"{size} read; digests recorded" if record else f"{size} read and found as they were")
