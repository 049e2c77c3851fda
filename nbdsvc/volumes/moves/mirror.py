"""Steps mirror and switch of a volume in use: what the server of its export does for them (nbdsvc/exporter.py)."""

import time
from dataclasses import dataclass

from nbdsvc import errors, journaled_copy
from nbdsvc.datapath import source as sources
from nbdsvc.driver import VolumeRef
from nbdsvc.exporter import Exporter, LeavingExporter, MirrorExporter, MirrorState
from nbdsvc.host import Backend, Host, host_of
from nbdsvc.location import Location
from nbdsvc.operations.operation_type import Run
from nbdsvc.store import moves, repositories
from nbdsvc.store import operations as journal
from nbdsvc.volumes.moves.arguments import MoveArgs
from nbdsvc.volumes.moves.hooks import call_hooks
from nbdsvc.volumes.moves.places import Places, read_places, read_rows

# How often the server is looked at: a cancel takes effect within 100 ms.
_TICK_SECONDS = 0.05
# A server that was killed is started again at once, or by the next repair of exports; a client waits no longer either.
_AWAY_SECONDS = 90.0


@dataclass(frozen=True)
class InUseArgs(MoveArgs):
    """Arguments of `volume.migrate_in_use`, and of `volume.migrate_in_use_between_hosts`."""

    attachment_id: str = ""


def exporter_of(run: Run[InUseArgs]) -> MirrorExporter:
    """The transport of the attachment. Unsupported where the settings have none that can mirror."""
    return mirror_exporter(host_of(run))


def mirror_exporter(host: Host) -> MirrorExporter:
    """As exporter_of."""
    found: list[Exporter] = list(host.exporters)
    for exporter in found:
        if isinstance(exporter, MirrorExporter):
            return exporter
    raise errors.Unsupported(reason="no transport of this host can mirror a volume in use")


def leaving_exporters(host: Host) -> list[LeavingExporter]:
    """All transports of the host whose clients can follow a volume to another one."""
    return [each for each in list[Exporter](host.exporters) if isinstance(each, LeavingExporter)]


def leaving_exporter(host: Host) -> LeavingExporter:
    """As exporter_of, of one whose clients can follow a volume to another host."""
    found = mirror_exporter(host)
    if not isinstance(found, LeavingExporter):
        raise errors.Unsupported(reason="no transport of this host can lead its clients to another one")
    return found


def mirror(run: Run[InUseArgs]) -> dict[str, int]:
    """Mirror until both places are equal. WriteFailed where the destination fails, ExportFailed where the server is away for
    long, Conflict where the attachment ends.

    The server writes to both places until it switches, or the mirror ends: drivers learn of the end of the copy behind that,
    from `finish` or from the undo.
    """
    places = read_places(run)
    call_hooks(places, "before_volume_copy")
    _check_room(places)
    source, destination = places.source, places.destination
    target = destination.driver.location(places.there)
    return Mirroring(run, exporter_of(run), source, places.here, target, destination).until_synchronised()


def _check_room(places: Places) -> None:
    if places.destination.driver.facts.thin:
        with sources.open(places.source.driver.location(places.here)) as source:
            stored = sum(length for _, length, zero in source.extents() if not zero)
        places.destination.driver.check_room(places.there.pool, stored)


