"""The composition root: the only file that names concrete exporters and finds drivers. Starts and stops one process.

`serve` is both halves in one process; `api` only answers requests, `host` only does the work. They meet in the database.
"""

import contextlib
import fcntl
import os
import socket
import threading
from dataclasses import replace
from functools import partial
from typing import Any, TextIO

import structlog

from nbdsvc import driver as contract
from nbdsvc import errors, state_folder
from nbdsvc.attachments import end_of_access
from nbdsvc.attachments.connect import CONNECT_ATTACHMENT
from nbdsvc.attachments.delete import DELETE_ATTACHMENT
from nbdsvc.attachments.detach_all import DETACH_ALL
from nbdsvc.attachments.repair import REPAIR_EXPORT
from nbdsvc.attachments.terminate_connection import TERMINATE_CONNECTION
from nbdsvc.backends.list_manageable import LIST_MANAGEABLE
from nbdsvc.config import Settings
from nbdsvc.datapath.digest_store import DigestStore
from nbdsvc.datapath.limit import Limit, cores
from nbdsvc.exporter import Exporter
from nbdsvc.exports.lio import LioExporter, portals
from nbdsvc.exports.lio.kernel import KernelLio
from nbdsvc.exports.lio.memory import MemoryLio
from nbdsvc.exports.nbd.exporter import NbdExporter
from nbdsvc.host import Backend, Host
from nbdsvc.images.folder import ImageFolder
from nbdsvc.images.http.client import Access
from nbdsvc.images.http.reach import Reach
from nbdsvc.images.sources import Images
from nbdsvc.images.spool import Spool
from nbdsvc.manager import (
    hosting,
    rebuilding,
    recognition,
)
from nbdsvc.manager.app import App
from nbdsvc.model import clock
from nbdsvc.operations.client import CHANNEL, Operations
from nbdsvc.operations.engine import Engine
from nbdsvc.operations.running import Probe, no_probe
from nbdsvc.process import Runner
from nbdsvc.snapshots.create import CREATE_SNAPSHOT
from nbdsvc.snapshots.delete import DELETE_SNAPSHOT
from nbdsvc.snapshots.manage import MANAGE_SNAPSHOT
from nbdsvc.snapshots.unmanage import UNMANAGE_SNAPSHOT
from nbdsvc.store import migrate
from nbdsvc.store.claims import Claim
from nbdsvc.store.database import Database
from nbdsvc.store.listening import Listener
from nbdsvc.store.unrecorded_ends import UnrecordedEnds
from nbdsvc.volumes.create import CREATE_VOLUME
from nbdsvc.volumes.delete import DELETE_VOLUME
from nbdsvc.volumes.extend import EXTEND_VOLUME
from nbdsvc.volumes.manage import MANAGE_VOLUME
from nbdsvc.volumes.revert import REVERT_VOLUME
from nbdsvc.volumes.unmanage import UNMANAGE_VOLUME
from nbdsvc.volumes.upload import UPLOAD_VOLUME
from nbdsvc.volumes.verify import VERIFY_VOLUME

log = structlog.get_logger(__name__)

# How often the clock is looked at, and what counts as a jump: more than NTP slews in that time, less than placement grants.
CLOCK_SECONDS = 1.0
JUMP_SECONDS = 5.0
# By driver_volume_type. Of all transports, because an attachment keeps the one that it got.
ADD_SECRET = {"nbd": NbdExporter.with_secret, "iscsi": LioExporter.with_secret}
OPERATION_TYPES = (
    CREATE_VOLUME,
    DELETE_VOLUME,
    EXTEND_VOLUME,
    MANAGE_VOLUME,
    REVERT_VOLUME,
    UNMANAGE_VOLUME,
    UPLOAD_VOLUME,
    VERIFY_VOLUME,
    CREATE_SNAPSHOT,
    DELETE_SNAPSHOT,
    MANAGE_SNAPSHOT,
    UNMANAGE_SNAPSHOT,
    CONNECT_ATTACHMENT,
    DELETE_ATTACHMENT,
    TERMINATE_CONNECTION,
    DETACH_ALL,
    REPAIR_EXPORT,
    LIST_MANAGEABLE,
)
KINDS = {kind.name: kind for kind in OPERATION_TYPES}


