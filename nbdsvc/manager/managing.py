"""Taking over objects that exist in a pool, and letting go of them: volumes and snapshots (rows S097-S100)."""

from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.driver import PoolStats
from nbdsvc.manager import placement, types, zones
from nbdsvc.manager.app import App, Waiting, operation, owner_scope
from nbdsvc.manager.locking import locks
from nbdsvc.model import names, states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Service, Snapshot, Volume
from nbdsvc.store import nouns, quotas
from nbdsvc.store import operations as journal


@dataclass(frozen=True)
class ManageVolume:
    """A wish to take over what `ref` names in the pool `host` (host@backend, or with #pool)."""

    host: str
    ref: dict[str, str]
    name: str | None = None
    description: str | None = None
    volume_type: str | None = None
    availability_zone: str | None = None
    bootable: bool = False
    metadata: dict[str, str] = field(default_factory=dict)


def manage(app: App, context: Context, wish: ManageVolume) -> Volume:
    """Admit it. The size is not known before the backend has looked, so it is 0 until then."""
    with app.change() as conn:
        host = _pool(app, conn, wish.host)
        volume_type = types.usable(app, conn, context, wish.volume_type)
        quotas.check(app.database, conn, context.project_id, app.settings.quotas, {"volumes": 1})
        volume = Volume(
            id=names.new_id(),
            project_id=context.project_id,
            user_id=context.user_id,
            size=0,
            status="managing",
            host=host,
            name=wish.name,
            description=wish.description,
            availability_zone=zones.choose(app, conn, wish.availability_zone),
            volume_type_id=volume_type.id,
            bootable=wish.bootable,
            multiattach=volume_type.multiattach,
            metadata=wish.metadata,
        )
        nouns.volumes.insert(conn, volume)
        args = {
            "volume_id": volume.id,
            "ref": wish.ref,
            "extra_specs": volume_type.extra_specs,
            "quotas": app.settings.quotas,
        }
        held = locks("volume.manage", volume=volume.id, pool=host)
        app.operations.admit(conn, operation(app, context, "volume.manage", host, ("volume", volume.id), held, args))
    return volume


def unmanage(app: App, context: Context, id: str) -> None:
    """Admit the end of a volume's row; its object stays."""
    rule = states.VOLUME["unmanage"]
    with app.change() as conn:
        volume = nouns.volumes.get(conn, id, owner_scope(context))
        if any(a.status != "detached" for a in nouns.attachments_of(conn, id)):
            raise errors.InvalidState(
                resource="Volume", id=id, action="be unmanaged", status=f"{volume.status} with attachments",
                allowed=rule.allowed(),
            )  # fmt: skip
        snapshots = nouns.snapshots_of(conn, id)
        if snapshots:
            raise errors.InvalidInput(
                field="volume", value=id, reason=f"it has {len(snapshots)} snapshots; unmanage or delete them first"
            )
        nouns.volumes.transition(conn, id, rule.sources, "unmanaging", action="be unmanaged")
        held = locks("volume.unmanage", volume=id, pool=volume.host)
        args = {"volume_id": id}
        app.operations.admit(conn, operation(app, context, "volume.unmanage", volume.host, ("volume", id), held, args))


def manage_snapshot(
    app: App,
    context: Context,
    volume_id: str,
    ref: dict[str, str],
    name: str | None,
    description: str | None,
    metadata: dict[str, str],
) -> Snapshot:
    """Admit it; of a volume that we have."""
    with app.change() as conn:
        volume = nouns.volumes.get(conn, volume_id, owner_scope(context))
        allowed = states.SNAPSHOT_SOURCE_FORCED
        if volume.status not in allowed:
            raise errors.InvalidState(
                resource="Volume", id=volume_id, action="be given a snapshot", status=volume.status,
                allowed=sorted(allowed),
            )  # fmt: skip
        quotas.check(app.database, conn, context.project_id, app.settings.quotas, {"snapshots": 1})
        snapshot = Snapshot(
            id=names.new_id(),
            project_id=context.project_id,
            user_id=context.user_id,
            volume_id=volume_id,
            volume_size=0,
            status="creating",
            name=name,
            description=description,
            metadata=metadata,
        )
        nouns.snapshots.insert(conn, snapshot)
        held = locks("snapshot.manage", snapshot=snapshot.id, volume=volume_id, pool=volume.host)
        args = {"snapshot_id": snapshot.id, "volume_id": volume_id, "ref": ref, "quotas": app.settings.quotas}
        resource = ("snapshot", snapshot.id)
        app.operations.admit(conn, operation(app, context, "snapshot.manage", volume.host, resource, held, args))
    return snapshot


def unmanage_snapshot(app: App, context: Context, id: str) -> None:
    """Admit the end of a snapshot's row; its object stays."""
    with app.change() as conn:
        snapshot = nouns.snapshots.get(conn, id, owner_scope(context))
        host = nouns.volumes.get(conn, snapshot.volume_id).host
        rule = states.SNAPSHOT["unmanage"]
        nouns.snapshots.transition(conn, id, rule.sources, "unmanaging", action="be unmanaged")
        held = locks("snapshot.unmanage", snapshot=id, pool=host)
        args = {"snapshot_id": id, "volume_id": snapshot.volume_id}
        app.operations.admit(conn, operation(app, context, "snapshot.unmanage", host, ("snapshot", id), held, args))


def manageable(app: App, context: Context, host: str, noun: str) -> Waiting[list[dict[str, Any]]]:
    """What is in the pool: only its host can look, so this is an operation. noun: volume, snapshot.

    Each as {reference, size (bytes), reason, id, source}; `id` only of what has a row.
    """
    with app.change() as conn:
        pool = _pool(app, conn, host)
        resource = ("host", names.split_host(pool)[0])
        admitted = app.operations.admit(
            conn, operation(app, context, "host.list_manageable", pool, resource, [], {"noun": noun})
        )
    return Waiting((admitted.id,), app.settings.attach_timeout, lambda: _listed(app, admitted.id, noun))


def _listed(app: App, operation_id: str, noun: str) -> list[dict[str, Any]]:
    rows: Any = nouns.volumes if noun == "volume" else nouns.snapshots
    with app.database.read() as conn:
        found: list[dict[str, Any]] = journal.rows.get(conn, operation_id).results["list"]
        return [{**each, "id": each["id"] if each["id"] and rows.find(conn, each["id"]) else None} for each in found]


def _pool(app: App, conn: sa.Connection, host: str) -> str:
    """`host@backend#pool` for what the client wrote; InvalidInput for one that is not ours or takes nothing now."""
    name, backend, pool = names.split_host(host)
    service = placement.service_of(conn, host)
    found = placement.pools(service) if service else []
    known = [each for each in found if pool in ("", each.name)]
    if service is None or backend not in ("", service.capabilities.get("backend")) or (found and not known):
        raise errors.InvalidInput(
            field="host", value=host[:80], reason="no storage host has this name: host@backend#pool"
        )
    _check_service(app, service, known)
    return names.join_host(name, service.capabilities["backend"], known[0].name)


def _check_service(app: App, service: Service, pools: list[PoolStats]) -> None:
    if service.disabled or not pools or not placement.is_up(app, service):
        state = "disabled" if service.disabled else "down"
        raise errors.BackendUnavailable(backend=service.host, reason=f"its service is {state}")
