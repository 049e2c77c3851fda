"""The actions of POST /volumes/{id}/action that move a volume."""

from typing import Annotated

from fastapi.responses import Response
from pydantic import Field

from nbdsvc import errors
from nbdsvc.api.actions import Action
from nbdsvc.api.request import ApiRequest, Body, Text, answer
from nbdsvc.api.waiting import map_result
from nbdsvc.app import Waiting
from nbdsvc.volumes.complete_migration import complete_migration
from nbdsvc.volumes.migrate import MigrateRequest, migrate_volume
from nbdsvc.volumes.retype import MigrationPolicy, retype_volume

_CLUSTER_SINCE = (3, 16)


class Migrate(Body):
    """Migrate the volume to the pool `host` (host@backend#pool), or one that the scheduler chooses; in use, on its host.

    force_host_copy: copy it, also where its driver could move it. lock_volume: keep other commands away by the status
    `maintenance`; without it they end the migration. cluster (3.16): in place of `host`, cluster@backend#pool, of which the
    scheduler chooses a host.
    """

    host: Text | None = None
    cluster: Text | None = None
    force_host_copy: bool = False
    lock_volume: bool = False


class CompleteMigration(Body):
    """A hypervisor has copied the volume into `new_volume`, and uses that; with `error` it could not."""

    new_volume: Text
    error: bool = False


class Retype(Body):
    """Give the volume another type, by name or id; with the policy `on-demand` also by a migration."""

    new_type: Annotated[Text, Field(min_length=1)]
    migration_policy: MigrationPolicy = "never"


def _migrate(request: ApiRequest, id: str, body: Migrate) -> None:
    cluster = body.cluster
    if "cluster" in body.model_fields_set and request.version < _CLUSTER_SINCE:
        raise errors.InvalidInput(field="cluster", value=None, reason="there is no such field below 3.16")
    if cluster is not None and body.host is not None:
        raise errors.InvalidInput(field="cluster", value=cluster, reason="name a host or a cluster, not both")
    if cluster == "":
        raise errors.InvalidInput(field="cluster", value=cluster, reason="must name a pool: cluster@backend#pool")
    if body.host == "":
        raise errors.InvalidInput(field="host", value=body.host, reason="must name a pool: host@backend#pool")
    wanted = MigrateRequest(body.host, body.force_host_copy, body.lock_volume, cluster=cluster)
    migrate_volume(request.app, request.context, id, wanted)


def _complete(request: ApiRequest, id: str, body: CompleteMigration) -> Waiting[Response]:
    waiting = complete_migration(request.app, request.context, id, body.new_volume, error=body.error)
    return map_result(waiting, lambda kept: answer({"save_volume_id": kept}, 202))


def _retype(request: ApiRequest, id: str, body: Retype) -> None:
    retype_volume(request.app, request.context, id, body.new_type, body.migration_policy)


ACTIONS = {
    "os-migrate_volume": Action(_migrate, Migrate),
    "os-migrate_volume_completion": Action(_complete, CompleteMigration),
    "os-retype": Action(_retype, Retype),
}
