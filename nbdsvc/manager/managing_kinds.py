"""What taking over and letting go do, step by step."""

from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.manager import proving, settling
from nbdsvc.manager.app import host_of
from nbdsvc.model.operation import Operation
from nbdsvc.operations.step import Kind, Run, Step
from nbdsvc.refs import snapshot_of, snapshot_ref, volume_of, volume_ref
from nbdsvc.store import nouns, quotas
from nbdsvc.units import to_gib


def _measure(run: Run) -> dict[str, int]:
    """The size, which the row gets, as far as the project's quota allows it."""
    volume = volume_of(run)
    size = to_gib(host_of(run).driver.manage_existing_get_size(volume_ref(volume), run.args["ref"]))
    with host_of(run).database.write() as conn:
        quotas.check_volume_size(conn, volume.project_id, run.args["quotas"], size)
        _check_quota(run, conn, volume.project_id, size - volume.size)
        nouns.volumes.update(conn, volume.id, size=size)
    return {"size": size}


def _adopt(run: Run) -> None:
    volume = volume_ref(volume_of(run), extra_specs=run.args["extra_specs"])
    host_of(run).driver.manage_existing(volume, run.args["ref"], run.id)


def _give_back(run: Run) -> None:
    host_of(run).driver.unmanage(volume_ref(volume_of(run)), run.id, run.args["ref"])


def _managed(conn: sa.Connection, operation: Operation) -> None:
    settling.volume(conn, operation.resource_id, "managing", "available")


def _not_managed(conn: sa.Connection, operation: Operation, error: errors.Error) -> None:
    """A row without an object: it takes no gigabytes, and deleting it deletes nothing."""
    settling.volume(conn, operation.resource_id, "managing", "error_managing", size=0)


def _let_go(run: Run) -> None:
    proving.forget(host_of(run), run.args["volume_id"])
    host_of(run).driver.unmanage(volume_ref(volume_of(run)))


def _unmanaged(conn: sa.Connection, operation: Operation) -> None:
    for attachment in nouns.attachments_of(conn, operation.resource_id):
        nouns.attachments.delete(conn, attachment.id)
    nouns.volumes.delete(conn, operation.resource_id)


def _not_unmanaged(conn: sa.Connection, operation: Operation, error: errors.Error) -> None:
    settling.volume(conn, operation.resource_id, "unmanaging", "error")


def _measure_snapshot(run: Run) -> dict[str, int]:
    snapshot = snapshot_of(run)
    driver = host_of(run).driver
    size = to_gib(driver.manage_existing_snapshot_get_size(snapshot_ref(snapshot), run.args["ref"]))
    with host_of(run).database.write() as conn:
        _check_quota(run, conn, snapshot.project_id, size - snapshot.volume_size)
        nouns.snapshots.update(conn, snapshot.id, volume_size=size)
    return {"size": size}


def _adopt_snapshot(run: Run) -> None:
    host_of(run).driver.manage_existing_snapshot(snapshot_ref(snapshot_of(run)), run.args["ref"], run.id)


def _give_snapshot_back(run: Run) -> None:
    host_of(run).driver.unmanage_snapshot(snapshot_ref(snapshot_of(run)), run.id, run.args["ref"])


def _snapshot_managed(conn: sa.Connection, operation: Operation) -> None:
    settling.snapshot(conn, operation.resource_id, "creating", "available", progress="100%")


def _snapshot_not_managed(conn: sa.Connection, operation: Operation, error: errors.Error) -> None:
    settling.snapshot(conn, operation.resource_id, "creating", "error", volume_size=0)


def _let_snapshot_go(run: Run) -> None:
    proving.forget(host_of(run), run.args["snapshot_id"])
    host_of(run).driver.unmanage_snapshot(snapshot_ref(snapshot_of(run)))


def _snapshot_unmanaged(conn: sa.Connection, operation: Operation) -> None:
    nouns.snapshots.delete(conn, operation.resource_id)


def _snapshot_not_unmanaged(conn: sa.Connection, operation: Operation, error: errors.Error) -> None:
    settling.snapshot(conn, operation.resource_id, "unmanaging", "error")


def _list(run: Run) -> list[dict[str, Any]]:
    driver = host_of(run).driver
    found = driver.get_manageable_volumes() if run.args["noun"] == "volume" else driver.get_manageable_snapshots()
    return [asdict(each) for each in found]


def _check_quota(run: Run, conn: sa.Connection, project_id: str, more: int) -> None:
    quotas.check(host_of(run).database, conn, project_id, run.args["quotas"], {"gigabytes": more})


KINDS = (
    Kind("volume.manage", (Step("measure", _measure), Step("adopt", _adopt, _give_back)), _managed, _not_managed),
    Kind("volume.unmanage", (Step("let go", _let_go),), _unmanaged, _not_unmanaged),
    Kind(
        "snapshot.manage",
        (Step("measure", _measure_snapshot), Step("adopt", _adopt_snapshot, _give_snapshot_back)),
        _snapshot_managed,
        _snapshot_not_managed,
    ),
    Kind("snapshot.unmanage", (Step("let go", _let_snapshot_go),), _snapshot_unmanaged, _snapshot_not_unmanaged),
    Kind("host.list_manageable", (Step("list", _list),), lambda _c, _o: None, lambda _c, _o, _e: None),
)
