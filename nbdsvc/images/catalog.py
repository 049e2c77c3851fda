"""The images of the host's folder: which ones a project sees, and which ones it may change and remove."""

from collections.abc import Sequence
from dataclasses import dataclass

from nbdsvc import errors
from nbdsvc.images.image_store import ImageFolder
from nbdsvc.images.index import Image
from nbdsvc.images.resolve import Images
from nbdsvc.model.context import Context

# An index is read whole with every list of images.
MOST_MEMBERS = 100


@dataclass(frozen=True)
class ImageChanges:
    """What is to be said of an image; None: as before."""

    name: str | None = None
    visibility: str | None = None
    protected: bool | None = None
    members: list[str] | None = None
    """The projects that may use it while it is `shared`, all of them."""


def list_images(images: Images | None, context: Context) -> Sequence[Image]:
    """A project's own images, those shared with it and public ones; all of them for an administrator.

    images: None where another process keeps them: then Unsupported is raised.
    """
    found = _folder(images).list()
    return [image for image in found if context.is_admin or image.listed(context)]


def get_image(images: Images | None, context: Context, id: str) -> Image:
    """An image by its id or name. Raises NotFound, also for one that the project may not use, Conflict for a name of several,
    and Unsupported as above.
    """
    return _folder(images).get(id, context)


def set_image(images: Images | None, context: Context, id: str, changes: ImageChanges) -> Image:
    """Change an image of the project. Copies that read it read on, and what was made of it stays.

    Raises NotFound, Forbidden for one that is not the project's, and where an image is to be public without an
    administrator, InvalidInput (members) and Unsupported as above.
    """
    folder = _folder(images)
    image = folder.get(id, context)
    if reason := _reason_not_own(image, context, "change"):
        raise errors.Forbidden(reason=reason)
    if changes.visibility == "public" and image.visibility != "public" and not context.is_admin:
        raise errors.Forbidden(reason="Only an administrator may make a public image.")
    if changes.members is not None and len(changes.members) > MOST_MEMBERS:
        reason = f"an image has at most {MOST_MEMBERS} members"
        raise errors.InvalidInput(field="members", value=len(changes.members), reason=reason)
    return folder.change(image.id, **{name: value for name, value in vars(changes).items() if value is not None})


def delete_image(images: Images | None, context: Context, id: str) -> None:
    """Remove an uploaded image; a copy that reads it reads on.

    Raises NotFound, Forbidden for one that is protected or not the project's to remove, and Unsupported as above.
    """
    folder = _folder(images)
    image = folder.get(id, context)
    reason = _reason_not_own(image, context, "remove")
    if image.protected and not context.is_admin:
        reason = reason or "This image is protected: its protection has to end first (nbdsvc image set --unprotected)."
    if reason:
        raise errors.Forbidden(reason=reason)
    folder.remove(image.id)


def _reason_not_own(image: Image, context: Context, verb: str) -> str | None:
    if image.is_dropped:
        return f"An administrator put this file into the image folder, and may {verb} it there."
    if not context.is_admin and not image.belongs_to(context):
        return f"Only its project or an administrator may {verb} an image."
    return None


def _folder(images: Images | None) -> ImageFolder:
    if images is None:
        raise errors.Unsupported(reason="images are kept by the process of the storage host (nbdsvc host or serve)")
    return images.folder
