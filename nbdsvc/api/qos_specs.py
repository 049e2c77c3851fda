"""/qos-specs, for administrators: limits of volumes by their type."""

from typing import Annotated, Any

from fastapi.responses import JSONResponse, Response
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from nbdsvc import errors
from nbdsvc.api import paging, strict, views
from nbdsvc.api.actions import invalid
from nbdsvc.api.request import ApiRequest, Body, CurrentRequest, Key, Metadata, answer
from nbdsvc.model import qos
from nbdsvc.model.entities import QosSpecs
from nbdsvc.qos.associate import associate, disassociate, disassociate_all
from nbdsvc.qos.create import create_qos_specs
from nbdsvc.qos.delete import delete_qos_specs
from nbdsvc.qos.read import associations_of, get_qos_specs, list_qos_specs
from nbdsvc.qos.set_keys import set_keys, unset_keys

router = strict.router("QoS specs")

_SORTABLE = ("id", "name", "consumer", "created_at", "updated_at")
# What a database row should hold; the known keys are fewer.
_MOST_KEYS = 100


class NewSpecs(Body):
    """Name, consumer (`front-end`, `back-end` or `both`), and any other field as a key of the specs."""

    model_config = ConfigDict(extra="allow")

    name: Key
    consumer: Key = qos.DEFAULT_CONSUMER


class CreateBody(Body):
    """The body of a create."""

    qos_specs: NewSpecs


class SpecsChanges(Body):
    """A consumer, and any other field as a key to set."""

    model_config = ConfigDict(extra="allow")

    consumer: Key | None = None


class UpdateBody(Body):
    """The body of an update."""

    qos_specs: SpecsChanges


class KeysBody(Body):
    """Keys to remove."""

    keys: Annotated[list[Key], Field(max_length=_MOST_KEYS)]


@router.get("/qos-specs")
def listing(request: CurrentRequest) -> JSONResponse:
    """List the QoS specs. For administrators.

    Errors: 400 badRequest (sort or limit); 403 forbidden (the caller is no administrator); 404 itemNotFound (marker).
    """
    page = paging.page(request, _SORTABLE)
    rows = list_qos_specs(request.app, page)
    links = paging.next_link(request, "qos_specs", "qos-specs", page, rows)
    return answer({"qos_specs": [_view(row) for row in rows], **links})


@router.post("/qos-specs")
def create(request: CurrentRequest, body: CreateBody) -> JSONResponse:
    """Create QoS specs. For administrators.

    Errors: 400 badRequest (consumer, a key that no back end knows, or its value); 403 forbidden (the caller is no
    administrator); 409 conflictingRequest (the name is taken).
    """
    wanted = body.qos_specs
    made = create_qos_specs(request.app, wanted.name, wanted.consumer, _specs(wanted.model_extra))
    return answer(_with_links(request, made))


@router.get("/qos-specs/{id}")
def show(request: CurrentRequest, id: str) -> JSONResponse:
    """Show QoS specs. For administrators.

    Errors: 403 forbidden (the caller is no administrator); 404 itemNotFound (specs).
    """
    return answer(_with_links(request, get_qos_specs(request.app, id)))


@router.put("/qos-specs/{id}")
def update(request: CurrentRequest, id: str, body: UpdateBody) -> JSONResponse:
    """Set keys of QoS specs, or their consumer; the others stay. For administrators.

    Errors: 400 badRequest (consumer, a key that no back end knows, its value, or a volume's transport that cannot keep
    clients to it); 403 forbidden (the caller is no administrator); 404 itemNotFound (specs).
    """
    specs = _specs(body.qos_specs.model_extra)
    set_keys(request.app, request.context, id, specs, body.qos_specs.consumer)
    return answer({"qos_specs": body.qos_specs.model_dump(exclude_none=True)})


