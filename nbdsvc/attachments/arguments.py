"""The arguments of operations on one attachment."""

from dataclasses import dataclass

from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock


@dataclass(frozen=True)
class AttachmentArgs:
    """Arguments of `attachment.delete`, `attachment.terminate` and `attachment.repair`."""

    volume_id: str
    attachment_id: str


def lock_attachment(args: AttachmentArgs) -> list[Lock]:
    """The attachment alone, so that an end or a repair waits for no copy of the volume."""
    return locks("attachment.repair", attachment=args.attachment_id)
