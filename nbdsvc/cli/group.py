"""`nbdsvc group`"""

import click

from nbdsvc.cli import show
from nbdsvc.cli.client import Client
from nbdsvc.cli.pairs import pairs

_COLUMNS = ("id", "name", "status", "availability_zone", "replication_status")
_SNAPSHOT_COLUMNS = ("id", "name", "status", "group_id", "created_at")


@click.group()
def group() -> None:
    """Create, change, snapshot, copy and delete groups of volumes."""


@group.command("list")
@show.json_option
def list_groups(as_json: bool) -> None:
    """List groups."""
    show.rows(Client().get("groups", "detail")["groups"], _COLUMNS, as_json)


@group.command("show")
@click.argument("group")
@show.json_option
def show_group(group: str, as_json: bool) -> None:
    """Show one group with its volumes."""
    client = Client()
    id = client.find("groups", group)["id"]
    show.one(client.get("groups", id, list_volume=True)["group"], as_json)


@group.command()
@click.option("--type", "group_type", required=True, help="Group type.")
@click.option("--volume-type", "volume_types", multiple=True, required=True, help="A type that its volumes may have.")
@click.option("--name")
@show.json_option
def create(group_type: str, volume_types: tuple[str, ...], name: str | None, as_json: bool) -> None:
    """Create a group; volumes join it when they are created, or by `add`."""
    client = Client()
    body = {"group_type": group_type, "volume_types": list(volume_types), "name": name}
    made = client.post("groups", body={"group": body})["group"]
    show.follow(client, made["id"], as_json)
    show.one(client.find("groups", made["id"]), as_json)


@group.command()
@click.argument("group")
@click.argument("volumes", nargs=-1, required=True)
def add(group: str, volumes: tuple[str, ...]) -> None:
    """Let VOLUMES join GROUP."""
    _change(group, "add_volumes", volumes)


@group.command()
@click.argument("group")
@click.argument("volumes", nargs=-1, required=True)
def remove(group: str, volumes: tuple[str, ...]) -> None:
    """Let VOLUMES leave GROUP; they are not deleted."""
    _change(group, "remove_volumes", volumes)


def _change(group: str, field: str, volumes: tuple[str, ...]) -> None:
    client = Client()
    id = client.find("groups", group)["id"]
    ids = ",".join(client.find("volumes", each)["id"] for each in volumes)
    client.put("groups", id, body={"group": {field: ids}})
    show.follow(client, id, quiet=False)


@group.command()
@click.argument("groups", nargs=-1, required=True)
@click.option("--volumes", is_flag=True, help="Delete its volumes too.")
def delete(groups: tuple[str, ...], volumes: bool) -> None:
    """Delete groups."""
    client = Client()
    for name in groups:
        id = client.find("groups", name)["id"]
        client.act("groups", id, "delete", {"delete-volumes": volumes})
        show.follow(client, id, quiet=False)


@group.command()
@click.argument("group")
@click.option("--name")
@show.json_option
def snapshot(group: str, name: str | None, as_json: bool) -> None:
    """Take a snapshot of all volumes of GROUP, of one moment; say on stderr how long writers waited for it."""
    client = Client()
    body = {"group_id": client.find("groups", group)["id"], "name": name}
    made = client.post("group_snapshots", body={"group_snapshot": body})["group_snapshot"]
    operation = show.follow(client, made["id"], as_json)
    click.echo(operation["progress"]["text"], err=True)
    show.one(client.find("group_snapshots", made["id"]), as_json)


@group.command()
@show.json_option
def snapshots(as_json: bool) -> None:
    """List group snapshots."""
    found = Client().get("group_snapshots", "detail")["group_snapshots"]
    show.rows(found, _SNAPSHOT_COLUMNS, as_json)


@group.command("delete-snapshot")
@click.argument("snapshots", nargs=-1, required=True)
def delete_snapshot(snapshots: tuple[str, ...]) -> None:
    """Delete group snapshots."""
    client = Client()
    for name in snapshots:
        id = client.find("group_snapshots", name)["id"]
        client.delete("group_snapshots", id)
        show.follow(client, id, quiet=False)


@group.command()
@click.option("--snapshot", help="Group snapshot to copy.")
@click.option("--group", "source", help="Group to copy, none of whose volumes is in use.")
@click.option("--name")
@show.json_option
def copy(snapshot: str | None, source: str | None, name: str | None, as_json: bool) -> None:
    """Create a group with copies of the volumes of a group snapshot or of another group."""
    if (snapshot is None) == (source is None):
        raise click.UsageError("give either --snapshot or --group")
    client = Client()
    body: dict[str, str | None] = {"name": name}
    if snapshot is not None:
        body["group_snapshot_id"] = client.find("group_snapshots", snapshot)["id"]
    else:
        body["source_group_id"] = client.find("groups", str(source))["id"]
    made = client.post("groups", "action", body={"create-from-src": body})["group"]
    show.follow(client, made["id"], as_json)
    show.one(client.find("groups", made["id"]), as_json)


@group.group("type")
def group_type() -> None:
    """List and create group types."""


@group_type.command("list")
@show.json_option
def list_types(as_json: bool) -> None:
    """List group types."""
    show.rows(Client().get("group_types")["group_types"], ("id", "name", "is_public", "group_specs"), as_json)


@group_type.command("create")
@click.argument("name")
@click.option("--spec", "specs", multiple=True, metavar="KEY=VALUE", help="A group spec.")
@click.option("--consistent", is_flag=True, help="A group snapshot that is not of one moment is an error.")
@click.option("--private", is_flag=True)
@show.json_option
def create_type(name: str, specs: tuple[str, ...], consistent: bool, private: bool, as_json: bool) -> None:
    """Create a group type. For administrators."""
    found = pairs("--spec", specs)
    if consistent:
        found["consistent_group_snapshot_enabled"] = "<is> True"
    body = {"name": name, "group_specs": found, "is_public": not private}
    show.one(Client().post("group_types", body={"group_type": body})["group_type"], as_json)
