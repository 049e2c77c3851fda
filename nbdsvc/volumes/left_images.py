"""Images of Glance that an upload has to delete: at once, or when a Glance that was away is back."""

import contextlib

import sqlalchemy as sa
import structlog

from nbdsvc import errors
from nbdsvc.host import Host
from nbdsvc.images.glance.client import Glance
from nbdsvc.images.glance.images import GlanceImages
from nbdsvc.model import operation as model
from nbdsvc.model.operation import Operation
from nbdsvc.store import operations as journal
from nbdsvc.store import tables
from nbdsvc.volumes.glance_arguments import KIND

log = structlog.get_logger(__name__)

# The key of a mark among the results of an operation whose undo failed: its image is deleted since.
_DELETED = "image_deleted"
# In one look: each of them waits some seconds for a Glance that is away.
_AT_ONCE = 20


def glance_of(host: Host) -> Glance:
    """BackendUnavailable where the settings of this host name Glance no more."""
    if isinstance(host.images, GlanceImages):
        return host.images.glance
    raise errors.BackendUnavailable(backend="glance", reason="this host is not set up for it (image_service)")


def delete_image(glance: Glance, id: str, owner: str) -> None:
    """Delete an image of this project, also one that the upload has protected; one that is not there is deleted.

    Another project's is not ours, although it has the id that the upload chose: the id is known to its user at once.
    """
    with contextlib.suppress(errors.NotFound):
        found = glance.get(id, quick=True)
        if found.owner != owner:
            return
        if found.protected:
            glance.change(id, "protected", False)
        glance.remove(id)


def delete_left_images(host: Host) -> int:
    """Delete the images of uploads whose undo failed; returns how many. Those of a Glance that is away stay for later."""
    columns = tables.operations.c
    with host.database.read() as conn:
        mine = (columns.kind == KIND, columns.host == host.name, columns.state == model.ROLLBACK_FAILED)
        left = [each for each in journal.rows.select(conn, sa.and_(*mine)) if _DELETED not in each.results]
    return sum(_delete_left(host, operation) for operation in left[:_AT_ONCE])


def _delete_left(host: Host, operation: Operation) -> bool:
    id = str(operation.args["image_id"])
    try:
        delete_image(glance_of(host), id, str(operation.args["owner"]))
    except errors.Error as error:
        log.warning("an image of a failed upload is left", image=id, reason=str(error))
        return False
    with host.database.write() as conn:
        journal.rows.update(conn, operation.id, results={**operation.results, _DELETED: True})
    return True