class Service:
    """One process of nbdsvc. `with_host`: it works next to the storage, and then it is the only one of its host name."""

    def __init__(self, settings: Settings, *, with_host: bool = True, probe: Probe = no_probe) -> None:
        self.settings = settings
        self._lock = _lock_host(settings) if with_host else None
        self.database = Database(settings.database_url, settings.database_reserve)
        migrate.upgrade(self.database)
        self.database.check()
        self._claim = self._take_host() if with_host else None
        self.host = _make_host(settings, self.database) if with_host else None
        if self.host:
            hosting.check_transport(self.host)
        self.engine = self._make_engine(self.host, probe) if self.host else None
        images = self.host.images if self.host else None
        self.app = App(
            self.database,
            Operations(self.database, self.engine, settings.max_operations),
            settings,
            images,
            add_secret=ADD_SECRET,
        )
        if self.host:
            self.app = replace(self.app, end_access=partial(end_of_access.end_unrecorded, self.host))
        self._listener = Listener(self.database, CHANNEL, self.engine.wake) if self.engine else None
        self._stopping = threading.Event()
        self._housekeeper = threading.Thread(target=self._keep_house, name="housekeeper", daemon=True)
        # Apart from the housekeeper: a server that does not answer must not make this host look dead.
        self._export_keeper = threading.Thread(target=self._keep_exports, name="exports", daemon=True)
        self._working = False

    def start(self) -> None:
        """Returns when requests may come. What was unfinished is resumed behind this call."""
        if self.host and self.engine:
            recognition.check_exports(self.host)
            self._working = self._initialise(self.host)
            self._publish(self.host)
            self.engine.start()
            self._housekeeper.start()
            self._export_keeper.start()
        if self._listener:
            self._listener.start()

    def limit_copies(self, settings: Settings) -> None:
        """Let this host's copies, also those that run, go on by the limits of these settings."""
        if self.host:
            for backend in self.host.backends.values():
                backend.rate.rate, backend.cpu.rate = settings.copy_rate, cores(settings.copy_cores)
            log.info("copies are limited", copy_rate=settings.copy_rate, copy_cores=settings.copy_cores)

    def stop(self) -> None:
        """Interrupt operations, keep exports up, let go of the host's name."""
        self._stopping.set()
        if self._listener:
            self._listener.stop()
        if self.engine:
            self.engine.stop()
        for thread in (self._housekeeper, self._export_keeper):
            if thread.is_alive():
                thread.join()
        if self._claim:
            with contextlib.suppress(errors.Error):  # without the database, others see that this process is dead
                self._claim.release()
        self.database.close()
        if self.host:
            self.host.ended.close()
            self.host.spare.close()
        if self._lock:
            self._lock.close()

    def rebuild(self, project: str) -> rebuilding.Rebuilt:
        """Rows for what is on this host and has none. BackendUnavailable where its backend does not work."""
        assert self.host
        driver = self.host.backend("").driver
        driver.do_setup()
        driver.check_for_setup_error()
        return rebuilding.rebuild(self.host, project, self.settings.default_volume_type)

    def _take_host(self) -> Claim:
        note = f"{socket.gethostname()} with state folder {self.settings.state_dir}"
        claim = Claim(self.database, self.settings.host, self.settings.claim_seconds, note)
        claim.take()
        return claim

    def _make_engine(self, host: Host, probe: Probe) -> Engine:
        settings = self.settings
        return Engine(
            self.database,
            settings.host,
            KINDS,
            host,
            settings.state_dir / "locks",
            probe=probe,
            copies=settings.max_copies,
            claim=self._claim,
        )

    def _keep_house(self) -> None:
        """Report pools and forget what ended, now and at every interval. One failure does not end it."""
        while True:
            try:
                assert self.host and self._claim
                if not self._claim.confirm():
                    return
                if not self._working:
                    self._working = self._initialise(self.host)
                hosting.record_ends(self.app, self.host)
                self._publish(self.host)
                hosting.forget_operations(self.host, self.settings.operations_kept)
            except Exception as error:
                log.error("housekeeping failed", reason=str(error))
            if self._pause(self.settings.repair_interval):
                return

    def _keep_exports(self) -> None:
        """Repair exports, now and at every interval. One failure does not end it."""
        while True:
            try:
                assert self.host and self._claim
                if not self._claim.confirm():
                    return
                repaired = hosting.repair_exports(self.app, self.host)
                if repaired:
                    log.warning("exports to repair", count=repaired)
            except Exception as error:
                log.error("exports cannot be looked after", reason=str(error))
            if self._pause(self.settings.repair_interval):
                return

    def _initialise(self, host: Host) -> bool:
        working = hosting.initialise(host)
        if working and self.settings.unknown_objects == recognition.REFUSE:
            recognition.check_objects(host)
        return working

    def _publish(self, host: Host) -> None:
        self._working = hosting.publish(host, self._working)
        self.app.heard[host.name] = clock.monotonic()

    def _pause(self, seconds: float) -> bool:
        """Sleep; True when the service stops. Shorter when the clock jumped: our last report looks too old, or too new."""
        end, offset = clock.monotonic() + seconds, clock.offset()
        while (left := end - clock.monotonic()) > 0:
            if self._stopping.wait(min(left, CLOCK_SECONDS)):
                return True
            if abs(jumped := clock.offset() - offset) > JUMP_SECONDS:
                if threading.current_thread() is self._housekeeper:  # once is enough
                    log.warning("the clock jumped", seconds=round(jumped))
                break
        return self._stopping.is_set()


