"""/resource_filters, from microversion 3.33: what each list may be filtered by."""

from fastapi.responses import JSONResponse

from nbdsvc.api import strict
from nbdsvc.api.filters import FILTERS
from nbdsvc.api.request import CurrentRequest, answer

router = strict.router("resource filters")

_SINCE = (3, 33)
# The list that is filtered by hand.
_MORE = {"volume_types": ("is_public", "extra_specs")}


@router.get("/resource_filters")
def listing(request: CurrentRequest) -> JSONResponse:
    """List the filters of every list, or of the one that `resource` names. From 3.33.

    Errors: 404 itemNotFound (a version below 3.33).
    """
    request.require(_SINCE)
    shown = {name.removesuffix("s"): list(fields) for name, fields in {**FILTERS, **_MORE}.items()}
    wanted = request.query.get("resource")
    return answer({"resource_filters": [{"resource": name, "filters": fields}
                                        for name, fields in shown.items() if wanted in (None, name)]})  # fmt: skip
