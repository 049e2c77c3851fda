"""Set the log levels of running services (os-services/set-log): of this process at once, of hosts by operations."""

from collections.abc import Sequence
from dataclasses import dataclass

from nbdsvc import log_levels
from nbdsvc.app import App
from nbdsvc.backends.services import ServiceReport, list_services
from nbdsvc.model.context import Context
from nbdsvc.operations.operation_type import OperationType, Run, Step

API, VOLUME = "cinder-api", "cinder-volume"
ANY = ("*", "")


@dataclass(frozen=True)
class LogTarget:
    """Which loggers of which services."""

    binary: str = "*"
    """cinder-api: the process that has the request; cinder-volume: the hosts; * or empty: both."""
    server: str = ""
    """A host, or host@backend; empty: every one."""
    prefix: str = ""
    """What the names of the loggers begin with."""

    def has_api(self, app: App) -> bool:
        """Whether this process is one of them."""
        return self.binary in (*ANY, API) and self.server in ("", app.settings.host)

    def services(self, app: App) -> list[ServiceReport]:
        """The services of hosts that are up: others would be waited for in vain."""
        if self.binary not in (*ANY, VOLUME):
            return []
        return [found for found in list_services(app) if found.is_up and found.matches(self.server or None, None)]


@dataclass(frozen=True)
class SetLogArgs:
    """Arguments of the operation `host.set_log`."""

    prefix: str
    level: str


def set_log(app: App, context: Context, target: LogTarget, level: str) -> None:
    """Set the level of the loggers until their processes end. Raises InvalidInput for no level."""
    args = SetLogArgs(target.prefix, log_levels.checked(level))
    if target.has_api(app):
        log_levels.LEVELS.set(args.prefix, args.level)
    hosts = one_a_host(target.services(app))
    with app.change() as conn:
        for each in hosts:
            app.submit(conn, context, SET_LOG, args, backend=each.name, resource=("backend", each.row.id))


def one_a_host(services: Sequence[ServiceReport]) -> list[ServiceReport]:
    """One service of each host: the backends of a host are one process."""
    return list({each.row.host: each for each in reversed(services)}.values())


def _set(run: Run[SetLogArgs]) -> None:
    log_levels.LEVELS.set(run.args.prefix, run.args.level)


SET_LOG = OperationType("host.set_log", SetLogArgs, (Step("set", _set),), modifies=False, ephemeral=True)
