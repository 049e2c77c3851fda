"""`nbdsvc volume`"""

from typing import Any

import click

from nbdsvc import errors, units
from nbdsvc.cli import show
from nbdsvc.cli.client import Client
from nbdsvc.cli.pairs import pairs
from nbdsvc.cli.parameter_types import SIZE

_ELSEWHERE = "a device over NBD grows by itself, an iSCSI disk when its session is rescanned"
# The microversion of os-reimage.
_REIMAGE_VERSION = "volume 3.68"
_COLUMNS = ("id", "name", "status", "size", "volume_type", "bootable")


@click.group()
def volume() -> None:
    """Create, list, show, extend, reimage, upload and delete volumes."""


@volume.command("list")
@click.option("--all-projects", is_flag=True)
@click.option("--status")
@show.json_option
def list_volumes(all_projects: bool, status: str | None, as_json: bool) -> None:
    """List volumes."""
    found = Client().get("volumes", "detail", all_tenants=1 if all_projects else None, status=status)["volumes"]
    show.rows(found, _COLUMNS, as_json)


@volume.command("show")
@click.argument("volume")
@show.json_option
def show_volume(volume: str, as_json: bool) -> None:
    """Show one volume."""
    show.one(Client().find("volumes", volume), as_json)


@volume.command()
@click.argument("size", type=SIZE, required=False)
@click.option("--name")
@click.option("--image", help="Image id or name, allowed path, or http(s) URL.")
@click.option("--snapshot")
@click.option("--source", help="Volume to clone.")
@click.option("--type", "volume_type")
@click.option("--metadata", multiple=True, metavar="KEY=VALUE")
@click.option("--no-wait", is_flag=True)
@show.json_option
def create(size: int | None, metadata: tuple[str, ...], no_wait: bool, as_json: bool, **options: Any) -> None:
    """Create a volume of SIZE GiB, blank or from an image, a snapshot or a volume."""
    _check_create(options)
    client = Client()
    body = {
        "size": size,
        "name": options["name"],
        "imageRef": options["image"],
        "volume_type": options["volume_type"],
        "metadata": pairs("--metadata", metadata),
    }
    body["snapshot_id"] = (
        client.find("snapshots", options["snapshot"])["id"] if options["snapshot"] is not None else None
    )
    body["source_volid"] = client.find("volumes", options["source"])["id"] if options["source"] is not None else None
    made = client.post("volumes", body={"volume": body})["volume"]
    if not no_wait:
        show.follow(client, made["id"], as_json)
        made = client.find("volumes", made["id"])
    show.one(made, as_json)


def _check_create(options: dict[str, Any]) -> None:
    given = {f"--{name}": options[name] for name in ("image", "snapshot", "source") if options[name] is not None}
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)}: a volume is filled from one of them")
    if "" in given.values():
        raise click.UsageError(f"{next(iter(given))}: it is empty")


@volume.command()
@click.argument("volume")
@click.argument("new_size", type=SIZE)
@show.json_option
def extend(volume: str, new_size: int, as_json: bool) -> None:
    """Grow to NEW_SIZE GiB, also while attached."""
    client = Client()
    id = client.find("volumes", volume)["id"]
    client.act("volumes", id, "os-extend", {"new_size": new_size})
    grown = _ended(client, id, as_json)
    _report_devices(grown)


def _ended(client: Client, id: str, as_json: bool) -> dict[str, Any]:
    """The volume after its operation, printed where JSON is wanted."""
    show.follow(client, id, as_json)
    found = client.find("volumes", id)
    if as_json:
        show.one(found, as_json)
    return found


def _report_devices(volume: dict[str, Any]) -> None:
    """Wait for this host's device to grow; print on stderr what the other hosts have to do."""
    from nbdsvc.connectors.host import HostConnector

    connector = HostConnector()
    try:
        here = connector.find(volume["id"])
    except (OSError, ValueError):  # this user may not read the attachments
        here = None
    if here and (growth := connector.await_growth(here, volume["size"] * units.GiB)):
        click.echo(f"{here.device} keeps its size: {growth}", err=True)
    for attachment in volume["attachments"]:
        if here is None or attachment["attachment_id"] != here.attachment_id:
            place = attachment["host_name"] or attachment["server_id"] or "another host"
            click.echo(f"attachment {attachment['attachment_id']} on {place}: {_ELSEWHERE}", err=True)


@volume.command()
@click.argument("volume")
@click.argument("snapshot")
@show.json_option
def revert(volume: str, snapshot: str, as_json: bool) -> None:
    """Give VOLUME the bytes of its newest snapshot again; what was written since is lost."""
    client = Client()
    id = client.find("volumes", volume)["id"]
    client.act("volumes", id, "revert", {"snapshot_id": client.find("snapshots", snapshot)["id"]})
    _ended(client, id, as_json)


@volume.command()
@click.argument("volume")
@click.argument("image")
@click.option("--reserved", is_flag=True, help="Also while it is reserved.")
@show.json_option
def reimage(volume: str, image: str, reserved: bool, as_json: bool) -> None:
    """Write IMAGE over VOLUME, and zeros behind it; what was in it is lost."""
    client = Client()
    id = client.find("volumes", volume)["id"]
    body = {"image_id": _image_id(client, image), "reimage_reserved": reserved}
    client.act("volumes", id, "os-reimage", body, _REIMAGE_VERSION)
    _ended(client, id, as_json)


def _image_id(client: Client, id_or_name: str) -> str:
    found = [each["id"] for each in client.get("images")["images"] if id_or_name in (each["id"], each["name"])]
    if not found:
        raise errors.NotFound(resource="Image", id=id_or_name)
    if len(found) > 1:
        raise errors.Conflict(reason=f"{len(found)} images are called {id_or_name}: use the id")
    return str(found[0])


@volume.command()
@click.argument("volume")
@click.argument("image_name")
@click.option("--format", "disk_format", type=click.Choice(["raw", "qcow2"]), default="qcow2")
@click.option("--force", is_flag=True, help="Also while it is in use.")
@show.json_option
def upload(volume: str, image_name: str, disk_format: str, force: bool, as_json: bool) -> None:
    """Make an image of a volume, and print its id."""
    client = Client()
    id = client.find("volumes", volume)["id"]
    body = {"image_name": image_name, "disk_format": disk_format, "force": force}
    made = client.act("volumes", id, "os-volume_upload_image", body)["os-volume_upload_image"]
    show.follow(client, id, as_json)
    if as_json:
        show.one(made, as_json)
    else:
        click.echo(made["image_id"])


@volume.command()
@click.argument("volumes", nargs=-1, required=True)
@click.option("--cascade", is_flag=True, help="Delete its snapshots too.")
def delete(volumes: tuple[str, ...], cascade: bool) -> None:
    """Delete volumes."""
    client = Client()
    for name in volumes:
        id = client.find("volumes", name)["id"]
        client.delete("volumes", id, cascade=True if cascade else None)
        show.follow(client, id, quiet=False)
