"""/image-cache (ours, not Cinder's): the cached images of the pools, for administrators."""

from typing import Any

from fastapi.responses import JSONResponse, Response

from nbdsvc.api import strict, views
from nbdsvc.api.request import CurrentRequest, answer
from nbdsvc.volumes.image_cache.read import Entry, evict_cached, list_cached

router = strict.router("image-cache")


@router.get("/image-cache")
def listing(request: CurrentRequest) -> JSONResponse:
    """List the cached images, the one that was not used for the longest time first. `size` is GiB. For administrators. Not in
    Cinder, whose cache is a project's volumes.

    Errors: 403 forbidden (the caller is no administrator).
    """
    return answer({"cached_images": [_shown(entry) for entry in list_cached(request.app)]})


@router.delete("/image-cache/{id}", status_code=202, response_class=Response)
def evict(request: CurrentRequest, id: str) -> Response:
    """Remove a cached image, when the clones that are being made of it are done. For administrators. Not in Cinder.

    Errors: 400 badRequest (it is being made); 403 forbidden (the caller is no administrator, or its backend is frozen); 404
    itemNotFound (cached image).
    """
    evict_cached(request.app, request.context, id)
    return Response(status_code=202)


def _shown(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.volume.id,
        "image": entry.image,
        "name": entry.volume.image_metadata.get("image_name"),
        "status": entry.volume.status,
        "size": entry.volume.size,
        "host": entry.volume.full_host,
        "uses": entry.uses,
        "last_used": views.stamp(entry.last_used),
        "created_at": views.stamp(entry.volume.created_at),
    }
