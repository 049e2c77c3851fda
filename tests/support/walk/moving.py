"""Moves: volumes go to another pool or get another type, or stay what they are and where they are; either way every byte is there."""

from typing import Any

from waiting import wait_until

from walk import check, choices
from walk.choices import action, pick, prefer
from walk.making import store_of
from walk.seasoning import season
from walk.world import SETTLE_SECONDS, STORES, TYPES, Store, Violation, Volume, World


@action(2, choices.without_snapshots)
def migrate(world: World, volume: int, pool: int, how: int, before: int) -> str:
    """To another pool of the backend; to a backend that the volume's type does not allow it is refused."""
    target = choices.near(world, choices.without_snapshots(world), volume, choices.written(world))
    season(world, target, before)
    here = str(world.path(target).parents[1].relative_to(world.service.state))
    places = [(each, f) for each in STORES for f in each.folders if f != here]
    store, folder = prefer([each for each in places if each[0] is target.store], places, pool)
    body = {"host": _full_host(store, folder), "force_host_copy": how % 2 == 0, "lock_volume": how % 3 == 0}
    if store is not target.store:
        if not world.refused(lambda: world.client.act("volumes", target.id, "os-migrate_volume", body)):
            raise Violation(f"volume {target.id} is migrated to {body['host']}, against its type")
        return f"{target.id} to {body['host']} is refused"
    world.client.act("volumes", target.id, "os-migrate_volume", body)
    world.between()
    row = _moved(world, target, "os-vol-host-attr:host", str(body["host"]))
    return f"{target.id} to {body['host']}: {row['migration_status']}"


@action(2, choices.without_snapshots)
def retype(world: World, volume: int, type: int, policy: int, before: int) -> str:
    """In place where the backend serves the type; else by a migration, or refused where none may be."""
    target = choices.near(world, choices.without_snapshots(world), volume, choices.written(world))
    season(world, target, before)
    name = pick([each for each in TYPES if each != target.row["volume_type"]], type)
    store, wanted = store_of(name), pick(["on-demand", "never"], policy)
    body = {"new_type": name, "migration_policy": wanted}
    if store is not target.store and wanted == "never":
        if not world.refused(lambda: world.client.act("volumes", target.id, "os-retype", body)):
            raise Violation(f"volume {target.id} is retyped to {name}, by a migration that may never be")
        return f"{target.id} to {name} is refused"
    world.client.act("volumes", target.id, "os-retype", body)
    world.between()
    row = _moved(world, target, "volume_type", name)
    if row["volume_type"] == name:
        target.row["volume_type"], target.store = name, store
        check.read_volume(world, target)
    return f"{target.id} to {name}: {row['migration_status']}"


def _moved(world: World, target: Volume, field: str, wanted: str) -> dict[str, Any]:
    """The row once the move has ended. Violation where it is not as wanted, unless a fault was planned."""
    if not world.settle("volumes", target.id, "available"):
        raise Violation(f"volume {target.id} is not available after a move that failed")
    world.service.settle(SETTLE_SECONDS)
    faulty = world.faulty
    row = _row(world, target)
    if row[field] != wanted or row["migration_status"] not in (None, "success"):
        if not faulty:
            raise Violation(f"volume {target.id}: {field} is {row[field]} and not {wanted}: {world.why(target.id)}")
        world.plan({})
    wait_until(lambda: _row(world, target)["migration_status"] != "completing", SETTLE_SECONDS)
    if field == "os-vol-host-attr:host":
        check.read_volume(world, target)
    return _row(world, target)


def _row(world: World, target: Volume) -> dict[str, Any]:
    return dict(world.client.get("volumes", target.id)["volume"])


def _full_host(store: Store, folder: str) -> str:
    return f"me@{store.name}#{folder.rpartition('/')[2]}"
