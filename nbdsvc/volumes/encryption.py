"""What a hypervisor needs to open an encrypted volume: of ours nothing, because none is encrypted."""

from nbdsvc.app import App
from nbdsvc.model.context import Context
from nbdsvc.volumes.read import get_volume


def encryption_of_volume(app: App, context: Context, id: str) -> dict[str, str | None]:
    """The id of its key, which is none: a volume of an encrypted type is refused. Raises NotFound for the volume."""
    get_volume(app, context, id)
    return {"encryption_key_id": None}
