"""Where an operation on a backup runs: on a host, because only hosts reach the store."""

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.backends import placement
from nbdsvc.backends.zones import choose_zone
from nbdsvc.backup_store.space import Space
from nbdsvc.backup_store.vault import Vault
from nbdsvc.host import host_of
from nbdsvc.model import names
from nbdsvc.model.entities import Backup, Volume
from nbdsvc.operations.operation_type import Run
from nbdsvc.store import repositories, tables


def place_of(app: App, conn: sa.Connection, backup: Backup | None = None) -> str:
    """`host@backend` of the host that made the backup, or where that is away or gone, of another one that is up.

    BackendUnavailable where no host has ever reported.
    """
    known = repositories.backends.select(conn)
    if not known:
        raise errors.BackendUnavailable(backend="backup store", reason="no host has reported yet")
    up = [row for row in known if placement.is_up(app, row)] or known
    own = [row for row in up if backup and (row.host, row.name) == (backup.host, backup.backend)]
    return names.join_host((own or up)[0].host, (own or up)[0].name)


def home_of(app: App, conn: sa.Connection, volume: Volume, zone: str | None) -> tuple[str, str, str]:
    """Zone, host and backend of a new backup, for whatever comes after it is written: the volume's, which writes it in any
    case, or of the zone that the request names. InvalidInput for a zone without a host.
    """
    named = choose_zone(app, conn, zone) if zone else volume.availability_zone
    known = repositories.backends.select(conn, tables.backends.c.availability_zone == named)
    if named == volume.availability_zone or not known:
        return volume.availability_zone, volume.host, volume.backend
    chosen = next((row for row in known if placement.is_up(app, row)), known[0])
    return named, chosen.host, chosen.name


def read_backup(run: Run[object], id: str) -> Backup:
    """The present row of the backup. Raises NotFound."""
    with host_of(run).database.read() as conn:
        return repositories.backups.get(conn, id)


def space_of(run: Run[object], backup: Backup) -> Space:
    """The space that has the backup. BackendUnavailable where the store is away, another one, or has another key."""
    return _vault_of(run, backup).space_of_backup(backup.space, backup.key_mark)


def space_to_free(run: Run[object], backup: Backup) -> Space:
    """The same whatever key seals the backup: to remove it, nothing is read but the ids, which are in the clear."""
    return _vault_of(run, backup).space(backup.space)


def _vault_of(run: Run[object], backup: Backup) -> Vault:
    vault = host_of(run).vault
    found = vault.store.check()
    if backup.store_id not in (None, found):
        reason = f"backup {backup.id} is in store {backup.store_id}, and this host has store {found}"
        raise errors.BackendUnavailable(backend=vault.store.name, reason=reason)
    return vault
