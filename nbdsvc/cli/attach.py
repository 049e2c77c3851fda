"""`nbdsvc attach` and `nbdsvc detach`: a volume as a block device of this host."""

import json

import click

from nbdsvc import errors
from nbdsvc.cli.client import Client
from nbdsvc.cli.parameter_types import Count
from nbdsvc.connectors.attachment_store import Attached, is_read_only
from nbdsvc.connectors.host import HostConnector
from nbdsvc.connectors.kernel_nbd import CONNECTIONS

# More connections gain nothing with the kernel's client, and each costs the server a thread pool.
MAX_CONNECTIONS = 16


@click.command()
@click.argument("volume")
@click.option("--read-only", is_flag=True)
@click.option("--connections", type=Count(1, MAX_CONNECTIONS),
              help=f"Of the kernel's NBD client; else {CONNECTIONS}.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def attach(volume: str, read_only: bool, connections: int | None, as_json: bool) -> None:
    """Attach VOLUME to this host and print its device."""
    attached = attach_here(Client(), HostConnector(connections=connections), volume, "ro" if read_only else "rw")
    click.echo(json.dumps(attached.__dict__) if as_json else attached.device)


@click.command()
@click.argument("volume")
@click.option("--force", is_flag=True, help="Also when its server is gone: what was not flushed is lost.")
def detach(volume: str, force: bool) -> None:
    """Detach VOLUME (its name, id or device) from this host."""
    client, connector = Client(), HostConnector()
    found = [a for a in connector.all() if volume in (a.device, a.volume_id)]
    attached = found[0] if found else connector.find(client.find("volumes", volume)["id"])
    if attached is None:
        raise errors.NotFound(resource="Attached volume", id=volume)
    detach_here(client, connector, attached, force=force)


def attach_here(client: Client, connector: HostConnector, volume: str, mode: str) -> Attached:
    """Create an attachment, its device, complete it; on failure delete the attachment. Raises Conflict for another mode."""
    id = client.find("volumes", volume)["id"]
    found = connector.find(id)
    if found is not None:
        now = "ro" if is_read_only(found.device) else "rw"
        if now != mode:
            raise errors.Conflict(reason=f"it is attached here as {found.device} with mode {now}: detach it first")
        return found
    body = {"volume_uuid": id, "instance_uuid": None, "connector": connector.describe() | {"mode": mode}}
    attachment = client.post("attachments", body={"attachment": body})["attachment"]
    try:
        attached = connector.attach(id, attachment["id"], attachment["connection_info"])
    except BaseException:
        client.delete("attachments", attachment["id"])
        raise
    client.act("attachments", attachment["id"], "os-complete")
    return attached


def detach_here(client: Client, connector: HostConnector, attached: Attached, *, force: bool = False) -> None:
    """Remove the device, then the attachment, which stays while the device is busy. Raises DeviceBusy."""
    connector.detach(attached, force=force)
    client.delete("attachments", attached.attachment_id)