def _make_host(settings: Settings, database: Database) -> Host:
    runner = Runner(settings.num_shell_tries)
    return Host(
        name=settings.host,
        backends={settings.backend: _make_backend(settings)},
        database=database,
        images=_make_images(settings),
        runner=runner,
        journals=settings.state_dir / "journals",
        digests=DigestStore(settings.state_dir / "digests"),
        zone=settings.availability_zone,
        ended=UnrecordedEnds(settings.state_dir / "ended"),
    )


def _make_backend(settings: Settings) -> Backend:
    rate, cpu = Limit(settings.copy_rate), Limit(cores(settings.copy_cores))
    return Backend(settings.backend, _make_driver(settings), (_make_exporter(settings),), rate, cpu)


def _make_exporter(settings: Settings) -> Exporter:
    folder = settings.state_dir / "exports"
    if settings.exporter == "nbd":
        return NbdExporter(
            folder,
            settings.host,
            settings.nbd_listen or None,
            (settings.nbd_first_port, settings.nbd_last_port),
            settings.nbd_filters,
            settings.nbd_filter_args,
            tls=settings.nbd_tls,
            write_through=settings.nbd_write_through,
        )
    found = portals.parse(settings.iscsi_portals)
    lio = MemoryLio() if settings.exporter == "lio-memory" else KernelLio(settings.iscsi_block_size)
    return LioExporter(
        folder,
        lio,
        found,
        settings.iscsi_prefix,
        settings.iscsi_block_size,
        write_through=settings.iscsi_write_through,
    )


def _make_images(settings: Settings) -> Images:
    from pathlib import Path

    with contextlib.suppress(OSError):  # the host works without it, and says so
        settings.images_path.mkdir(parents=True, exist_ok=True, mode=0o700)
    spool = Spool(settings.state_dir / "spool", settings.image_spool, "the setting image_spool")
    paths = [Path(path) for path in settings.image_paths]
    kept = (settings.state_dir, settings.pool_path)
    return Images(ImageFolder(settings.images_path), paths, _make_access(settings), spool, kept)


def _make_access(settings: Settings) -> Access | None:
    """How images are fetched by http; None where that is switched off."""
    if not settings.image_http:
        return None
    try:
        reach = Reach.parse(settings.image_http_networks)
    except ValueError as error:
        raise errors.ConfigError(setting="image_http_networks", reason=str(error)) from None
    if settings.image_ca_file and not settings.image_ca_file.is_file():
        raise errors.ConfigError(setting="image_ca_file", reason=f"there is no file {settings.image_ca_file}")
    return Access(reach, settings.image_ca_file, settings.image_http_silence, settings.image_http_least_rate)


def _make_driver(settings: Settings) -> contract.Driver:
    options: dict[str, Any] = {"pool": settings.pool_path, **settings.driver_options}
    try:
        return contract.load(settings.driver)(settings.backend, **options)
    except TypeError as error:
        raise errors.ConfigError(setting="driver_options", reason=str(error)) from error


def _lock_host(settings: Settings) -> TextIO:
    """Two processes of one host name would run the same step twice at once."""
    state_folder.prepare(settings.state_dir)
    try:
        file = (settings.state_dir / f"host-{settings.host}.lock").open("a+")
    except OSError as error:
        raise errors.ConfigError(setting="state_dir", reason=f"{error.filename}: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip()
        raise errors.ConfigError(
            setting="state_dir",
            reason=f"process {holder} already serves host {settings.host} from {settings.state_dir}",
        ) from None
    with contextlib.suppress(OSError):  # on a full disk it does not say who holds it; that it is held counts
        os.ftruncate(file.fileno(), 0)
        os.pwrite(file.fileno(), str(os.getpid()).encode(), 0)
    if swept := state_folder.sweep(settings.state_dir):
        log.info("half written files of a killed service are removed", count=swept)
    return file
