"""/images (ours, not Cinder's): the images of a project and the public ones. The fields have Glance's names."""

from typing import Annotated, Any, Literal

from fastapi.responses import JSONResponse, Response
from pydantic import Field

from nbdsvc.api import strict
from nbdsvc.api.request import Body, CurrentRequest, ImageName, answer
from nbdsvc.images.catalog import ImageChanges, delete_image, get_image, list_images, set_image
from nbdsvc.images.index import SAVING, Image
from nbdsvc.volumes.import_image import ImportImageRequest, import_image

router = strict.router("images")


class Import(Body):
    """The image to make. imageRef: an id, a name, a path that is allowed, or a URL."""

    imageRef: Annotated[str, Field(min_length=1, max_length=2048)]  # noqa: N815 - the API's name
    name: ImageName
    disk_format: Literal["raw", "qcow2"] = "raw"
    visibility: Literal["community", "public", "private", "shared"] = "private"
    protected: bool = False


class ImportBody(Body):
    """A new image."""

    image: Import


class Change(Body):
    """What is to be said of an image. members: the projects that may use it while it is shared, all of them."""

    name: ImageName | None = None
    visibility: Literal["community", "public", "private", "shared"] | None = None
    protected: bool | None = None
    members: list[ImageName] | None = None


class ChangeBody(Body):
    """The changes of an image."""

    image: Change


@router.get("/images")
def listing(request: CurrentRequest) -> JSONResponse:
    """List the images that a volume may be made from: the project's own, those shared with it and the public ones; all for an
    administrator. Not in Cinder.

    Errors: 400 badRequest (this process has no access to the images).
    """
    return answer({"images": [_shown(image) for image in list_images(request.app.images, request.context)]})


@router.post("/images", status_code=202)
def import_(request: CurrentRequest, body: ImportBody) -> JSONResponse:
    """Import an image from what imageRef of a new volume may name. It is in lists when it is whole; its progress is that
    of the operation whose resource_id is the image's id. Not in Cinder.

    Errors: 400 badRequest (a field; this process has no access to the images); 403 forbidden (public without an
    administrator); 404 itemNotFound (image); 413 overLimit (a quota).
    """
    given = body.image.model_dump()
    id = import_image(request.app, request.context, ImportImageRequest(reference=given.pop("imageRef"), **given))
    return answer({"image": {"id": id, "name": body.image.name, "status": SAVING}}, 202)


@router.get("/images/{id}")
def show(request: CurrentRequest, id: str) -> JSONResponse:
    """Show an image, by its id or name. `members` is for its own project and administrators. Not in Cinder.

    Errors: 400 badRequest (this process has no access to the images); 404 itemNotFound (image); 409 conflictingRequest
    (several images have the name).
    """
    return answer({"image": _detailed(get_image(request.app.images, request.context, id), request)})


@router.put("/images/{id}")
def change(request: CurrentRequest, id: str, body: ChangeBody) -> JSONResponse:
    """Change the name, visibility, protection and members of an image of the project. Not in Cinder.

    Errors: 400 badRequest (a field; this process has no access to the images); 403 forbidden (another project's image, or
    public without an administrator); 404 itemNotFound (image); 409 conflictingRequest (several images have the name).
    """
    changes = ImageChanges(**body.image.model_dump())
    return answer({"image": _detailed(set_image(request.app.images, request.context, id, changes), request)})


@router.delete("/images/{id}", status_code=204, response_class=Response)
def delete(request: CurrentRequest, id: str) -> Response:
    """Delete an image that the project uploaded; cancel an upload by its operation. Not in Cinder.

    Errors: 400 badRequest (this process has no access to the images); 403 forbidden (a protected image, or another
    project's); 404 itemNotFound (image).
    """
    delete_image(request.app.images, request.context, id)
    return Response(status_code=204)


def _detailed(image: Image, request: CurrentRequest) -> dict[str, Any]:
    own = request.context.is_admin or image.belongs_to(request.context)
    return {**_shown(image), **({"members": image.members} if own else {})}


def _shown(image: Image) -> dict[str, Any]:
    return {
        "id": image.id,
        "name": image.name,
        "status": image.status,
        "disk_format": image.disk_format or None,
        "container_format": image.container_format,
        "size": image.size,
        "virtual_size": image.virtual_size or None,
        "visibility": "public" if image.is_public else image.visibility,
        "protected": image.protected,
        "owner": image.project_id or None,
    }
