"""/backups/{id}/export_record, /backups/import_record, and the sweep of the store: for administrators."""

from typing import Annotated, Any

from fastapi.responses import JSONResponse
from pydantic import Field, StringConstraints

from nbdsvc.api import backup_views, strict
from nbdsvc.api.request import Body, CurrentRequest, Key, Text, answer
from nbdsvc.api.waiting import wait_for_result
from nbdsvc.backups.collect import collect_backups
from nbdsvc.backups.export_record import export_record
from nbdsvc.backups.import_record import import_record

router = strict.router("backup records")


class Record(Body):
    """A record as `export_record` gave it."""

    backup_service: Text
    backup_url: Annotated[str, StringConstraints(min_length=1, max_length=1 << 20)]


class RecordBody(Body):
    """The body of an import."""

    record: Record = Field(alias="backup-record")


class Collect(Body):
    """Backups and sweeps that have ended, wherever they were: nothing waits for them any more."""

    end_sessions: Annotated[list[Key], Field(max_length=1000)] = []


@router.get("/backups/{id}/export_record")
def export(request: CurrentRequest, id: str) -> JSONResponse:
    """Export the record of a backup, by which another installation that reaches the store imports it. For administrators.

    Errors: 400 badRequest (status); 403 forbidden (the caller is no administrator); 404 itemNotFound (backup).
    """
    service, url = export_record(request.app, request.context, id)
    return answer({"backup-record": {"backup_service": service, "backup_url": url}})


@router.post("/backups/import_record", status_code=201)
def import_(request: CurrentRequest, body: RecordBody) -> JSONResponse:
    """Import the record of a backup that is in the store; it is `available` once that was seen. For administrators.

    Errors: 400 badRequest (the record); 403 forbidden (the caller is no administrator); 409 conflictingRequest (there is a
    backup of its id); 503 serviceUnavailable (no host has reported).
    """
    made = import_record(request.app, request.context, body.record.backup_service, body.record.backup_url)
    return answer({"backup": backup_views.summary(made, request.link().rstrip("/"))}, 201)


@router.post("/backups/collect", status_code=200)
async def collect(request: CurrentRequest, body: Collect) -> JSONResponse:
    """Free what no backup in the store needs, and reply what was freed (ours; no part of Cinder). For administrators.

    Errors: 403 forbidden (the caller is no administrator); 503 serviceUnavailable (the store is away, or it takes longer
    than attach_timeout and goes on).
    """

    def start() -> Any:
        return collect_backups(request.app, request.context, tuple(body.end_sessions))

    return answer({"collected": await wait_for_result(request.app, start)})
