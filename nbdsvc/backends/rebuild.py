"""Makes rows for objects of the pool that have none: after the loss of a database, for `nbdsvc rebuild`.

The pool has size, id and, of a snapshot, its volume; names, types and metadata are lost. The administrator names the
project. Exports that run keep running: their attachments get rows with the ids and keys that their notes have.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from nbdsvc.attachments.connection_info import stored_info
from nbdsvc.backends import recognition
from nbdsvc.driver import BackendObject
from nbdsvc.exporter import ConnectionInfo, ExportSpec
from nbdsvc.host import Backend, Host
from nbdsvc.model import clock, names
from nbdsvc.model.entities import Attachment, Snapshot, Volume
from nbdsvc.store import repositories, tables, transitions
from nbdsvc.units import to_gib

# The user of rows that no user made.
_USER = "nbdsvc"


@dataclass
class Rebuilt:
    """Ids of the rows that were made, and of what could not get one, with the reason."""

    volumes: list[str] = field(default_factory=list)
    snapshots: list[str] = field(default_factory=list)
    attachments: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)


def rebuild(host: Host, project: str, type_name: str) -> Rebuilt:
    """Rows for objects and exports without one, in one transaction. Rows that are there stay as they are."""
    done = Rebuilt()
    objects = [
        (backend, each) for backend in host.backends.values() for each in recognition.unknown_objects(host, backend)
    ]
    copies = Counter(each.id for _, each in objects)
    exports = recognition.unknown_exports(host)
    with host.database.write() as conn:
        types = repositories.volume_types.select(conn, tables.volume_types.c.name == type_name)
        type_id = types[0].id if types else None
        for backend, found in sorted(
            objects, key=lambda each: each[1].kind, reverse=True
        ):  # sorted so that volumes come before their snapshots
            if copies[found.id] > 1:
                where = f"{found.name} in {names.join_host(host.name, backend.name, found.pool)}"
                done.left[where] = (
                    "it is in another pool too, as while it is migrated: remove the one that is not whole"
                )
            elif found.kind == "volume":
                repositories.volumes.insert(conn, _volume(host, backend, project, type_id, found))
                done.volumes.append(str(found.id))
            else:
                _snapshot(conn, found, done)
        for id in exports:
            _attachment(host, conn, id, done)
    return done


def _volume(host: Host, backend: Backend, project: str, type_id: str | None, found: BackendObject) -> Volume:
    id, size = str(found.id), max(1, to_gib(found.size))
    return Volume(
        id, project, _USER, size, "available", host.name, backend.name, found.pool,
        volume_type_id=type_id, availability_zone=host.zone, **_state(found),
    )  # fmt: skip


def _state(found: BackendObject) -> dict[str, Any]:
    return found.state.columns() if found.state else {}


def _snapshot(conn: sa.Connection, found: BackendObject, done: Rebuilt) -> None:
    id = str(found.id)
    volume = repositories.volumes.find(conn, found.origin) if found.origin else None
    if volume is None:
        done.left[found.name] = "the pool does not tell whose snapshot it is"
        return
    row = Snapshot(id, volume.project_id, _USER, volume.id, max(1, to_gib(found.size)), "available", progress="100%",
        **_state(found),
    )  # fmt: skip
    repositories.snapshots.insert(conn, row)
    done.snapshots.append(id)


def _attachment(host: Host, conn: sa.Connection, id: str, done: Rebuilt) -> None:
    found = next((found for exporter in host.exporters if (found := exporter.find(id))), None)
    volume = repositories.volumes.find(conn, found[0].volume_id) if found else None
    if found is None or volume is None:
        done.left[f"export {id}"] = "it has no note, or its volume is not there"
        return
    repositories.attachments.insert(conn, _attached(host, *found, volume))
    transitions.follow_attachments(conn, volume.id)
    done.attachments.append(id)


def _attached(host: Host, spec: ExportSpec, info: ConnectionInfo, volume: Volume) -> Attachment:
    """The connector is as much of it as leads to the same export again."""
    transport = {"nbd_transport": "tcp" if spec.access.network else "unix"}
    initiator = spec.access.initiators[0] if spec.access.initiators else None
    connector: dict[str, Any] = {"host": host.name, "initiator": initiator, **transport}
    return Attachment(
        spec.id, volume.id, volume.project_id, "attached", mode="ro" if spec.read_only else "rw", connector=connector,
        connection_info=stored_info(info), protocol=info.driver_volume_type, secret=spec.secret, exported=True,
        attached_at=clock.now(), attached_host=host.name,
    )  # fmt: skip
