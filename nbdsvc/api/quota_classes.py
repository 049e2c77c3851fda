"""/os-quota-class-sets: what projects have that have no limits of their own, read and set by administrators."""

from fastapi.responses import JSONResponse

from nbdsvc.api import strict
from nbdsvc.api.quota_sets import LimitChanges
from nbdsvc.api.request import Body, CurrentRequest, answer
from nbdsvc.quotas.classes import limits_of_class, set_class_limits

router = strict.router("quota classes")


class ClassBody(Body):
    """The body of an update."""

    quota_class_set: LimitChanges


@router.get("/os-quota-class-sets/{name}")
def show(request: CurrentRequest, name: str) -> JSONResponse:
    """Show the limits of a quota class; `default` is the class of every project. For administrators.

    Errors: 403 forbidden (the caller is no administrator).
    """
    return answer({"quota_class_set": {"id": name, **limits_of_class(request.app, name)}})


@router.put("/os-quota-class-sets/{name}")
def update(request: CurrentRequest, name: str, body: ClassBody) -> JSONResponse:
    """Set limits of a quota class, -1 for unlimited; those that the body does not name stay. For administrators.

    Errors: 400 badRequest (limit, or the name of the class is too long); 403 forbidden (the caller is no administrator).
    """
    wanted = body.quota_class_set.model_dump(exclude_none=True)
    return answer({"quota_class_set": set_class_limits(request.app, name, wanted)})
