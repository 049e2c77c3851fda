"""`nbdsvc backup`"""

import json
import sys
from typing import Any

import click

from nbdsvc import units
from nbdsvc.cli import show
from nbdsvc.cli.client import Client

_COLUMNS = ("id", "name", "status", "size", "volume_id", "is_incremental", "data_timestamp")


@click.group()
def backup() -> None:
    """Create, list, show, verify, restore and delete backups; free what no backup needs."""


@backup.command("list")
@click.option("--all-projects", is_flag=True)
@click.option("--volume", help="Of this volume only, also of one that is gone.")
@click.option("--status")
@show.json_option
def list_backups(all_projects: bool, volume: str | None, status: str | None, as_json: bool) -> None:
    """List backups."""
    wanted = {"all_tenants": 1 if all_projects else None, "volume_id": volume, "status": status}
    show.rows(Client().get("backups", "detail", **wanted)["backups"], _COLUMNS, as_json)


@backup.command("show")
@click.argument("backup")
@show.json_option
def show_backup(backup: str, as_json: bool) -> None:
    """Show one backup."""
    show.one(Client().find("backups", backup), as_json)


@backup.command()
@click.argument("volume")
@click.option("--name")
@click.option("--snapshot", help="Back up this snapshot of VOLUME.")
@click.option("--incremental", is_flag=True, help="Build on the newest backup of VOLUME.")
@click.option("--force", is_flag=True, help="Also while the volume is in use.")
@click.option("--no-wait", is_flag=True)
@show.json_option
def create(
    volume: str, name: str | None, snapshot: str | None, incremental: bool, force: bool, no_wait: bool, as_json: bool
) -> None:
    """Back up VOLUME."""
    client = Client()
    body: dict[str, Any] = {
        "volume_id": client.find("volumes", volume)["id"],
        "name": name,
        "incremental": incremental,
        "force": force,
    }
    if snapshot is not None:
        body["snapshot_id"] = client.find("snapshots", snapshot)["id"]
    made = client.post("backups", body={"backup": body})["backup"]
    if not no_wait:
        show.follow(client, made["id"], as_json)
    show.one(client.find("backups", made["id"]), as_json)


@backup.command()
@click.argument("backup")
@click.option("--volume", help="Overwrite this volume, which is not in use; without it a new one is made.")
@click.option("--name", help="Of the new volume.")
@show.json_option
def restore(backup: str, volume: str | None, name: str | None, as_json: bool) -> None:
    """Restore BACKUP, each byte of which is verified."""
    if volume is not None and name is not None:
        raise click.UsageError("--volume and --name: a volume that is overwritten keeps its name")
    client = Client()
    body: dict[str, Any] = {"name": name}
    if volume is not None:
        body = {"volume_id": client.find("volumes", volume)["id"]}
    id = client.find("backups", backup)["id"]
    made = client.post("backups", id, "restore", body={"restore": body})["restore"]
    show.follow(client, made["volume_id"], as_json)
    show.one(client.find("volumes", made["volume_id"]), as_json)


@backup.command()
@click.argument("backups", nargs=-1, required=True)
def delete(backups: tuple[str, ...]) -> None:
    """Delete backups, and free what no other one needs."""
    client = Client()
    for name in backups:
        id = client.find("backups", name)["id"]
        client.delete("backups", id)
        show.follow(client, id, quiet=False)


@backup.command()
@click.argument("backup")
@show.json_option
def verify(backup: str, as_json: bool) -> None:
    """Read every chunk of BACKUP and prove that it is what was written. What is not makes the backup `error`."""
    client = Client()
    id = client.find("backups", backup)["id"]
    client.act("backups", id, "nbdsvc-verify")
    ended = show.follow(client, id, as_json)
    if as_json:
        show.one(ended, as_json)
    else:
        click.echo(f"{units.human(ended['progress']['total'])} read and found as they were")


@backup.command()
@click.option("--end-session", "sessions", multiple=True, metavar="BACKUP", help="It, or a sweep, has ended.")
@show.json_option
def gc(sessions: tuple[str, ...], as_json: bool) -> None:
    """Free what no backup in the store needs, and say what has to end before the rest can go. For administrators."""
    found = Client().post("backups", "collect", body={"end_sessions": list(sessions)})["collected"]
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    click.echo(f"{found['chunks']} chunks freed, {units.human(found['bytes'])}")
    for backup_id in found["waiting"]:
        click.echo(f"{backup_id} is being written or swept, or its host is gone: see --end-session", err=True)
    for fault in found["faults"]:
        click.echo(fault, err=True)
    if found["faults"]:
        sys.exit(1)


@backup.command("export")
@click.argument("backup")
def export_record(backup: str) -> None:
    """Print the record of BACKUP, for `nbdsvc backup import` of another installation. For administrators."""
    client = Client()
    id = client.find("backups", backup)["id"]
    click.echo(json.dumps(client.get("backups", id, "export_record")["backup-record"]))


@backup.command("import")
@click.argument("record", type=click.File("r"), default="-")
@show.json_option
def import_record(record: Any, as_json: bool) -> None:
    """Make a backup of the record in the file RECORD, or on stdin. Its store has to be this one. For administrators."""
    try:
        content = json.loads(record.read())
    except ValueError as error:
        raise click.UsageError(f"RECORD: it is no JSON: {error}") from None
    client = Client()
    made = client.post("backups", "import_record", body={"backup-record": content})["backup"]
    show.follow(client, made["id"], as_json)
    show.one(client.find("backups", made["id"]), as_json)
