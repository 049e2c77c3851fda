"""Keeps the exports of this host to the limits that the rows of their volumes and types say.

    specs, their types, a retype --commit--> host.limit_exports, on each host with such exports --> its servers
    an extension                 --its step--> the servers of the volume
    whatever was missed          --at every interval, and at the start of the host--> its servers

Each reads the rows under the lock of the host's limits, so that an older value never replaces a newer one.
"""

from collections.abc import Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass

import sqlalchemy as sa
import structlog

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.backends import placement
from nbdsvc.exporter import Exporter, ExportSpec, LimitingExporter
from nbdsvc.host import Host, host_of
from nbdsvc.model import qos
from nbdsvc.model.context import Context
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.store import qos_specs, repositories

log = structlog.get_logger(__name__)
# Threads that wait for servers: more than those that are likely to hang at once.
_AT_ONCE = 8


@dataclass(frozen=True)
class LimitArgs:
    """Arguments of the operation `host.limit_exports`: none, because it reads the rows of all exports of its host."""


def submit_limits(app: App, conn: sa.Connection, context: Context, types: Sequence[str]) -> None:
    """Submit, in the caller's transaction, what limits the exports of volumes of these types anew: one operation a host, for
    those that are up. Another one reads the rows when it starts.
    """
    hosts = {host for _, host, _ in qos_specs.exported(conn, types)}
    up = {
        row.host: row for row in repositories.backends.select(conn) if row.host in hosts and placement.is_up(app, row)
    }
    for row in up.values():
        resource = ("backend", row.id)
        app.submit(conn, context, LIMIT_EXPORTS, LimitArgs(), backend=row.full_name, resource=resource, bounded=False)


def check_transports(
    app: App, conn: sa.Connection, types: Sequence[str], consumer: str, specs: Mapping[str, str], field: str
) -> None:
    """InvalidInput where a volume of these types is attached by a transport that would not keep clients to such specs."""
    if not qos.limits(consumer, specs, 1):
        return
    for volume, _, protocol in qos_specs.exported(conn, types):
        check_transport(app, volume, protocol, field)


def check_transport(app: App, volume_id: str, protocol: str | None, field: str) -> None:
    """InvalidInput where this transport of an attachment of the volume keeps no limits. None: it has none yet."""
    if protocol and protocol not in app.limiting:
        reason = f"volume {volume_id} is attached by {protocol}, which cannot keep clients to QoS specs of the back end"
        raise errors.InvalidInput(field=field, value=None, reason=reason)


def keep_volume(host: Host, volume_id: str) -> None:
    """Let the exports of the volume keep their clients to its limits as its rows are now. One that does not take them is
    logged, and looked at again: its volume is well.
    """
    with host.limiting:
        with host.database.read() as conn:
            limits = qos_specs.limits_of(conn, volume_id).back_end
            rows = [row for row in repositories.attachments_of(conn, volume_id) if row.exported and row.protocol]
        for row in rows:
            _keep_or_log(host.exporter(str(row.protocol)), row.id, limits)


def keep_export(host: Host, exporter: Exporter, spec: ExportSpec) -> None:
    """The same for one export, which was made by this spec: its rows may have changed meanwhile. Raises ExportFailed."""
    with host.limiting:
        with host.database.read() as conn:
            limits = qos_specs.limits_of(conn, spec.volume_id).back_end
        # Not by the spec alone: another one, with rows of a moment before, may have changed them since.
        _keep(exporter, spec.id, limits)


def keep_exports(host: Host, exporter: Exporter) -> None:
    """The same for every export of this transport. One that does not take its limits is logged, and looked at again."""
    if not isinstance(exporter, LimitingExporter):
        return
    with host.limiting:
        with host.database.read() as conn:
            wanted = qos_specs.limits_on(conn, host.name)

        def keep(id: str) -> None:
            _keep_or_log(exporter, id, wanted.get(id, {}))

        with futures.ThreadPoolExecutor(_AT_ONCE, "limits") as pool:
            list(pool.map(keep, exporter.inventory().exports))


def _keep(exporter: Exporter, id: str, limits: Mapping[str, int]) -> None:
    if isinstance(exporter, LimitingExporter) and dict(exporter.limits(id)) != dict(limits):
        exporter.limit_clients(id, limits)
        log.info("export limited", export=id, limits=dict(limits))


def _keep_or_log(exporter: Exporter, id: str, limits: Mapping[str, int]) -> None:
    try:
        _keep(exporter, id, limits)
    except errors.ExportFailed as error:
        log.warning("an export is not limited as its rows say", export=id, reason=str(error))


def _limit(run: Run[LimitArgs]) -> None:
    host = host_of(run)
    for exporter in host.exporters:
        keep_exports(host, exporter)


LIMIT_EXPORTS = OperationType("host.limit_exports", LimitArgs, (Step("limit", _limit),), modifies=False, ephemeral=True)
