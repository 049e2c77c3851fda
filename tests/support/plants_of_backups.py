"""Planted differences of backups: of their rows, of what the store has, and of what a failure left in a pool."""

import shutil
from pathlib import Path

from planting import ROOT, Planted
from plants import case

from nbdsvc.backup_store.keys import space_of
from nbdsvc.backups.create import CreateBackupRequest, create_backup
from nbdsvc.model import names


def backup(w: Planted) -> str:
    volume = w.volume()
    with w.path(volume).open("r+b") as file:
        file.write(b"content")
    made = create_backup(w.app, ROOT, CreateBackupRequest(volume)).id
    w.settle()
    return made


def folder(w: Planted) -> Path:
    return w.state / "backups" / "spaces" / space_of("p1")


@case("backup.store_away")
def _store_away(w: Planted) -> str:
    backup(w)
    (w.state / "backups").rename(w.state / "away")
    return "me"


@case("backup.object_gone")
def _manifest_gone(w: Planted) -> str:
    made = backup(w)
    (folder(w) / "manifests" / made).unlink()
    return made


@case("backup.object_without_row")
def _row_gone(w: Planted) -> str:
    made = backup(w)
    w.sql("DELETE FROM backups WHERE id = ?", made)
    return made


@case("backup.chunk_damaged")
def _chunk_damaged(w: Planted) -> str:
    backup(w)
    (chunk,) = folder(w).glob("chunks/*/*")
    (folder(w) / "damaged").mkdir()
    chunk.rename(folder(w) / "damaged" / chunk.name)
    return chunk.name


@case("backup.device_left")
def _snapshot_left(w: Planted) -> str:
    made = backup(w)
    of = w.host.database
    with of.read() as conn:
        volume = conn.exec_driver_sql("SELECT volume_id FROM backups WHERE id = ?", (made,)).scalar_one()
    snapshot = w.snapshot(volume)
    path = w.path(snapshot, "snapshot")
    shutil.move(path, path.with_name(names.snapshot_name(made)))
    w.sql("DELETE FROM snapshots WHERE id = ?", snapshot)
    return made


@case("backup.stuck")
def _backup_stuck(w: Planted) -> str:
    made = backup(w)
    w.sql("UPDATE backups SET status = 'restoring' WHERE id = ?", made)
    return made


@case("backup.stuck")
def _backup_of_a_killed_service(w: Planted) -> str:
    made = backup(w)
    w.sql("UPDATE backups SET status = 'deleting' WHERE id = ?", made)
    return made
