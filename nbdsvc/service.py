"""The composition root: the only file that names concrete exporters and finds drivers. Starts and stops one process.

`serve` is both halves in one process; `api` only answers requests, `host` only does the work. They meet in the database.
"""

import contextlib
import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import structlog

from nbdsvc import errors, state_folder
from nbdsvc.app import App
from nbdsvc.attachments import end_of_access
from nbdsvc.backends import export_repair, fencing, lost_host, rebuild, recognition, replication, retention
from nbdsvc.backends.heartbeat import Heartbeat
from nbdsvc.backends.machine import Machine
from nbdsvc.backends.places import Places
from nbdsvc.backends.rebuild import Rebuilt
from nbdsvc.backups.collect import collect_now_and_then
from nbdsvc.compose import make_host, make_images
from nbdsvc.config import Settings
from nbdsvc.datapath.rate_limit import cores
from nbdsvc.driver import ReplicaDriver
from nbdsvc.exporter import ConnectionInfo, Exporter
from nbdsvc.exports.nbd.exporter import NbdExporter
from nbdsvc.host import Host
from nbdsvc.host_lock import lock_host
from nbdsvc.model import clock
from nbdsvc.operation_types import EPHEMERAL, OperationTypes
from nbdsvc.operations.client import Operations
from nbdsvc.operations.engine import Engine
from nbdsvc.operations.execution import Probe, no_probe
from nbdsvc.periodic import PeriodicTask
from nbdsvc.qos.keep import keep_exports
from nbdsvc.store import migrate
from nbdsvc.store.claims import Claim
from nbdsvc.store.database import Database
from nbdsvc.store.listening import Listener
from nbdsvc.store.presence import GONE_CLAIMS
from nbdsvc.volumes.create import CREATE_VOLUME
from nbdsvc.volumes.create_elsewhere import going_on
from nbdsvc.volumes.image_cache import evict, keep
from nbdsvc.volumes.moves.left import finish_moves
from nbdsvc.volumes.moves.redirect import mend_redirects
from nbdsvc.volumes.moves.serve import mend_served
from nbdsvc.volumes.upload_to_glance import delete_left_images

log = structlog.get_logger(__name__)

# Seconds that a start waits for the first report of a backend.
FIRST_REPORT_SECONDS = 20.0


def _add_chap(info: ConnectionInfo, secret: str) -> ConnectionInfo:
    if "auth_method" not in info.data:  # of a fake target
        return info
    from nbdsvc.exports.lio import LioExporter  # imported here: only needed where there is such an attachment

    return LioExporter.with_secret(info, secret)


# By driver_volume_type. Of all transports, because an attachment keeps the one that it got.
ADD_SECRET = {"nbd": NbdExporter.with_secret, "iscsi": _add_chap, "iser": _add_chap}
# The transports that keep clients to limits (LimitingExporter).
LIMITING = frozenset({"nbd"})


