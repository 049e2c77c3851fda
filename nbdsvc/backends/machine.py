"""Whether this machine is the host that the database knows under its name, by the identity in the state folder.

Another machine, or another state folder, may take the name where the storage is the same. One whose pools lack the volumes
that the database has there does not start over them: the disks are in the old machine, or were not declared lost.
"""

import threading
from collections.abc import Iterable

import structlog

from nbdsvc import errors
from nbdsvc.host import Backend, Host
from nbdsvc.model import states
from nbdsvc.model.entities import Volume
from nbdsvc.store import hosts, repositories, tables

log = structlog.get_logger(__name__)

# So many ids stand in a message.
_NAMED = 3
_LOSE, _LOSE_SNAPSHOT = states.VOLUME["be lost"], states.SNAPSHOT["be lost"]


class Machine:
    """This process's machine. identity: of its state folder."""

    def __init__(self, host: Host, identity: str) -> None:
        self._host = host
        self._identity = identity
        self._unchecked = set(host.backends)
        self._started = False
        self._mutex = threading.Lock()  # of the two above: each backend is checked by a thread of its own
        with host.database.read() as conn:
            self._known = hosts.find(conn, host.name)

    def check_not_lost(self) -> None:
        """ConfigError for a host that was declared lost."""
        if self._known and self._known.lost_at:
            name, when = self._host.name, self._known.lost_at
            reason = (
                f"host {name} was declared lost at {when:%Y-%m-%d %H:%M} UTC, and what was under way there has ended"
            )
            raise errors.ConfigError(
                setting="host", reason=f"{reason}. To let it serve again: nbdsvc host return {name}"
            )

    def check(self, backend: Backend) -> None:
        """ConfigError where this is another machine, and its backend, which works, lacks volumes; where an administrator has
        let it return, these become errors.
        """
        if self._known is not None and self._is_new():
            self._check_volumes(backend)
        self._note(backend.name)

    def _check_volumes(self, backend: Backend) -> None:
        assert self._known
        missing = self._missing(backend)
        if missing and self._known.identity:
            self._refuse(backend, missing)
        for volume in missing:
            self._lose(volume)

    def accept(self) -> None:
        """The start is over: this is the host from now on, or once the last of its backends has been checked.

        One that is silent, or does not work, may lack volumes: where the process ended before it was checked, the next start
        would take this machine for the one that had them.
        """
        self._note(None)

    def _note(self, checked: str | None) -> None:
        """checked: a backend; None: the start is over."""
        with self._mutex:
            self._unchecked.discard(checked or "")
            self._started = self._started or checked is None
            waits_for = sorted(self._unchecked) if self._started else None
        if waits_for == []:
            self._identify()
        elif waits_for and checked is None and self._is_new():
            log.warning("this machine is not known yet: backends are to be checked first", backends=waits_for)

    def _is_new(self) -> bool:
        return self._known is None or self._known.identity != self._identity

    def _identify(self) -> None:
        if self._is_new():
            with self._host.database.write() as conn:
                hosts.identify(conn, self._host.name, self._identity)

    def _missing(self, backend: Backend) -> list[Volume]:
        present = {found.id for found in backend.driver.list_objects()}
        column = tables.volumes.c
        with self._host.database.read() as conn:
            rows = repositories.volumes.select(
                conn, column.host == self._host.name, column.backend == backend.name, column.status.in_(_LOSE.sources)
            )
        return [row for row in rows if row.id not in present]

    def _refuse(self, backend: Backend, missing: list[Volume]) -> None:
        name, count = self._host.name, len(missing)
        reason = (
            f"this is another machine than the one that was host {name}: {count} of its volumes are not in backend "
            f"{backend.name} ({_some(each.id for each in missing)})"
        )
        if self._host.database.is_sqlite:  # the only process: no other one could declare it lost
            log.error("volumes are missing", reason=reason)
            return
        remedy = (
            "Start the machine that has them, or give this one its disks; if they are lost: nbdsvc host lost "
            f"{name} --fenced, then nbdsvc host return {name}, and start again: they become errors"
        )
        raise errors.ConfigError(setting="host", reason=f"{reason}. {remedy}")

    def _lose(self, volume: Volume) -> None:
        log.error("a volume is lost with its machine", volume=volume.id)
        with self._host.database.write() as conn:
            repositories.volumes.transition_if(conn, volume.id, _LOSE.sources, "error")
            snapshots = repositories.snapshots_of(conn, volume.id)
            for snapshot in repositories.snapshots.hold(conn, [each.id for each in snapshots]):
                repositories.snapshots.transition_if(conn, snapshot.id, _LOSE_SNAPSHOT.sources, "error")


def _some(ids: Iterable[str]) -> str:
    shown = sorted(ids)
    return ", ".join(shown[:_NAMED]) + (", ..." if len(shown) > _NAMED else "")
