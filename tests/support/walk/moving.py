"""Moves: volumes go to another pool or get another type, or stay what they are and where they are; either way every byte is there."""

from typing import Any

from waiting import wait_until

from walk import check, choices
from walk.choices import action, pick, prefer
from walk.making import store_of
from walk.seasoning import season
from walk.world import ANY, SETTLE_SECONDS, Store, Violation, Volume, World


@action(2, choices.without_snapshots)
def migrate(world: World, volume: int, pool: int, how: int, before: int) -> str:
    """To another pool of the backend, and where the volume's type allows any, to another backend or host; else it is refused."""
    target = choices.near(world, choices.without_snapshots(world), volume, choices.loose(world))
    season(world, target, before)
    store, folder = destination(world, target, pool)
    body = {"host": store.pool(folder), "force_host_copy": how % 2 == 0, "lock_volume": how % 3 == 0}
    if not is_allowed(target, store):
        return refused(world, target, body, "against its type")
    world.client.act("volumes", target.id, "os-migrate_volume", body)
    world.between()
    row = moved(world, target, "os-vol-host-attr:host", body["host"])
    return f"{target.id} to {body['host']}: {row['migration_status']}"


@action(2, choices.without_snapshots)
def retype(world: World, volume: int, type: int, policy: int, before: int) -> str:
    """In place where the backend serves the type; else by a migration, or refused where none may be."""
    target = choices.near(world, choices.without_snapshots(world), volume, choices.written(world))
    season(world, target, before)
    # Half of the types that there are: only a volume that may be anywhere goes to another host, or is evacuated.
    names = [each for each in world.types if each != target.row["volume_type"]]
    name = prefer([ANY] if target.row["volume_type"] != ANY else [], names, type * 2 + type % 2)
    store = target.store if name == ANY else store_of(world, name)
    wanted = pick(["on-demand", "never"], policy)
    body = {"new_type": name, "migration_policy": wanted}
    if store is not target.store and wanted == "never":
        if not world.refused(lambda: world.client.act("volumes", target.id, "os-retype", body)):
            raise Violation(f"volume {target.id} is retyped to {name}, by a migration that may never be")
        return f"{target.id} to {name} is refused"
    world.client.act("volumes", target.id, "os-retype", body)
    world.between()
    row = moved(world, target, "volume_type", name)
    return f"{target.id} to {name}: {row['migration_status']}"


def destination(world: World, target: Volume, number: int) -> tuple[Store, str]:
    """A pool that the volume is not in, and its backend; rather one where it may be."""
    here = target.store, str(world.path(target).parents[1].relative_to(world.state(target.store)))
    places = [(each, f) for each in world.stores for f in each.folders if (each, f) != here]
    return prefer([place for place in places if is_allowed(target, place[0])], places, number)


def is_allowed(target: Volume, store: Store) -> bool:
    """By the volume's type."""
    return store is target.store or target.row["volume_type"] == ANY


def refused(world: World, target: Volume, body: dict[str, Any], why: str) -> str:
    if not world.refused(lambda: world.client.act("volumes", target.id, "os-migrate_volume", body)):
        raise Violation(f"volume {target.id} is migrated to {body['host']}, {why}")
    return f"{target.id} to {body['host']} is refused"


def moved(world: World, target: Volume, field: str, wanted: str) -> dict[str, Any]:
    """The row once the move has ended, which the model follows. Violation where it is not as wanted, unless a fault was planned."""
    if not world.settle("volumes", target.id, "in-use" if target.attached else "available"):
        raise Violation(f"volume {target.id} is not as it was after a move that failed")
    world.service.settle(SETTLE_SECONDS)
    faulty = world.faulty
    row = _row(world, target)
    if row[field] != wanted or row["migration_status"] not in (None, "success"):
        if not faulty:
            raise Violation(f"volume {target.id}: {field} is {row[field]} and not {wanted}: {world.why(target.id)}")
        world.plan({})
    wait_until(lambda: _row(world, target)["migration_status"] != "completing", SETTLE_SECONDS)
    row = _row(world, target)
    if field == "volume_type" and row[field] == wanted:
        target.row["volume_type"] = wanted
    follow(world, target, row)
    check.read_volume(world, target)
    return row


def follow(world: World, target: Volume, row: dict[str, Any]) -> None:
    """The volume is where its row says; digests stay on the host that it leaves."""
    before, name = target.store, str(row["os-vol-host-attr:host"]).partition("#")[0]
    target.store = next(store for store in world.stores if store.service == name)
    target.recorded = target.recorded and target.store.host == before.host


def _row(world: World, target: Volume) -> dict[str, Any]:
    return dict(world.client.get("volumes", target.id)["volume"])
