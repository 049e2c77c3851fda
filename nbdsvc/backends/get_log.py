"""Get the log levels of running services (os-services/get-log): of this process, and of hosts by operations."""

from dataclasses import dataclass
from functools import partial

from nbdsvc import log_levels
from nbdsvc.app import App, Waiting
from nbdsvc.backends.services import ServiceReport
from nbdsvc.backends.set_log import API, LogTarget, one_a_host
from nbdsvc.model.context import Context
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.store import operations as journal


@dataclass(frozen=True)
class LogReport:
    """The levels of a service, by the names of its loggers."""

    host: str
    """A host; of a backend host@backend."""
    binary: str
    levels: dict[str, str]


@dataclass(frozen=True)
class GetLogArgs:
    """Arguments of the operation `host.get_log`."""

    prefix: str


def get_log(app: App, context: Context, target: LogTarget) -> Waiting[list[LogReport]]:
    """Start asking the hosts, and wait for them: the levels of each service. Hosts that are down are left out."""
    services = target.services(app)
    with app.change() as conn:
        args = GetLogArgs(target.prefix)
        started = {
            each.row.host: app.submit(conn, context, GET_LOG, args, backend=each.name, resource=("backend", each.row.id)).id
            for each in one_a_host(services)
        }  # fmt: skip
    own = (
        [LogReport(app.settings.host, API, log_levels.LEVELS.of_loggers(target.prefix))] if target.has_api(app) else []
    )
    result = partial(_reports, app, own, services, started)
    return Waiting(tuple(started.values()), app.settings.attach_timeout, result)


def _reports(app: App, own: list[LogReport], services: list[ServiceReport], started: dict[str, str]) -> list[LogReport]:
    with app.database.read() as conn:
        found = {host: journal.rows.get(conn, id).results["get"] for host, id in started.items()}
    return own + [LogReport(each.name, each.row.binary, found[each.row.host]) for each in services]


def _get(run: Run[GetLogArgs]) -> dict[str, str]:
    return log_levels.LEVELS.of_loggers(run.args.prefix)


GET_LOG = OperationType("host.get_log", GetLogArgs, (Step("get", _get),), modifies=False, ephemeral=True)
