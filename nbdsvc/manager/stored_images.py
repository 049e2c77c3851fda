"""The images of the host's folder: who sees which, and who may remove one. They are made by uploading.py."""

from collections.abc import Sequence

from nbdsvc import errors
from nbdsvc.images.folder import ImageFolder
from nbdsvc.images.index import Image
from nbdsvc.manager.app import App
from nbdsvc.model.context import Context


def listing(app: App, context: Context) -> Sequence[Image]:
    """An administrator sees all; a project its own and public ones. Unsupported where another process keeps them."""
    found = _folder(app).list()
    return [image for image in found if context.is_admin or image.is_public or image.belongs_to(context)]


def delete(app: App, context: Context, id: str) -> None:
    """Remove an uploaded image; who reads it reads on. NotFound, or Forbidden where it is not the project's to remove."""
    folder = _folder(app)
    image = folder.get(id, context)
    if image.is_dropped:
        raise errors.Forbidden(reason="An administrator put this file into the image folder, and removes it there.")
    if not (context.is_admin or image.belongs_to(context)):
        raise errors.Forbidden(reason="Only its project or an administrator may remove an image.")
    if image.protected and not context.is_admin:
        raise errors.Forbidden(reason="This image is protected: only an administrator may remove it.")
    folder.remove(image.id)


def _folder(app: App) -> ImageFolder:
    if app.images is None:
        raise errors.Unsupported(reason="images are kept by the process of the storage host (nbdsvc host or serve)")
    return app.images.folder
