"""Backends that are evacuated, and a host that is lost and returns: what becomes of each volume is known before."""

import contextlib
import os
import signal
from datetime import timedelta
from pathlib import Path

from waiting import wait_until

from nbdsvc import errors
from nbdsvc.model import clock
from nbdsvc.store import tables
from nbdsvc.store.database import Database
from walk import check, choices
from walk.choices import action, pick, snapshots_of
from walk.moving import follow
from walk.world import ANY, AWAY, Store, Violation, Volume, World, disconnect, local


@action(1, choices.volumes)
def evacuate(world: World, volume: int, whole: int) -> str:
    """The backend of a volume, or all of its host: what is attached or has snapshots stays, and what its type binds; the others
    are elsewhere then. It takes new volumes again afterwards."""
    world.plan({})
    target = choices.near(world, choices.volumes(world), volume, choices.loose(world))
    host = pick([target.store.service, target.store.service, target.store.host], whole)
    emptied = [store for store in world.stores if host in (store.service, store.host)]
    reply = world.client.put("os-services", "evacuate", body={"host": host})["evacuation"]["volumes"]
    world.between(undone=False)
    found = {each["id"]: each["obstacle"] or each["state"] for each in reply}
    wanted = {each.id: _fates(world, each, emptied) for each in world.volumes if each.store in emptied}
    if set(found) != set(wanted) or any(found[id] not in fates for id, fates in wanted.items()):
        raise Violation(f"of an evacuation of {host} it is said {found} and not {wanted}")
    world.service.settle()
    moving = [each for each in world.volumes if found.get(each.id) == "moving"]
    for each in moving:
        _left(world, each, emptied)
    for store in emptied:
        world.client.put("os-services", "enable", body={"host": store.service})
    return f"{host}: {len(moving)} of {len(wanted)} volumes left it"


def _fates(world: World, volume: Volume, emptied: list[Store]) -> set[str]:
    """One of these. Whether a volume moves under its client depends on the attachment, too."""
    if snapshots_of(world, volume):
        return {"snapshots"}
    others = [store for store in world.stores if store not in emptied and volume.row["volume_type"] == ANY]
    if volume.attached:
        beside = [store for store in others if store.host == volume.store.host]
        return {"attached", "moving"} if beside else {"attached"}
    return {"moving"} if others else {"room"}


def _left(world: World, volume: Volume, emptied: list[Store]) -> None:
    wait_until(lambda: world.client.get("volumes", volume.id)["volume"]["migration_status"] != "completing")
    row = world.client.get("volumes", volume.id)["volume"]
    if row["migration_status"] != "success":
        raise Violation(f"volume {volume.id} was evacuated, and its migration is {row['migration_status']}")
    follow(world, volume, row)
    if volume.store in emptied:
        raise Violation(f"volume {volume.id} was evacuated, and is on {volume.store.name}")
    check.read_volume(world, volume)


def away(world: World) -> list[Volume]:
    """Volumes of the second host."""
    return [each for each in world.volumes if each.store is AWAY]


@action(2, away)
def lose_host(world: World, volume: int, deleted: int) -> str:
    """The second host is off, and an administrator says so: attachments of its volumes end and none is made; a deletion is done
    at once. Then it returns with its disks, and everything else is as it was."""
    world.plan({})
    target = choices.near(world, away(world), volume, choices.involved(world))
    _switch_off(world)
    world.client.put("os-services", "lost", body={"host": AWAY.host, "fenced": True})
    _forget_attachments(world)
    _check_unreachable(world, target)
    gone = _delete(world, target) if deleted % 3 == 0 else []
    world.service.settle()
    world.client.put("os-services", "return", body={"host": AWAY.host})
    for path in gone:
        path.unlink()
    assert world.other
    world.other.start()
    world.client.put("os-services", "enable", body={"host": AWAY.host})
    for each in away(world):
        check.read_volume(world, each)
    return f"{AWAY.host}, with {len(away(world))} volumes{f'; {target.id} was deleted meanwhile' if gone else ''}"


def _switch_off(world: World) -> None:
    """Its processes end, its servers too; and the time for which a host has to be silent is left out."""
    assert world.other
    world.other.kill()
    for pid in world.other.servers():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    database = Database(str(world.other.settings["database"]))
    with database.write() as conn:
        late = tables.backends.update().where(tables.backends.c.host == AWAY.host)
        conn.execute(late.values(updated_at=clock.now() - timedelta(hours=1)))
    database.close()


def _forget_attachments(world: World) -> None:
    for volume in away(world):
        for attached in volume.attached.values():
            disconnect(attached.connection)
        volume.attached.clear()
    _wait_for_ends(world)


def _wait_for_ends(world: World) -> None:
    ids = {each.id for each in away(world)}
    wait_until(lambda: not [row for row in world.client.get("attachments")["attachments"] if row["volume_id"] in ids])


def _check_unreachable(world: World, target: Volume) -> None:
    connector = {**local(target), "mode": "ro" if target.readonly else "rw"}
    body = {"attachment": {"volume_uuid": target.id, "connector": connector}}
    with contextlib.suppress(errors.BackendUnavailable):
        world.client.post("attachments", body=body)
        raise Violation(f"volume {target.id} is on a lost host, and may be attached")
    _wait_for_ends(world)  # that of the one that was refused comes like those of the others


def _delete(world: World, target: Volume) -> list[Path]:
    """With its snapshots. What is left of it on the host's disks, which an administrator removes."""
    saved = snapshots_of(world, target)
    paths = [world.path(each) for each in (target, *saved)]
    world.client.delete("volumes", target.id, cascade=True)
    world.settle("volumes", target.id, "gone")
    world.volumes.remove(target)
    world.snapshots[:] = [each for each in world.snapshots if each.volume != target.id]
    return paths