class Mirroring:
    """Starts the mirror and watches it; to a place of this host again where the server has started anew. What one has sent to
    another host may still be on its way there when the next begins, and would overwrite what that writes: this is an error.

    destination: its backend, where it is of this host.
    """

    def __init__(
        self,
        run: Run[InUseArgs],
        exporter: MirrorExporter,
        source: Backend,
        here: VolumeRef,
        target: Location,
        destination: Backend | None = None,
    ) -> None:
        self._run, self._id = run, run.args.attachment_id
        self._exporter, self._target = exporter, target
        self._here = source.driver.location(here)
        self._backends = [source, *([destination] if destination else [])]
        self._may_repeat = destination is not None
        self._rate = 0
        self._away_since: float | None = None
        self._has_served = False

    def until_synchronised(self) -> dict[str, int]:
        while True:
            self._run.raise_if_stopped()
            self._check_attached()
            if (found := self._look()) and found.state == "synchronised":
                return {"size": found.size}
            time.sleep(_TICK_SECONDS)

    def _check_attached(self) -> None:
        with host_of(self._run).database.read() as conn:
            row = repositories.attachments.find(conn, self._id)
        if row is None or not row.exported or row.status != "attached":
            raise errors.Conflict(reason=f"attachment {self._id}, whose export mirrors the volume, has ended")

    def _look(self) -> MirrorState | None:
        """None while the server does not answer."""
        try:
            found = self._state()
            if found.state == "none":
                self._start()
            elif self._rate != self._limit():
                self._rate = self._limit()
                self._exporter.limit_mirror(self._id, self._rate)
        except errors.ExportFailed as error:
            self._stay_away(error)
            return None
        self._away_since, self._has_served = None, False
        if found.state == "failed":
            raise errors.WriteFailed(destination=str(self._target), offset=found.done, reason=found.reason)
        self._run.progress(found.done, found.size, "mirroring", found.done)
        return found

    def _state(self) -> MirrorState:
        """Of this operation's mirror: one from before its first try is an earlier one's, to another place."""
        found = self._exporter.mirror_state(self._id)
        if found.state != "none" and not journaled_copy.is_begun(self._run):
            self._exporter.end_mirror(self._id, self._here)
            return self._exporter.mirror_state(self._id)
        return found

    def _start(self) -> None:
        is_zero = journaled_copy.begin_without_journal(self._run)
        if not is_zero and not self._may_repeat:
            reason = "its server has ended while it mirrored to another host: migrate the volume again"
            raise errors.Conflict(reason=f"attachment {self._id}: {reason}")
        self._rate = self._limit()
        self._exporter.start_mirror(self._id, self._target, is_zero=is_zero, rate=self._rate, source=self._here)

    def _limit(self) -> int:
        """Bytes a second: the least of what the operation and the backends of this host may copy."""
        limits = [self._run.rate, *(each.rate.rate for each in self._backends)]
        return min((limit for limit in limits if limit), default=0)

    def _stay_away(self, error: errors.ExportFailed) -> None:
        """A server that serves, and then takes no command or refuses it, will not do better by waiting."""
        now = time.monotonic()
        self._away_since = now if self._away_since is None else self._away_since
        if self._has_served or now - self._away_since > _AWAY_SECONDS:
            raise error
        self._has_served = self._exporter.health(self._id).ok


def undo_mirror(run: Run[InUseArgs]) -> None:
    """Also where the process died in the middle, and where the server has switched before."""
    journaled_copy.remove_journal(run)
    end_mirror(host_of(run), run.args.volume_id, run.args.attachment_id)
    call_hooks(read_places(run), "after_volume_copy")


def end_mirror(host: Host, volume_id: str, attachment_id: str) -> bool:
    """End the mirror. True where the volume is at its second place: what the server has recorded goes forward, also when the
    rest is undone, because the other place lacks what was written since. Errors: of the source's driver, ExportFailed.
    """
    with host.database.read() as conn:
        places = Places.of(host, conn, *read_rows(conn, volume_id))
    if not places.move.switched:
        here = places.source.driver.location(places.here)
        if mirror_exporter(host).end_mirror(attachment_id, here) is None:
            return False
        _switch_rows(host, volume_id)
    return True


def switch(run: Run[InUseArgs]) -> None:
    """First the server, then the rows. Cancelled where a cancel came before; what the server has switched goes forward."""
    places = read_places(run)
    if places.move.switched:
        return
    exporter, id, here = exporter_of(run), run.args.attachment_id, places.source.driver.location(places.here)
    if exporter.moved_to(id, here) is None:
        with host_of(run).database.write() as conn:
            if not journal.go_on(conn, run.id):
                raise errors.Cancelled(operation=run.id)
        try:
            exporter.switch_mirror(id)
        except errors.ExportFailed:
            if exporter.end_mirror(id, here) is None:
                raise
    _switch_rows(host_of(run), run.args.volume_id)


def _switch_rows(host: Host, volume_id: str) -> None:
    with host.database.write() as conn:
        volume, move = read_rows(conn, volume_id)
        if not move.switched:
            moves.switch(conn, volume, move)
            moves.change_status(conn, volume.id, "switch")
