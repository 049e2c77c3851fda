"""What a volume's bytes should be: digests that are kept while nobody may write it, and the operation that compares.

They come from the copy that filled the volume, go along to its snapshots and clones, and end before the volume is
exported for writing: from then on only its guest knows what it should hold, until somebody records them anew.
"""

import contextlib
import os
from pathlib import Path

import sqlalchemy as sa

from nbdsvc import durable, errors, journaled_copy
from nbdsvc.datapath import source as datapath
from nbdsvc.datapath.digests import Digests
from nbdsvc.manager import settling
from nbdsvc.manager.app import App, Host, host_of, operation, owner_scope
from nbdsvc.manager.locking import locks
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.operation import Operation
from nbdsvc.operations.step import Kind, Run, Step, always
from nbdsvc.refs import volume_of, volume_ref
from nbdsvc.store import nouns


def verify(app: App, context: Context, id: str, *, record: bool) -> None:
    """Admit the comparison of a volume with its digests; `record`: make new ones of what it holds now."""
    with app.change() as conn:
        volume = nouns.volumes.get(conn, id, owner_scope(context))
        rule = states.VOLUME["verify"]
        changes = {"previous_status": volume.status}
        nouns.volumes.transition(conn, id, rule.sources, "maintenance", action="be verified", **changes)
        args = {"volume_id": id, "record": record}
        resource = ("volume", id)
        held = locks("volume.verify", volume=id)
        app.operations.admit(conn, operation(app, context, "volume.verify", volume.host, resource, held, args))


def keep(host: Host, id: str, digests: Digests) -> None:
    """These are the digests of the volume or snapshot `id`."""
    host.digests.mkdir(parents=True, exist_ok=True, mode=0o700)
    digests.save(_path(host, id))


def pass_on(host: Host, origin: str, id: str) -> None:
    """`id` holds what `origin` holds: its digests are the same, where there are any."""
    forget(host, id)
    with contextlib.suppress(FileNotFoundError):
        os.link(_path(host, origin), _path(host, id))
        durable.sync_folder(host.digests)


def forget(host: Host, id: str) -> None:
    """Its bytes may change from now on, or it goes."""
    durable.remove(_path(host, id))


def _path(host: Host, id: str) -> Path:
    return host.digests / id


def _verify(run: Run) -> dict[str, int]:
    host, volume = host_of(run), volume_of(run)
    expected = None if run.args["record"] else _expected(host, volume.id)
    with datapath.open_path(host.driver.local_path(volume_ref(volume)), from_storage=True) as source:
        found = journaled_copy.compute_digests(run, source)
    if expected:
        expected.compare(found, f"volume {volume.id}")
    else:
        keep(host, volume.id, found)
    return {"size": found.size, "chunks": len(found)}


def _expected(host: Host, id: str) -> Digests:
    try:
        return Digests.load(_path(host, id))
    except FileNotFoundError:
        reason = f"there is nothing to compare volume {id} with: it was made empty, or attached for writing since"
        raise errors.Conflict(reason=f"{reason}; record what it holds now") from None


def _verified(conn: sa.Connection, operation: Operation) -> None:
    settling.volume(conn, operation.resource_id, "maintenance", states.PREVIOUS)


def _not_verified(conn: sa.Connection, operation: Operation, error: errors.Error) -> None:
    """Whatever was found, the operation says it; the volume is as usable as it was."""
    settling.volume(conn, operation.resource_id, "maintenance", states.PREVIOUS)


KINDS = (Kind("volume.verify", (Step("verify", _verify, copies=always),), _verified, _not_verified),)
