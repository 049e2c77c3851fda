"""/images (ours, not Cinder's): the images of a project and the public ones. The fields have Glance's names."""

from typing import Any

from fastapi.responses import JSONResponse, Response

from nbdsvc.api import strict
from nbdsvc.api.request import CurrentRequest, answer
from nbdsvc.images.catalog import delete_image, list_images
from nbdsvc.images.index import Image

router = strict.router("images")


@router.get("/images")
def listing(request: CurrentRequest) -> JSONResponse:
    """List the images that a volume may be made from: the project's own and the public ones; all for an administrator.
    Not in Cinder.

    Errors: 400 badRequest (this process has no access to the images).
    """
    return answer({"images": [_shown(image) for image in list_images(request.app.images, request.context)]})


@router.delete("/images/{id}", status_code=204, response_class=Response)
def delete(request: CurrentRequest, id: str) -> Response:
    """Delete an image that the project uploaded; cancel an upload by its operation. Not in Cinder.

    Errors: 400 badRequest (this process has no access to the images); 403 forbidden (a protected image, or another
    project's); 404 itemNotFound (image).
    """
    delete_image(request.app.images, request.context, id)
    return Response(status_code=204)


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
