"""The encryption of a volume type: kept and answered. A volume of such a type is refused, never made in the clear."""

from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.model import clock, names
from nbdsvc.model.entities import VolumeType
from nbdsvc.store import default_types, repositories, tables

_REFUSAL = "its volumes are to be encrypted, which this service cannot do yet"
# Shared: creations of volumes do not wait for each other, but who makes a type encrypted waits for all of them.
_encryption = (
    sa.select(tables.volume_types.c.encryption)
    .where(tables.volume_types.c.id == sa.bindparam("type"))
    .with_for_update(read=True)
)
# Volumes of a type: those that have it, and those that a retype under way gives it with its switch.
_used = sa.select(sa.func.count()).select_from(
    sa.union(
        *(
            sa.select(table.c.id).where(table.c.volume_type_id == sa.bindparam("type"))
            for table in (tables.volumes, tables.moves)
        )
    ).subquery()
)


def check_not_encrypted(conn: sa.Connection, volume_type: VolumeType) -> None:
    """InvalidInput for a type whose volumes are to be encrypted; where they are not, it stays so until the commit, and so
    does the type. NotFound where it has been deleted since it was read.
    """
    found = conn.execute(_encryption, {"type": volume_type.id}).one_or_none()
    if found is None:
        raise errors.NotFound(resource="VolumeType", id=volume_type.id)
    if found.encryption is not None:
        raise errors.InvalidInput(field="volume_type", value=volume_type.name, reason=_REFUSAL)


def create_encryption(app: App, type_id: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Have the volumes of a type encrypted. fields: provider, cipher, key_size (bits), control_location.

    Raises NotFound, and InvalidInput where the type is encrypted already, has volumes, or is the default one.
    """
    with app.change() as conn:
        found = _changeable(app, conn, type_id)
        if found.encryption is not None:
            raise errors.InvalidInput(field="volume_type", value=type_id[:80], reason="it is encrypted already")
        if app.settings.default_volume_type in (found.id, found.name):
            raise errors.InvalidInput(field="volume_type", value=type_id[:80], reason="it is the default type")
        if projects := default_types.projects_of(conn, found.id):
            reason = f"it is the default type of project {projects[0]}"
            raise errors.InvalidInput(field="volume_type", value=type_id[:80], reason=reason)
        made = {"encryption_id": names.new_id(), "created_at": clock.now().isoformat(), "updated_at": None, **fields}
        repositories.volume_types.update(conn, found.id, encryption=made)
        return made


def update_encryption(app: App, type_id: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Change these fields. Raises NotFound for a type, or one without encryption; InvalidInput where it has volumes."""
    with app.change() as conn:
        found = _changeable(app, conn, type_id)
        changed = {**_encryption_of(found), **fields, "updated_at": clock.now().isoformat()}
        repositories.volume_types.update(conn, found.id, encryption=changed)
        return changed


def delete_encryption(app: App, type_id: str) -> None:
    """Have the volumes of a type in the clear. Raises NotFound and InvalidInput as `update_encryption`."""
    with app.change() as conn:
        found = _changeable(app, conn, type_id)
        _encryption_of(found)
        repositories.volume_types.update(conn, found.id, encryption=None)


def _changeable(app: App, conn: sa.Connection, type_id: str) -> VolumeType:
    app.database.lock_name(conn, f"type-{type_id}")
    found = repositories.volume_types.get_for_update(conn, type_id)
    if used := conn.execute(_used, {"type": found.id}).scalar_one():
        reason = f"{used} volumes have this type or are being given it: its encryption cannot change"
        raise errors.InvalidInput(field="volume_type", value=type_id[:80], reason=reason)
    return found


def _encryption_of(found: VolumeType) -> dict[str, Any]:
    if found.encryption is None:
        raise errors.NotFound(resource="Encryption of volume type", id=found.id)
    return found.encryption
