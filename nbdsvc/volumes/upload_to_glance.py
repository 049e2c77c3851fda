"""Upload a volume to Glance: a record without bytes, the bytes, and then the image's protection.

By the service user, in the name of the project: a token of the request would have to be kept for as long as the copy
takes, and would be over before the end of a long one. The image's id is chosen by the request and stands in the journal
before there is an image, so that whatever is left of it is found and removed.

What the steps do is in glance_steps.py, which is loaded by the first of them: it loads urllib3, as few services do.
"""

from collections.abc import Callable
from typing import Any

from nbdsvc.host import Host
from nbdsvc.operations.operation_type import OperationType, Run, Step, always
from nbdsvc.volumes.glance_arguments import KIND, UploadToGlanceArgs
from nbdsvc.volumes.upload_request import fail, locks_of, succeed


def delete_left_images(host: Host) -> int:
    """See left_images.py."""
    from nbdsvc.volumes import left_images

    return left_images.delete_left_images(host)


def _step(name: str) -> Callable[[Run[UploadToGlanceArgs]], Any]:
    """A function of glance_steps.py."""

    def call(run: Run[UploadToGlanceArgs]) -> Any:
        from nbdsvc.volumes import glance_steps

        return getattr(glance_steps, name)(run)

    return call


def _is_packed(run: Run[UploadToGlanceArgs]) -> bool:
    return run.args.disk_format == "qcow2"


def _is_protected(run: Run[UploadToGlanceArgs]) -> bool:
    return run.args.protected


UPLOAD_TO_GLANCE = OperationType(
    KIND,
    UploadToGlanceArgs,
    (
        Step("record", _step("record"), _step("undo_record")),
        Step("pack", _step("pack"), _step("tidy"), copies=always, needed=_is_packed),
        Step("send", _step("send"), copies=always),
        # The last one: what is undone may be deleted.
        Step("protect", _step("protect"), needed=_is_protected),
        Step("tidy", _step("tidy"), needed=_is_packed),
    ),
    locks_of(KIND),
    succeed,
    fail,
    modifies=False,
    adds=True,
)
