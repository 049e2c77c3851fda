"""The findings of a host as a table: what a host may lack, how that is detected, what fails without it, and its remedy.

A host with findings serves what it can. They are in the log when they come and go, in /metrics, and in os-services as the
disabled_reason of a service that is enabled.
"""

import resource
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import structlog

from nbdsvc import errors, process
from nbdsvc.driver import BackendObject, PoolStats
from nbdsvc.explain.facts import Facts
from nbdsvc.explain.view import View
from nbdsvc.explain.volume_kinds import MISPLACED
from nbdsvc.host import Backend, Host
from nbdsvc.store import repositories, tables
from nbdsvc.units import human

log = structlog.get_logger(__name__)

# An export, a copy and a request need a dozen descriptors together; fewer than this are too few for a busy host.
_DESCRIPTORS = 4096


@dataclass(frozen=True)
class Check:
    """`look` returns why it is lacking, or nothing. All of these are the administrator's to mend."""

    thing: str
    look: Callable[[Host, Backend], str]
    without: str
    remedy: str


@dataclass(frozen=True)
class Finding:
    thing: str
    reason: str
    without: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.thing}: {self.reason}; without it no {self.without}; {self.remedy}"


def _backend(_host: Host, backend: Backend) -> str:
    backend.driver.check_for_setup_error()
    return ""


def _database(host: Host, _backend: Backend) -> str:
    reserve = host.database.reserve
    if reserve is None or (reserve.keep() and not reserve.short()):
        return ""
    return f"{human(reserve.free())} are free, {human(reserve.size)} are needed"


def _images(host: Host, _backend: Backend) -> str:
    host.images.check_there()
    return ""


def _descriptors(_host: Host, _backend: Backend) -> str:
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    few = soft != resource.RLIM_INFINITY and soft < _DESCRIPTORS
    return f"{soft} are allowed, {_DESCRIPTORS} are needed" if few else ""


def _nbdkit(_host: Host, backend: Backend) -> str:
    return _program("nbdkit") if any(each.protocol == "nbd" for each in backend.exporters) else ""


def _program(name: str) -> str:
    process.resolve(name)
    return ""


CHECKS = (
    Check("backend", _backend, "new volumes, snapshots and clones", "bring the pool back"),
    Check("state folder", _database, "new volumes, snapshots and images", "free room in its file system"),
    Check("images folder", _images, "volumes from images and no uploads", "mount it, or name another one (images)"),
    Check("open files", _descriptors, "many exports at once", "raise the hard limit (LimitNOFILE, ulimit -Hn)"),
    Check("nbdkit", _nbdkit, "attachments", "install it"),
    Check("bwrap", lambda _host, _backend: _program("bwrap"), "images in foreign formats", "install it"),
)


def look(
    host: Host, backend: Backend, pools: Sequence[PoolStats] = (), misplaced: Mapping[str, str] = MappingProxyType({})
) -> list[Finding]:
    """All findings of this backend and its host. `pools`: as it reports them. `misplaced`: see `find_misplaced`."""
    found = ((check, _reason(check, host, backend)) for check in CHECKS)
    lacking = [Finding(check.thing, reason, check.without, check.remedy) for check, reason in found if reason]
    sick = [
        Finding(f"pool {pool.name}", pool.fault, "volumes of it", "bring the pool back") for pool in pools if pool.fault
    ]
    moved = [Finding(thing, reason, "access to it", "move it back") for thing, reason in misplaced.items()]
    return lacking + sick + moved


def find_misplaced(
    host: Host, backend: Backend, pools: Sequence[PoolStats], objects: Sequence[BackendObject]
) -> dict[str, str]:
    """Volumes that are not in the pool of their row but in another of the backend: {"volume ID": reason}.

    They were moved behind the service. They are not served from there, because that pool may promise less
    than the row's. The rule is that of `nbdsvc explain`.
    """
    with host.database.read() as conn:
        rows = repositories.pools_of(conn, host.name, backend.name)
        moving = frozenset(move.id for move in repositories.moves.select(conn))
        # Usually there is none, and then no whole rows are read.
        suspects = {
            each.id for each in objects if each.kind == "volume" and rows.get(each.id or "") not in (None, each.pool)
        }
        volumes = repositories.volumes.select(conn, tables.volumes.c.id.in_(suspects)) if suspects else []
    facts = Facts(
        host=host.name,
        volumes=tuple(volumes),
        busy=moving,
        configured=frozenset(host.backends),
        objects={backend.name: tuple(objects)},
        pools={backend.name: tuple(pools)},
    )
    found = MISPLACED.find(View(facts))
    return {f"volume {each.id}": "it is in {there}, and its row says {pool}".format(**each.values) for each in found}


def _reason(check: Check, host: Host, backend: Backend) -> str:
    try:
        return check.look(host, backend)
    except (errors.Error, OSError) as error:
        return str(error)


def report(found: list[Finding], before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Log what came and what went since the last report; the findings as JSON."""
    known = {finding["thing"] for finding in before}
    for finding in found:
        if finding.thing not in known:
            log.error("something is lacking", **asdict(finding))
    for thing in known - {finding.thing for finding in found}:
        log.info("nothing is lacking any more", thing=thing)
    return [asdict(finding) for finding in found]
