"""`nbdsvc transfer`"""

import sys

import click

from nbdsvc.cli import show
from nbdsvc.cli.client import Client

_NOUN = "volume-transfers"
# The microversion of these, by which snapshots may stay.
_VERSION = "volume 3.55"
_COLUMNS = ("id", "name", "volume_id", "created_at")


@click.group()
def transfer() -> None:
    """Offer a volume to another project, and accept one."""


@transfer.command("list")
@show.json_option
def list_transfers(as_json: bool) -> None:
    """List the transfers that the project offers."""
    show.rows(Client().get(_NOUN, "detail")["transfers"], _COLUMNS, as_json)


@transfer.command("show")
@click.argument("transfer")
@show.json_option
def show_transfer(transfer: str, as_json: bool) -> None:
    """Show one transfer."""
    show.one(Client().find(_NOUN, transfer), as_json)


@transfer.command()
@click.argument("volume")
@click.option("--name")
@click.option("--no-snapshots", is_flag=True, help="Its snapshots stay.")
@show.json_option
def create(volume: str, name: str | None, no_snapshots: bool, as_json: bool) -> None:
    """Offer VOLUME to whoever gets the key, which is printed here and never again."""
    client = Client()
    body = {"volume_id": client.find("volumes", volume)["id"], "name": name, "no_snapshots": no_snapshots}
    show.one(client.post(_NOUN, body={"transfer": body}, version=_VERSION)["transfer"], as_json)


@transfer.command()
@click.argument("id", metavar="TRANSFER")
@show.json_option
def accept(id: str, as_json: bool) -> None:
    """Accept the volume of TRANSFER, an id. The key is read from stdin: others could see it on the command line."""
    key = click.prompt("Key", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline().strip()
    if not key:
        raise click.UsageError("stdin has no key")
    client = Client()
    made = client.post(_NOUN, id, "accept", body={"accept": {"auth_key": key}}, version=_VERSION)["transfer"]
    show.one(client.find("volumes", made["volume_id"]), as_json)


@transfer.command()
@click.argument("transfers", nargs=-1, required=True)
def delete(transfers: tuple[str, ...]) -> None:
    """Withdraw transfers; their volumes are available again."""
    client = Client()
    for name in transfers:
        client.delete(_NOUN, client.find(_NOUN, name)["id"])
