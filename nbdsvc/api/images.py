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
    """The images that a volume may be made of: the project's own and public ones; all of them for an administrator."""
    return answer({"images": [_shown(image) for image in list_images(request.app.images, request.context)]})


@router.delete("/images/{id}", status_code=204, response_class=Response)
def delete(request: CurrentRequest, id: str) -> Response:
    """Remove an image that the project has uploaded. 403 for a protected one and for another's; 404 where there is none.

    An upload that is under way is ended by cancelling its operation.
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
