"""/types/{id}/encryption, for administrators, and /volumes/{id}/encryption, which hypervisors read."""

from typing import Annotated, Any, Literal

from fastapi.responses import JSONResponse, Response
from pydantic import Field

from nbdsvc import errors
from nbdsvc.api import strict
from nbdsvc.api.request import ApiRequest, Body, CurrentRequest, Key, Text, answer
from nbdsvc.model.values import MAX_INTEGER
from nbdsvc.types.encryption import create_encryption, delete_encryption, update_encryption
from nbdsvc.types.queries import get_type
from nbdsvc.volumes.encryption import encryption_of_volume

router = strict.router("encryption")

Place = Literal["front-end", "back-end"]
Bits = Annotated[int, Field(ge=0, le=MAX_INTEGER)]


class NewEncryption(Body):
    """How volumes of a type are to be encrypted; `key_size` in bits."""

    provider: Key
    cipher: Text | None = None
    key_size: Bits | None = None
    control_location: Place = "front-end"


class CreateBody(Body):
    """The body of a create."""

    encryption: NewEncryption


class EncryptionChanges(Body):
    """The fields to change."""

    provider: Key | None = None
    cipher: Text | None = None
    key_size: Bits | None = None
    control_location: Place | None = None


class UpdateBody(Body):
    """The body of an update."""

    encryption: EncryptionChanges


@router.get("/types/{id}/encryption")
def show(request: CurrentRequest, id: str) -> JSONResponse:
    """Show the encryption of a type; empty where it has none. For administrators.

    Errors: 403 forbidden (the caller is no administrator); 404 itemNotFound (type).
    """
    return answer(_of_type(request, id))


@router.get("/types/{id}/encryption/{key}")
def show_key(request: CurrentRequest, id: str, key: str) -> JSONResponse:
    """Show one field of the encryption of a type. For administrators.

    Errors: 403 forbidden (the caller is no administrator); 404 itemNotFound (type or field).
    """
    return answer(_field(_of_type(request, id), key))


@router.post("/types/{id}/encryption")
def create(request: CurrentRequest, id: str, body: CreateBody) -> JSONResponse:
    """Have the volumes of a type encrypted: the service refuses them from now on. For administrators.

    Errors: 400 badRequest (body; volumes have the type, it is the default, or encrypted already); 403 forbidden (the
    caller is no administrator); 404 itemNotFound (type).
    """
    fields = body.encryption.model_dump()
    made = create_encryption(request.app, id, fields)
    return answer({"encryption": {**fields, "volume_type_id": id, "encryption_id": made["encryption_id"]}})


@router.put("/types/{id}/encryption/{encryption_id}")
def update(request: CurrentRequest, id: str, encryption_id: str, body: UpdateBody) -> JSONResponse:
    """Change the encryption of a type, which has one: clients name it as they like. For administrators.

    Errors: 400 badRequest (body, or volumes have the type); 403 forbidden (the caller is no administrator); 404
    itemNotFound (type, or it has no encryption).
    """
    changes = body.encryption.model_dump(exclude_unset=True)
    if None in (changes.get("provider", ""), changes.get("control_location", "")):
        raise errors.InvalidInput(field="encryption", value=None, reason="provider and control_location cannot be null")
    update_encryption(request.app, id, changes)
    return answer({"encryption": changes})


@router.delete("/types/{id}/encryption/{encryption_id}", status_code=202)
def delete(request: CurrentRequest, id: str, encryption_id: str) -> Response:
    """Have the volumes of a type in the clear. For administrators.

    Errors: 400 badRequest (volumes have the type); 403 forbidden (the caller is no administrator); 404 itemNotFound
    (type, or it has no encryption).
    """
    delete_encryption(request.app, id)
    return Response(status_code=202)


@router.get("/volumes/{id}/encryption")
def of_volume(request: CurrentRequest, id: str) -> JSONResponse:
    """Show what a hypervisor needs to open an encrypted volume: no volume is encrypted.

    Errors: 404 itemNotFound (volume).
    """
    return answer(encryption_of_volume(request.app, request.context, id))


@router.get("/volumes/{id}/encryption/{key}")
def key_of_volume(request: CurrentRequest, id: str, key: str) -> JSONResponse:
    """Show one field of what a hypervisor needs to open an encrypted volume.

    Errors: 404 itemNotFound (volume or field).
    """
    return answer(_field(dict(encryption_of_volume(request.app, request.context, id)), key))


def _of_type(request: ApiRequest, id: str) -> dict[str, Any]:
    found = get_type(request.app, request.context, id)
    if found.encryption is None:
        return {}
    return {"volume_type_id": found.id, "deleted": False, "deleted_at": None, **found.encryption}


def _field(found: dict[str, Any], key: str) -> dict[str, Any]:
    if key not in found:
        raise errors.NotFound(resource="Encryption field", id=key)
    return {key: found[key]}
