"""Planted differences of volumes and snapshots, and of objects without a row."""

import os
from collections.abc import Callable
from dataclasses import replace

from planting import Planted
from plants import case

from nbdsvc.model import names
from nbdsvc.units import GiB

# Volumes


@case("volume.object_gone")
def _object_gone(w: Planted) -> str:
    id = w.volume()
    w.path(id).unlink()
    return id


@case("volume.object_gone")
def _object_of_an_exported_volume_gone(w: Planted) -> str:
    id = w.volume()
    w.attach(id)
    w.path(id).unlink()
    return id


@case("volume.misplaced")
def _misplaced(w: Planted) -> str:
    id = w.volume()
    path = w.path(id)
    other = "b" if path.parts[-3] == "a" else "a"
    path.rename(w.state / other / "volumes" / path.name)
    return id


@case("volume.misplaced")
def _misplaced_by_its_row(w: Planted) -> str:
    id = w.volume()
    other = "b" if w.path(id).parts[-3] == "a" else "a"
    w.sql("UPDATE volumes SET pool = ? WHERE id = ?", other, id)
    return id


@case("volume.twice")
def _twice(w: Planted) -> str:
    id = w.volume()
    w.plant_file("c", names.volume_name(id))
    return id


@case("volume.leaving")
def _leaving(w: Planted) -> str:
    """Its former object could not be removed yet: the service knows of it."""
    id = w.volume()
    other = "b" if w.path(id).parts[-3] == "a" else "a"
    w.plant_file(other, names.volume_name(id))
    w.sql("INSERT INTO moves (id, operation_id, size, host, backend, pool, switched, created_at) "
          "SELECT id, id, size, host, backend, ?, 1, created_at FROM volumes WHERE id = ?", other, id)  # fmt: skip
    return id


@case("volume.smaller")
def _smaller(w: Planted) -> str:
    id = w.volume(size=2)
    os.truncate(w.path(id), GiB)
    return id


@case("volume.larger")
def _larger(w: Planted) -> str:
    id = w.volume()
    os.truncate(w.path(id), 3 * GiB)
    return id


@case("volume.unmarked")
def _unmarked(w: Planted) -> str:
    id = w.volume()
    os.removexattr(w.path(id), "user.nbdsvc.owner")
    return id


@case("volume.backend_gone")
def _backend_gone(w: Planted) -> str:
    id = w.volume()
    w.path(id).unlink()
    w.sql("UPDATE volumes SET backend = 'old' WHERE id = ?", id)
    return id


@case("volume.pool_gone")
def _pool_gone(w: Planted) -> str:
    id = w.volume()
    w.path(id).unlink()
    w.sql("UPDATE volumes SET pool = 'old' WHERE id = ?", id)
    return id


@case("volume.host_unknown")
def _host_unknown(w: Planted) -> str:
    id = w.volume()
    w.path(id).unlink()
    w.sql("UPDATE volumes SET host = 'far' WHERE id = ?", id)
    return id


@case("volume.type_gone")
def _type_gone(w: Planted) -> str:
    id = w.volume("one")
    w.sql("DELETE FROM volume_types WHERE name = 'one'")
    return id


def _stuck(status: str) -> Callable[[Planted], str]:
    def plant(w: Planted) -> str:
        id = w.volume()
        w.sql("UPDATE volumes SET status = ? WHERE id = ?", status, id)
        return id

    return plant


for _status in ("uploading", "maintenance", "retyping", "backing-up"):
    case("volume.stuck")(_stuck(_status))


@case("volume.contradicted")
def _in_use_without_attachment(w: Planted) -> str:
    return _stuck("in-use")(w)


@case("volume.contradicted")
def _available_and_attached(w: Planted) -> str:
    id = w.volume()
    w.attach(id)
    w.sql("UPDATE volumes SET status = 'available' WHERE id = ?", id)
    return id


@case("volume.target_size")
def _target_size(w: Planted) -> str:
    id = w.volume()
    w.sql("UPDATE volumes SET target_size = 9 WHERE id = ?", id)
    return id


@case("volume.failed")
def _failed(w: Planted) -> str:
    return _stuck("error")(w)


# Snapshots and objects


@case("snapshot.object_gone")
def _snapshot_gone(w: Planted) -> str:
    id = w.snapshot(w.volume())
    w.path(id, "snapshot").unlink()
    return id


@case("snapshot.misplaced")
def _snapshot_misplaced(w: Planted) -> str:
    id = w.snapshot(w.volume())
    path = w.path(id, "snapshot")
    other = "b" if path.parts[-3] == "a" else "a"
    path.rename(w.state / other / "snapshots" / path.name)
    return id


@case("snapshot.unmarked")
def _snapshot_unmarked(w: Planted) -> str:
    id = w.snapshot(w.volume())
    os.removexattr(w.path(id, "snapshot"), "user.nbdsvc.owner")
    return id


@case("snapshot.other_origin")
def _other_origin(w: Planted) -> str:
    id = w.snapshot(w.volume())
    os.setxattr(w.path(id, "snapshot"), "user.nbdsvc.origin", names.new_id().encode())
    return id


@case("snapshot.lost")
def _snapshot_lost(w: Planted) -> str:
    """As a classic LVM snapshot that ran full; the simulator has none."""
    id = w.snapshot(w.volume())
    driver = w.host.backends["two"].driver
    listed = driver.list_objects
    driver.list_objects = lambda: [  # type: ignore[method-assign]
        replace(each, fault="it ran full") if each.id == id else each for each in listed()
    ]
    return id


@case("snapshot.volume_gone")
def _snapshot_without_volume(w: Planted) -> str:
    volume = w.volume()
    id = w.snapshot(volume)
    w.path(volume).unlink()
    w.sql("DELETE FROM volumes WHERE id = ?", volume)
    return id


@case("snapshot.stuck")
def _snapshot_stuck(w: Planted) -> str:
    id = w.snapshot(w.volume())
    w.sql("UPDATE snapshots SET status = 'restoring' WHERE id = ?", id)
    return id


@case("group.stuck")
def _group_stuck(w: Planted) -> str:
    return _grouped(w, "volume_groups", "status, host, backend, group_type_id, volume_types, availability_zone, replication_status",
                    "'updating', 'me', 'two', 't', '[]', 'nova', 'disabled'")  # fmt: skip


@case("group_snapshot.stuck")
def _group_snapshot_stuck(w: Planted) -> str:
    return _grouped(w, "group_snapshots", "status, group_id, group_type_id", "'deleting', 'g', 't'")


def _grouped(w: Planted, table: str, columns: str, values: str) -> str:
    id = names.new_id()
    given = f"INSERT INTO {table} (id, project_id, user_id, created_at, {columns})"
    w.sql(f"{given} VALUES (?, 'p1', 'u', '2026-11-27 00:00:00', {values})", id)
    return id


@case("snapshot.failed")
def _snapshot_failed(w: Planted) -> str:
    id = w.snapshot(w.volume())
    w.sql("UPDATE snapshots SET status = 'error' WHERE id = ?", id)
    return id


@case("object.volume_without_row")
def _object_too_many(w: Planted) -> str:
    id = names.new_id()
    w.plant_file("a", names.volume_name(id))
    return id


@case("object.volume_without_row")
def _row_gone(w: Planted) -> str:
    id = w.volume()
    w.sql("DELETE FROM volumes WHERE id = ?", id)
    return id


@case("object.snapshot_without_row")
def _snapshot_too_many(w: Planted) -> str:
    id = w.snapshot(w.volume())
    w.sql("DELETE FROM snapshots WHERE id = ?", id)
    return id
