"""The rows of transfers: who may try a key, who takes one, and the change of a volume's owner."""

from collections.abc import Sequence

import sqlalchemy as sa

from nbdsvc.store import repositories, tables

_c = tables.transfers.c


def count_try(conn: sa.Connection, id: str, most: int) -> bool:
    """Count a try of its key; False where it has had `most`. Commit it before the key is compared, or tries are free."""
    counted = tables.transfers.update().where(_c.id == id, _c.tries < most).values(tries=_c.tries + 1)
    return conn.execute(counted).rowcount == 1


def forget_tries(conn: sa.Connection, id: str) -> None:
    """Start counting anew, because its key was right."""
    repositories.transfers.update(conn, id, tries=0)


def take(conn: sa.Connection, id: str, project_id: str) -> bool:
    """Give the transfer to this project, whose key was right; False where it is another's already, or gone."""
    taken = tables.transfers.update().where(_c.id == id, _c.accepted.is_(False))
    return conn.execute(taken.values(accepted=True, destination_project_id=project_id)).rowcount == 1


def give_back(conn: sa.Connection, id: str) -> None:
    """Offer it again, because it could not be accepted."""
    repositories.transfers.update(conn, id, accepted=False, destination_project_id=None)


def remove_of_volume(conn: sa.Connection, volume_id: str) -> None:
    """Remove the transfers of a volume that is gone."""
    conn.execute(tables.transfers.delete().where(_c.volume_id == volume_id))


def change_owner(
    conn: sa.Connection, volume_id: str, snapshot_ids: Sequence[str], project_id: str, user_id: str
) -> None:
    """Let the volume and these snapshots belong to a project, whose quotas they count against from now on."""
    repositories.volumes.update(conn, volume_id, project_id=project_id, user_id=user_id)
    repositories.snapshots.hold_left(conn, snapshot_ids)
    for id in snapshot_ids:
        repositories.snapshots.update(conn, id, project_id=project_id, user_id=user_id)
