"""The images of the host's folder: which ones a project sees, and which ones it may remove."""

from collections.abc import Sequence

from nbdsvc import errors
from nbdsvc.images.image_store import ImageFolder
from nbdsvc.images.index import Image
from nbdsvc.images.resolve import Images
from nbdsvc.model.context import Context


def list_images(images: Images | None, context: Context) -> Sequence[Image]:
    """A project's own images and public ones; all of them for an administrator.

    images: None where another process keeps them: then Unsupported is raised.
    """
    found = _folder(images).list()
    return [image for image in found if context.is_admin or image.is_public or image.belongs_to(context)]


def delete_image(images: Images | None, context: Context, id: str) -> None:
    """Remove an uploaded image; a copy that reads it reads on.

    Raises NotFound, Forbidden for one that is protected or not the project's to remove, and Unsupported as above.
    """
    folder = _folder(images)
    image = folder.get(id, context)
    if reason := _reject_reason(image, context):
        raise errors.Forbidden(reason=reason)
    folder.remove(image.id)


def _reject_reason(image: Image, context: Context) -> str | None:
    if image.is_dropped:
        return "An administrator put this file into the image folder, and removes it there."
    if context.is_admin:
        return None
    if not image.belongs_to(context):
        return "Only its project or an administrator may remove an image."
    return "This image is protected: only an administrator may remove it." if image.protected else None


def _folder(images: Images | None) -> ImageFolder:
    if images is None:
        raise errors.Unsupported(reason="images are kept by the process of the storage host (nbdsvc host or serve)")
    return images.folder
