"""The row of a new snapshot, however it comes to be."""

from typing import Any

from nbdsvc.model import names
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Snapshot, Volume


def new_row(context: Context, volume: Volume, **given: Any) -> Snapshot:
    """Of the volume as it is now; `given`: other fields, or another volume_size (GiB) where it is not known yet."""
    fields = {"volume_size": volume.size, **given}
    return Snapshot(names.new_id(), context.project_id, context.user_id, volume.id, status="creating", **fields)