class Service:
    """A process of nbdsvc. with_host: it works next to the storage, and is the only one of its host name."""

    def __init__(self, settings: Settings, *, with_host: bool = True, probe: Probe = no_probe) -> None:
        self.settings = settings
        self._lock = lock_host(settings.state_dir, settings.host) if with_host else None
        self.database = Database(settings.database_url, settings.database_reserve)
        migrate.upgrade(self.database)
        self.database.check()
        self.database.follow_clock()
        self._notifying = self._make_notifying(with_host=with_host) if settings.notifications else []
        self._claim = self._take_host() if with_host else None
        self.host = make_host(settings, self.database) if with_host else None
        if self.host and self._claim:
            self._machine = Machine(self.host, state_folder.identity(settings.state_dir, settings.host))
            self._claim.on_lost = partial(fencing.end_when_overtaken, self.host)
        self.engine = self._make_engine(self.host, probe) if self.host else None
        # Images of a folder are the host's; what is in Glance, every process finds there.
        images = self.host.images if self.host else make_images(settings) if settings.has_glance else None
        self.app = App(
            self.database,
            Operations(self.database, self.engine, notified=not self.database.is_sqlite),
            settings,
            images,
            add_secret=ADD_SECRET,
            limiting=LIMITING,
            types=self._types(),
        )
        if self.host:
            self.app = replace(self.app, end_access=partial(end_of_access.end_unrecorded, self.host))
        self._listener = Listener(self.database, self.app.operations.notifications())
        self._heartbeats = self._make_heartbeats(self.host) if self.host else []
        self._tasks = self._make_tasks(self.host) if self.host else []
        self._tasks.append(self._lost_hosts())

    def start(self) -> None:
        """Returns when requests may come. What was unfinished is resumed behind this call.

        ConfigError where exports or a backend hold what the database does not know.
        """
        if self.host and self.engine:
            fencing.end_foreign_exports(self.host)
            self._machine.check_not_lost()
            fencing.forget_foreign_notes(self.host)
            recognition.check_exports(self.host)
            heartbeats = self._tasks[: len(self._heartbeats)]
            for task in heartbeats:
                task.start()
            self._wait_for_backends()
            self._machine.accept()
            self.engine.start()
            for task in self._tasks[len(heartbeats) : -1]:
                task.start()
        self._tasks[-1].start()
        self._listener.start()

    def _wait_for_backends(self) -> None:
        """Until each has reported once, so that requests find its pools; one that does not answer is not waited for."""
        end = clock.monotonic() + FIRST_REPORT_SECONDS
        for heartbeat in self._heartbeats:
            if not heartbeat.first.wait(max(0, end - clock.monotonic())):
                log.error("backend does not answer", backend=heartbeat.name)
            elif heartbeat.failure:
                raise heartbeat.failure

    def limit_copies(self, settings: Settings) -> None:
        """Let this host's copies, also those that run, go on by the limits of these settings."""
        if self.host:
            for name, limits in settings.served_backends.items():
                if backend := self.host.backends.get(name):
                    backend.rate.rate, backend.cpu.rate = limits.copy_rate, cores(limits.copy_cores)
            log.info("copies are limited", copy_rate=settings.copy_rate, copy_cores=settings.copy_cores)

    def stop(self) -> None:
        """Interrupt operations, keep exports up, let go of the host's name."""
        for task in self._tasks:
            task.stop()
        self._listener.stop()
        if self.engine:
            self.engine.stop()
        for task in self._tasks:
            task.join()
        if self._claim:
            with contextlib.suppress(errors.Error):  # without the database, others see that this process is dead
                self._claim.release()
        self.database.close()
        if self.host:
            self.host.ended.close()
            self.host.spare.close()
        if self._lock:
            self._lock.close()

    def rebuild(self, project: str) -> Rebuilt:
        """Rows for what is on this host and has none. BackendUnavailable where its backend does not work."""
        assert self.host
        for backend in self.host.backends.values():
            backend.driver.do_setup()
            backend.driver.check_for_setup_error()
        return rebuild.rebuild(self.host, project, self.settings.default_volume_type)

    def _take_host(self) -> Claim:
        note = f"{socket.gethostname()} with state folder {self.settings.state_dir}"
        claim = Claim(self.database, self.settings.host, self.settings.claim_seconds, note)
        claim.take()
        return claim

    def _types(self) -> OperationTypes:
        return OperationTypes({CREATE_VOLUME.name: going_on(lambda: self.app, CREATE_VOLUME)})

    def _make_engine(self, host: Host, probe: Probe) -> Engine:
        settings = self.settings
        return Engine(
            self.database,
            settings.host,
            self._types(),
            host,
            settings.state_dir / "locks",
            probe=probe,
            copies=settings.max_copies,
            copies_of={name: backend.max_copies for name, backend in settings.served_backends.items()},
            claim=self._claim,
            gone_seconds=GONE_CLAIMS * settings.claim_seconds,
        )

    def _make_heartbeats(self, host: Host) -> list[Heartbeat]:
        refuse, places = self.settings.unknown_objects == recognition.REFUSE, Places()
        return [
            Heartbeat(
                host,
                backend,
                refuse_unknown=refuse,
                places=places,
                check_machine=self._machine.check,
                reported=self._note_report,
            )
            for backend in host.backends.values()
        ]

    def _lost_hosts(self) -> PeriodicTask:
        """In every process: there may be no other one than an API when the only host is lost."""
        confirm = self._claim.confirm if self._claim else lambda: True
        return PeriodicTask("lost hosts", self.settings.repair_interval, self._look_at_others, confirm)

    def _look_at_others(self) -> None:
        self.database.follow_clock()
        lost_host.settle_lost(self.app)

    def _note_report(self, full_name: str) -> None:
        self.app.last_heartbeat[full_name] = clock.monotonic()

    def _make_tasks(self, host: Host) -> list[PeriodicTask]:
        """A thread for each backend and each transport: one that does not answer must not make others look dead."""
        assert self._claim
        seconds, confirm = self.settings.repair_interval, self._claim.confirm
        return [
            *(PeriodicTask(f"backend {each.name}", seconds, each.beat, confirm) for each in self._heartbeats),
            *(
                PeriodicTask(f"exports {each.protocol}", seconds, partial(self._repair, host, each), confirm)
                for each in host.exporters
            ),
            *(
                PeriodicTask(f"replication {each.name}", seconds, partial(replication.refresh, host, each), confirm)
                for each in host.backends.values()
                if isinstance(each.driver, ReplicaDriver)
            ),
            *self._collecting(host),
            *self._cleaning_glance(host),
            PeriodicTask("maintenance", seconds, partial(self._maintain, host), confirm, reports_jumps=True),
            *(PeriodicTask(name, seconds, look, confirm) for name, seconds, look in self._notifying),
        ]

    def _make_notifying(self, *, with_host: bool) -> list[tuple[str, float, Callable[[], None]]]:
        """Let the database have an outbox. The tasks of a host: their names, seconds between two calls, and themselves.

        ConfigError for a wrong secret file.
        """
        from nbdsvc.notifications import outbox, tasks  # loaded only where they are configured

        self.database.outbox = outbox.OperationOutbox(self.settings.notification_rows)
        return tasks.make(self.settings, self.database) if with_host else []

    def _cleaning_glance(self, host: Host) -> list[PeriodicTask]:
        assert self._claim
        seconds = max(self.settings.repair_interval, 1.0)
        task = PeriodicTask("left images", seconds, partial(delete_left_images, host), self._claim.confirm)
        return [task] if self.settings.has_glance else []

    def _collecting(self, host: Host) -> list[PeriodicTask]:
        assert self._claim
        seconds, task = 3600 * self.settings.backup_collect_hours, partial(collect_now_and_then, self.app, host)
        return [PeriodicTask("backups", seconds, task, self._claim.confirm, at_once=False)] if seconds else []

    def _repair(self, host: Host, exporter: Exporter) -> None:
        if repaired := export_repair.repair_exports(self.app, host, exporter):
            log.warning("exports to repair", count=repaired)
        keep_exports(host, exporter)

    def _maintain(self, host: Host) -> None:
        export_repair.record_ends(self.app, host)
        mend_served(host)
        mend_redirects(host)
        finish_moves(self.app, host.name)
        evict.sweep(self.app, host.name, partial(keep.limits_of, self.app))
        retention.forget_operations(host, self.settings.operations_kept)
        retention.forget_answers(host, EPHEMERAL)