@router.put("/qos-specs/{id}/delete_keys", status_code=202)
def delete_keys(request: CurrentRequest, id: str, body: KeysBody) -> Response:
    """Remove keys of QoS specs. For administrators.

    Errors: 400 badRequest (body, or a key that needs another); 403 forbidden (the caller is no administrator); 404
    itemNotFound (specs or key).
    """
    unset_keys(request.app, request.context, id, body.keys)
    return Response(status_code=202)


@router.delete("/qos-specs/{id}", status_code=202)
def delete(request: CurrentRequest, id: str) -> Response:
    """Delete QoS specs; with `force` also from the volume types that have them. For administrators.

    Errors: 400 badRequest (volume types have them, or force); 403 forbidden (the caller is no administrator); 404
    itemNotFound (specs).
    """
    delete_qos_specs(request.app, request.context, id, force=request.flag("force"))
    return Response(status_code=202)


@router.get("/qos-specs/{id}/associations")
def associations(request: CurrentRequest, id: str) -> JSONResponse:
    """List the volume types that have the QoS specs. For administrators.

    Errors: 403 forbidden (the caller is no administrator); 404 itemNotFound (specs).
    """
    rows = associations_of(request.app, id)
    shown = [{"association_type": "volume_type", "name": row.name, "id": row.id} for row in rows]
    return answer({"qos_associations": shown})


@router.get("/qos-specs/{id}/associate", status_code=202)
def add_association(request: CurrentRequest, id: str) -> Response:
    """Give the QoS specs to the volume type `vol_type_id`. For administrators; a GET that changes, as clients send it.

    Errors: 400 badRequest (no vol_type_id, a type that has other specs, or one whose volumes are attached by a transport that
    cannot keep clients to these); 403 forbidden (the caller is no
    administrator); 404 itemNotFound (specs or type).
    """
    associate(request.app, request.context, id, _type_id(request))
    return Response(status_code=202)


@router.get("/qos-specs/{id}/disassociate", status_code=202)
def remove_association(request: CurrentRequest, id: str) -> Response:
    """Take the QoS specs from the volume type `vol_type_id`. For administrators; a GET that changes, as clients send it.

    Errors: 400 badRequest (no vol_type_id); 403 forbidden (the caller is no administrator); 404 itemNotFound (specs or
    type).
    """
    disassociate(request.app, request.context, id, _type_id(request))
    return Response(status_code=202)


@router.get("/qos-specs/{id}/disassociate_all", status_code=202)
def remove_associations(request: CurrentRequest, id: str) -> Response:
    """Take the QoS specs from every volume type. For administrators; a GET that changes, as clients send it.

    Errors: 403 forbidden (the caller is no administrator); 404 itemNotFound (specs).
    """
    disassociate_all(request.app, request.context, id)
    return Response(status_code=202)


def _type_id(request: ApiRequest) -> str:
    given = request.query.get("vol_type_id")
    if not given:
        raise errors.InvalidInput(
            field="vol_type_id", value=None, reason="the query has to name a volume type by its id"
        )
    return given


def _specs(extra: dict[str, Any] | None) -> dict[str, str]:
    """The fields that are no names of ours, as keys and texts. Raises InvalidInput."""
    given = {key: str(value) if isinstance(value, int | float) else value for key, value in (extra or {}).items()}
    if len(given) > _MOST_KEYS:
        raise errors.InvalidInput(field="qos_specs", value=None, reason=f"has more than {_MOST_KEYS} keys")
    try:
        return TypeAdapter(Metadata).validate_python(given)
    except ValidationError as error:
        raise invalid(error.errors(), "qos_specs") from None


def _view(row: QosSpecs) -> dict[str, Any]:
    return {"id": row.id, "name": row.name, "consumer": row.consumer, "specs": row.specs}


def _with_links(request: ApiRequest, row: QosSpecs) -> dict[str, Any]:
    base = request.link().rstrip("/")
    return {"qos_specs": _view(row), "links": views.links(base, request.context.project_id, "qos-specs", row.id)}
